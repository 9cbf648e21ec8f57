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


class SingleUnitNetwork(AbstractGainNetwork):
    r"""KalmanNet's first architecture: one recurrent unit of $10 (m^2 + n^2)$ between dense layers.

    It looks at the innovation and the last update, or (`every_feature=True`, as the papers do for nonlinear models) at
    the differences of the observations and estimates too.

    Args:
        state_size: $m$.
        observation_size: $n$.
        every_feature: whether it looks at all four input features.
        outputs: the entries of what it returns; $m n$ by default.
        dtype: floating-point type of the parameters.
        key: a JAX random key.

    Source: G. Revach et al., "KalmanNet: Neural network aided Kalman filtering for partially known dynamics", IEEE
    Transactions on Signal Processing 70, 2022.
    """

    into: Linear
    unit: GRU
    wide: Linear
    out: Linear
    every_feature: bool = eqx.field(static=True)

    def __init__(
        self,
        state_size: int,
        observation_size: int,
        *,
        every_feature: bool = False,
        outputs: int | None = None,
        dtype: DTypeLike = jnp.float32,
        key: PRNGKeyArray,
    ):
        m, n = state_size, observation_size
        keys = jax.random.split(key, 4)
        width = 80 * (m + n)
        hidden = 10 * (m**2 + n**2)
        self.every_feature = every_feature
        self.into = Linear(2 * (m + n) if every_feature else m + n, width, dtype=dtype, key=keys[0])
        self.unit = GRU(width, hidden, dtype=dtype, key=keys[1])
        self.wide = Linear(hidden, 4 * m * n, dtype=dtype, key=keys[2])
        self.out = Linear(4 * m * n, m * n if outputs is None else outputs, scale=0.0, dtype=dtype, key=keys[3])

    def init(self) -> Float[Array, " hidden"]:
        return jnp.zeros(self.unit.hidden_size, self.unit.hidden_weight.dtype)

    def __call__(
        self, hidden: Float[Array, " hidden"], differences: Differences
    ) -> tuple[Float[Array, " entries"], Float[Array, " hidden"]]:
        F1, F2, F3, F4 = differences
        seen = jnp.concatenate([F1, F2, F3, F4] if self.every_feature else [F2, F4])
        hidden = self.unit(hidden, jax.nn.relu(self.into(seen)))
        return last(self.out, jax.nn.relu(self.wide(hidden))), hidden


def last(layer: Linear, hidden: Float[Array, " width"]) -> Float[Array, " entries"]:
    """The last layer, divided by the root of its width: a step of Adam moves all weights by as much, and so would move
    the sum over a wide layer by the more the wider it is."""
    return layer(hidden) / math.sqrt(hidden.shape[0])
