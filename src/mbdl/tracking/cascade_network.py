"""The three recurrent units that stand for the covariances of a Kalman filter."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.linalg import block_diag
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
        return self.prepared()(hidden, differences)

    def prepared(self) -> "PreparedCascade":
        return PreparedCascade(self)


class PreparedCascade(AbstractGainNetwork):
    """The cascade with fewer and larger products: what sees the features alone is one layer, and so is what sees the
    hidden states alone."""

    network: CascadeNetwork
    features: "SideBySide"
    recurrent: "SideBySide"

    def __init__(self, network: CascadeNetwork):
        self.network = network
        layers = network.of_update, network.of_evolution, network.of_observation
        self.features = SideBySide([(layer.weight, layer.bias) for layer in layers])
        units = network.process, network.predicted, network.innovation
        self.recurrent = SideBySide([(unit.hidden_weight, unit.hidden_bias) for unit in units])

    def init(self) -> CascadeHidden:
        return self.network.init()

    def __call__(
        self, hidden: CascadeHidden, differences: Differences
    ) -> tuple[Float[Array, " entries"], CascadeHidden]:
        net, (F1, F2, F3, F4) = self.network, differences
        of_update, of_evolution, of_observation = map(jax.nn.relu, self.features(F4, F3, jnp.concatenate([F1, F2])))
        of_process, of_predicted, of_innovation = self.recurrent(*hidden)
        Q = net.process.after(of_process, hidden.process, of_update)
        P = net.predicted.after(of_predicted, hidden.predicted, jnp.concatenate([Q, of_evolution]))
        seen = jnp.concatenate([phi(net.of_predicted, P), of_observation])
        S = net.innovation.after(of_innovation, hidden.innovation, seen)
        # The one wide layer: a backward pass computes it again sooner than it reads it for every time.
        K = jax.checkpoint(_readout, prevent_cse=False)(net, P, S)
        return K, CascadeHidden(Q, phi(net.back, P, phi(net.gathered, S, K)), S)


def _readout(network: CascadeNetwork, P: Array, S: Array) -> Float[Array, " entries"]:
    return last(network.out, phi(network.wide, P, S))


FEW = 48
"""The length of all inputs together up to which one product with blocks of zeros is faster than one for each."""


class SideBySide(eqx.Module):
    """Affine maps of inputs of their own, in one product where they are small.

    Args:
        maps: the weight `[outputs inputs]` and the bias `[outputs]` of each, or `None` for none.
    """

    weights: tuple[Float[Array, "outputs inputs"], ...]
    biases: tuple[Float[Array, " outputs"], ...]
    sizes: tuple[tuple[int, int], ...] = eqx.field(static=True)

    def __init__(self, maps: Sequence[tuple[Array, Array | None]]):
        weights = [weight for weight, _ in maps]
        biases = [jnp.zeros(len(weight), weight.dtype) if bias is None else bias for weight, bias in maps]
        self.sizes = tuple((weight.shape[0], weight.shape[1]) for weight in weights)
        if sum(inputs for _, inputs in self.sizes) <= FEW:
            weights, biases = [block_diag(*weights)], [jnp.concatenate(biases)]
        self.weights, self.biases = tuple(weights), tuple(biases)

    def __call__(self, *inputs: Float[Array, " inputs"]) -> Sequence[Float[Array, " outputs"]]:
        """The output of each.

        Raises:
            ValueError: for inputs of other lengths.
        """
        given, expected = [x.shape for x in inputs], [(size,) for _, size in self.sizes]
        if given != expected:
            raise ValueError(
                f"expected features and hidden states of the shapes {expected}, got {given}. Make the network for as "
                "many states and observations as the model has"
            )
        if len(self.weights) != 1:
            return [W @ x + b for W, b, x in zip(self.weights, self.biases, inputs, strict=True)]
        outputs = self.weights[0] @ jnp.concatenate(inputs) + self.biases[0]
        return jnp.split(outputs, list(itertools.accumulate(rows for rows, _ in self.sizes))[:-1])


def phi(layer: Linear, *inputs: Array) -> Array:
    """A dense layer and a rectifier on the concatenated inputs."""
    return jax.nn.relu(layer(jnp.concatenate(inputs)))
