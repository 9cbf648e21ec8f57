"""A covariance that a network corrects, so that it tells the truth about the errors."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from mbdl.core import Learned, unconstrained
from mbdl.networks import GRU, Linear

from .covariance import semidefinite_cholesky
from .covariance_readout import AbstractReadout, ModelCovariance
from .gain import Features, Uncertainty
from .gain_network import last


class CalibratedMemory(NamedTuple):
    """What a calibrated readout remembers: that of the nominal readout, and the hidden state."""

    nominal: Any
    hidden: Array


class CalibratedCovariance(AbstractReadout):
    r"""A covariance by a Cholesky factor that a recurrent network emits, relative to that of a nominal readout,
    $$P_t = L_t N_t N_t^\top L_t^\top, \qquad P^0_t = L_t L_t^\top,$$
    with $N_t$ lower triangular and, on its diagonal, the exponential of what the network says.

    The network looks at the whitened innovations $S^{-1/2} \nu$ of the nominal readout, saturated, whose size tells how
    far the model is from the truth. Before training $N = I$. Trained by `negative_log_likelihood`, with the gain or
    after it (`mbdl.freeze`), the covariance tells the size of the errors as they are, where the model is wrong too.
    $P^-$ and $S$ are those of the nominal readout.

    Args:
        state_size: $m$.
        observation_size: $n$.
        nominal: the readout that is corrected, `ModelCovariance()` by default.
        hidden_size: the size of the recurrent unit.
        dtype: floating-point type of the parameters.
        key: a JAX random key.

    Differentiable in: the innovation, the features, and every array of the networks.
    """

    unit: Any
    out: Any
    nominal: AbstractReadout

    def __init__(
        self,
        state_size: int,
        observation_size: int,
        *,
        nominal: AbstractReadout | None = None,
        hidden_size: int = 16,
        dtype: DTypeLike = jnp.float32,
        key: PRNGKeyArray,
    ):
        unit_key, out_key = jax.random.split(key)
        entries = state_size * (state_size + 1) // 2
        unit = GRU(2 * observation_size, hidden_size, dtype=dtype, key=unit_key)
        self.unit = Learned(unit, unconstrained, ("substitute",))
        self.out = Learned(
            Linear(hidden_size, entries, scale=0.0, dtype=dtype, key=out_key), unconstrained, ("substitute",)
        )
        self.nominal = ModelCovariance() if nominal is None else nominal

    def init(self, model: Any) -> CalibratedMemory:
        hidden = jnp.zeros(self.unit.hidden_size, self.unit.hidden_weight.dtype)
        return CalibratedMemory(self.nominal.init(model), hidden)

    def __call__(
        self, memory: CalibratedMemory, K: Array, innovation: Float[Array, " observation"], features: Features
    ) -> tuple[Uncertainty, CalibratedMemory]:
        uncertainty, nominal = self.nominal(memory.nominal, K, innovation, features)
        white = uncertainty.whitener @ innovation
        seen = jnp.tanh(jnp.concatenate([white, white**2]) / 4)
        hidden = self.unit(memory.hidden, seen)
        factor = semidefinite_cholesky(uncertainty.covariance) @ triangle(last(self.out, hidden), len(K))
        return uncertainty._replace(covariance=factor @ factor.T), CalibratedMemory(nominal, hidden)


def triangle(entries: Float[Array, " entries"], size: int) -> Float[Array, "size size"]:
    """A lower triangular matrix with a positive diagonal from any numbers; the identity from zeros."""
    below = jnp.zeros((size, size), entries.dtype).at[jnp.tril_indices(size, -1)].set(entries[size:])
    return below + jnp.diag(jnp.exp(entries[:size]))
