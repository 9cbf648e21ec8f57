"""The black box among policies where the state is not seen: a recurrent network from observations to controls."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from mbdl import tracking
from mbdl.core import Learned, RecursiveRule, unconstrained
from mbdl.networks import GRU, Linear


class RecurrentPolicy(RecursiveRule):
    r"""A recurrent network from observations to controls, which knows no model: $h_t = \mathrm{GRU}(h_{t-1},
    (y_t, u_{t-1}))$, $u_t = W h_t + b$.

    Args:
        observation_size: the number of components of an observation.
        control_size: the number of components of the control.
        hidden_size: the units of the network.
        standardisation: means and deviations of observations and controls, `tracking.Standardisation.of(observations,
            controls)` of runs of another policy: the network sees and gives standard units; by default, the raw ones.
        dtype: floating-point type of the parameters.
        key: a JAX random key.

    Returns:
        from observations `[time observation]` the controls `[time control]`.

    Raises:
        ValueError: for a size below one.

    Differentiable in: the observations and the network's arrays.

    >>> import jax, jax.numpy as jnp, mbdl
    >>> from mbdl import control
    >>> policy = control.RecurrentPolicy(2, 1, key=jax.random.key(0))
    >>> policy(jnp.ones((5, 2))).shape, mbdl.spectrum(policy).strategy
    ((5, 1), 'black box')
    """

    network: Any
    standardisation: tracking.Standardisation | None

    def __init__(
        self,
        observation_size: int,
        control_size: int,
        *,
        hidden_size: int = 64,
        standardisation: tracking.Standardisation | None = None,
        dtype: DTypeLike = jnp.float32,
        key: PRNGKeyArray,
    ):
        unit_key, out_key = jax.random.split(key)
        unit = GRU(observation_size + control_size, hidden_size, dtype=dtype, key=unit_key)
        out = Linear(hidden_size, control_size, scale=0.5**0.5, dtype=dtype, key=out_key)
        self.network = Learned((unit, out), unconstrained, ("network",))
        self.standardisation = standardisation

    def init(self) -> tuple[Float[Array, " hidden"], Float[Array, " control"]]:
        unit, out = self.network
        dtype = unit.hidden_weight.dtype
        return jnp.zeros(unit.hidden_size, dtype), jnp.zeros(out.bias.shape, dtype)

    def step(
        self, memory: tuple[Array, Array], x: Float[Array, " observation"]
    ) -> tuple[Any, Float[Array, " control"]]:
        unit, out = self.network
        hidden, before = memory
        scales = self.standardisation
        seen = x if scales is None else scales.observation(x)
        hidden = unit(hidden, jnp.concatenate([seen.astype(before.dtype), before]))
        standard = out(hidden)
        return (hidden, standard), standard if scales is None else scales.state(standard)
