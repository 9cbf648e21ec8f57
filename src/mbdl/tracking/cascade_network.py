"""The three recurrent units that stand for the covariances of a Kalman filter."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from mbdl.networks import GRU, Linear

from .gain_network import AbstractGainNetwork, last
from .input_features import Differences


class CascadeHidden(NamedTuple):
    r"""The hidden states of the three units, in the places of the covariances of a Kalman filter.

    Attributes:
        process: in the place of $Q$, `[state * state]`.
        predicted: of $P^-$, `[state * state]`.
        innovation: of $S$, `[observation * observation]`.
    """

    process: Float[Array, " states"]
    predicted: Float[Array, " states"]
    innovation: Float[Array, " observations"]


class CascadeNetwork(AbstractGainNetwork):
    r"""KalmanNet's second architecture: three recurrent units that follow one another as the covariances of a Kalman
    filter do, with $\varphi$ a dense layer and a rectifier,
    $$Q = \mathrm{GRU}(\varphi F_4), \qquad P = \mathrm{GRU}([Q, \varphi F_3]), \qquad
    S = \mathrm{GRU}([\varphi P, \varphi [F_1, F_2]]),$$
    a correction of the gain from $[P, S]$ through one hidden layer, and the hidden state $\varphi [P, \varphi [S, K]]$
    of the second unit for the next observation.

    Args:
        state_size: $m$.
        observation_size: $n$.
        expansion: the width of $\varphi F$ in widths of its feature ($a$).
        breadth: the width of the layer before the last in that of its input ($b$).
        dtype: floating-point type of the parameters.
        key: a JAX random key.

    Source: G. Revach et al., "KalmanNet: Neural network aided Kalman filtering for partially known dynamics", IEEE
    Transactions on Signal Processing 70, 2022.
    """

    of_update: Linear
    of_evolution: Linear
    of_observation: Linear
    of_predicted: Linear
    process: GRU
    predicted: GRU
    innovation: GRU
    wide: Linear
    out: Linear
    gathered: Linear
    back: Linear

    def __init__(
        self,
        state_size: int,
        observation_size: int,
        *,
        expansion: int = 5,
        breadth: int = 40,
        dtype: DTypeLike = jnp.float32,
        key: PRNGKeyArray,
    ):
        m, n = state_size, observation_size
        states, observations, both = m**2, n**2, m**2 + n**2
        keys = iter(jax.random.split(key, 11))

        def dense(inputs: int, outputs: int, scale: float = 1.0) -> Linear:
            return Linear(inputs, outputs, scale=scale, dtype=dtype, key=next(keys))

        def unit(inputs: int, hidden: int) -> GRU:
            return GRU(inputs, hidden, dtype=dtype, key=next(keys))

        self.of_update, self.of_evolution = dense(m, expansion * m), dense(m, expansion * m)
        self.of_observation = dense(2 * n, 2 * expansion * n)
        self.of_predicted = dense(states, observations)
        self.process = unit(expansion * m, states)
        self.predicted = unit(states + expansion * m, states)
        self.innovation = unit(observations + 2 * expansion * n, observations)
        self.wide, self.out = dense(both, breadth * both), dense(breadth * both, m * n, 0.0)
        self.gathered, self.back = dense(observations + m * n, states), dense(2 * states, states)

    def init(self) -> CascadeHidden:
        states, observations = self.process.hidden_size, self.innovation.hidden_size
        dtype = self.process.hidden_weight.dtype
        m, n = round(states**0.5), round(observations**0.5)
        identity = jnp.eye(m, dtype=dtype).ravel(), jnp.eye(n, dtype=dtype).ravel()
        return CascadeHidden(identity[0], jnp.zeros(states, dtype), identity[1])

    def __call__(
        self, hidden: CascadeHidden, differences: Differences
    ) -> tuple[Float[Array, " entries"], CascadeHidden]:
        F1, F2, F3, F4 = differences
        Q = self.process(hidden.process, phi(self.of_update, F4))
        P = self.predicted(hidden.predicted, jnp.concatenate([Q, phi(self.of_evolution, F3)]))
        S = self.innovation(
            hidden.innovation, jnp.concatenate([phi(self.of_predicted, P), phi(self.of_observation, F1, F2)])
        )
        K = last(self.out, phi(self.wide, P, S))
        return K, CascadeHidden(Q, phi(self.back, P, phi(self.gathered, S, K)), S)


def phi(layer: Linear, *inputs: Array) -> Array:
    """A dense layer and a rectifier on the concatenated inputs."""
    return jax.nn.relu(layer(jnp.concatenate(inputs)))
