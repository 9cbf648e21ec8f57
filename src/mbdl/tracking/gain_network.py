"""The recurrent networks of learned gains."""

import abc
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from mbdl.networks import GRU, Linear

from .input_features import Differences


class AbstractGainNetwork(eqx.Module):
    """A recurrent network from the input features to the correction of a gain. It is zero at initialisation."""

    @abc.abstractmethod
    def init(self) -> Any:
        """The hidden state before the first observation."""

    @abc.abstractmethod
    def __call__(self, hidden: Any, differences: Differences) -> tuple[Float[Array, " entries"], Any]:
        """The entries of the correction, row by row, and the next hidden state."""

    def prepared(self) -> "AbstractGainNetwork":
        """The same network, with all that is the same for every observation computed; by default as it is."""
        return self


class SingleUnitNetwork(AbstractGainNetwork):
    r"""KalmanNet's first architecture: one recurrent unit of $10 (m^2 + n^2)$ between dense layers.

    Args:
        state_size: $m$.
        observation_size: $n$.
        sees: the names of the input features that it looks at: the innovation and the last update by default; the
            papers add the differences of the observations and of the estimates for nonlinear models.
        hidden_size: the size of the recurrent unit.
        outputs: the entries of what it returns; $m n$ by default.
        dtype: floating-point type of the parameters.
        key: a JAX random key.

    Raises:
        ValueError: for a feature that there is not.

    Source: G. Revach et al., "KalmanNet: Neural network aided Kalman filtering for partially known dynamics", IEEE
    Transactions on Signal Processing 70, 2022.
    """

    into: Linear
    unit: GRU
    wide: Linear
    out: Linear
    sees: tuple[str, ...] = eqx.field(static=True)

    def __init__(
        self,
        state_size: int,
        observation_size: int,
        *,
        sees: tuple[str, ...] = ("innovation", "update"),
        hidden_size: int | None = None,
        outputs: int | None = None,
        dtype: DTypeLike = jnp.float32,
        key: PRNGKeyArray,
    ):
        m, n = state_size, observation_size
        lengths = {"observation": n, "innovation": n, "evolution": m, "update": m}
        if not sees or any(name not in lengths for name in sees):
            raise ValueError(f"SingleUnitNetwork: expected features among {tuple(lengths)}, got sees={sees!r}")
        keys = jax.random.split(key, 4)
        width = 80 * (m + n) if hidden_size is None else 2 * hidden_size
        hidden = 10 * (m**2 + n**2) if hidden_size is None else hidden_size
        outputs = m * n if outputs is None else outputs
        self.sees = tuple(sees)
        self.into = Linear(sum(lengths[name] for name in sees), width, dtype=dtype, key=keys[0])
        self.unit = GRU(width, hidden, dtype=dtype, key=keys[1])
        self.wide = Linear(hidden, 4 * outputs, dtype=dtype, key=keys[2])
        self.out = Linear(4 * outputs, outputs, scale=0.0, dtype=dtype, key=keys[3])

    def init(self) -> Float[Array, " hidden"]:
        return jnp.zeros(self.unit.hidden_size, self.unit.hidden_weight.dtype)

    def __call__(
        self, hidden: Float[Array, " hidden"], differences: Differences
    ) -> tuple[Float[Array, " entries"], Float[Array, " hidden"]]:
        seen = jnp.concatenate([getattr(differences, name) for name in self.sees])
        hidden = self.unit(hidden, jax.nn.relu(self.into(seen)))
        return last(self.out, jax.nn.relu(self.wide(hidden))), hidden


def last(layer: Linear, hidden: Float[Array, " width"]) -> Float[Array, " entries"]:
    """The last layer, divided by the root of its width: a step of Adam moves all weights by as much, and so would move
    the sum over a wide layer by the more the wider it is."""
    return layer(hidden) / math.sqrt(hidden.shape[0])
