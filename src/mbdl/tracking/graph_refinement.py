"""The graph network that refines the messages of a smoother."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from mbdl.networks import GRU, MLP, Linear

from .inputs import Inputs
from .messages import Messages
from .refinement import AbstractRefinement


class GraphRefinement(AbstractRefinement):
    r"""A recurrent network on the graph of the states, each linked to the state before, the one after and its
    observation. Each node has hidden features $h_t$, zero at first, and in each iteration
    $$e_t = \mathrm{MLP}_\rightarrow(h_t, h_{t-1}, m^\rightarrow_t) + \mathrm{MLP}_\leftarrow(h_t, h_{t+1},
    m^\leftarrow_t) + \mathrm{MLP}_\uparrow(h_t, u_t, m^\uparrow_t), \qquad
    u_t = L_u [y_t - y_{t-1}, y_{t+1} - y_t],$$
    $$h_t \leftarrow \mathrm{GRU}(\mathrm{LeakyReLU}(\mathrm{norm}(L_e e_t)), h_t), \qquad
    \varepsilon_t = L_\varepsilon \mathrm{ReLU}(\mathrm{norm}(L_h h_t)).$$

    The last layer is zero at initialisation: the smoother then decides as it does without. The same weights serve
    sequences of any length. The norm is over the features of a node.

    Args:
        state_size: the number of components of the state.
        observation_size: the number of components of an observation.
        features: the length of $h_t$.
        message_size: the number of components of a message, that of the state by default; zero for a network that is
            told none.
        dtype: floating-point type of the parameters.
        key: a JAX random key.

    Raises:
        ValueError: for a size below one.

    Differentiable in: the messages, the observations and the arrays.

    Source: V. Garcia Satorras, Z. Akata and M. Welling, "Combining generative and discriminative models for hybrid
    inference", NeurIPS 2019; the initial features are zero, where the authors draw them.

    >>> import jax
    >>> from mbdl import tracking
    >>> tracking.GraphRefinement(4, 2, features=8, key=jax.random.key(0)).unit.hidden_size
    8
    """

    forward: MLP
    backward: MLP
    observed: MLP
    source: Linear
    gather: Linear
    unit: GRU
    deepen: Linear
    out: Linear

    def __init__(
        self,
        state_size: int,
        observation_size: int,
        *,
        features: int = 48,
        message_size: int | None = None,
        dtype: DTypeLike = jnp.float32,
        key: PRNGKeyArray,
    ):
        keys = jax.random.split(key, 8)
        told = 2 * features + (state_size if message_size is None else message_size)
        self.forward, self.backward, self.observed = (
            MLP(told, features, features, 1, dtype=dtype, key=k) for k in keys[:3]
        )
        self.source = Linear(2 * observation_size, features, dtype=dtype, key=keys[3])
        self.gather = Linear(features, features, dtype=dtype, key=keys[4])
        self.unit = GRU(features, features, dtype=dtype, key=keys[5])
        self.deepen = Linear(features, features, dtype=dtype, key=keys[6])
        self.out = Linear(features, state_size, scale=0.0, dtype=dtype, key=keys[7])

    def init(self, model: Any, inputs: Inputs) -> Float[Array, "time features"]:
        weight = self.unit.hidden_weight
        return jnp.zeros((inputs.observation.shape[0], self.unit.hidden_size), weight.dtype)

    def __call__(
        self, model: Any, memory: Float[Array, "time features"], messages: Messages, inputs: Inputs
    ) -> tuple[Float[Array, "time state"], Float[Array, "time features"]]:
        none = jnp.zeros_like(memory[:1])
        before = jnp.concatenate([none, memory[:-1]])
        # There is no state after the last one, and so no edge.
        backward = _along(self.backward, memory[:-1], memory[1:], messages.backward[:-1])
        edges = (
            _along(self.forward, memory, before, messages.forward)
            + jnp.concatenate([backward, none])
            + _along(self.observed, memory, jax.vmap(self.source)(_differences(inputs)), messages.observed)
        )

        def node(hidden: Array, edge: Array) -> tuple[Array, Array]:
            hidden = self.unit(hidden, jax.nn.leaky_relu(_normalised(self.gather(edge))))
            return self.out(jax.nn.relu(_normalised(self.deepen(hidden)))), hidden

        return jax.vmap(node)(memory, edges)


def _along(network: MLP, here: Array, there: Array, message: Array) -> Array:
    """What the nodes are told along one kind of edge."""
    return jax.vmap(network)(jnp.concatenate([here, there, message], axis=1))


def _differences(inputs: Inputs) -> Float[Array, "time twice_observation"]:
    """Of each observation to the ones before and after; zero at the ends, and where one of the two is missing."""
    steps = jnp.diff(inputs.observation, axis=0)
    if inputs.present is not None:
        steps = jnp.where(inputs.present[1:] & inputs.present[:-1], steps, 0.0)
    none = jnp.zeros_like(inputs.observation[:1])
    return jnp.concatenate([jnp.concatenate([none, steps]), jnp.concatenate([steps, none])], axis=1)


def _normalised(features: Float[Array, " features"]) -> Float[Array, " features"]:
    centred = features - jnp.mean(features)
    return centred * jax.lax.rsqrt(jnp.mean(centred**2) + 1e-5)
