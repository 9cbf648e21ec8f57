"""The black-box edge of smoothing by messages: the graph network alone."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from mbdl.core import IterativeSolver, Learned, unconstrained

from .graph_refinement import GraphRefinement
from .inputs import Inputs, as_inputs, declared, why_refused
from .messages import Messages


class GraphTrackerState(NamedTuple):
    """What an iteration hands to the next one.

    Attributes:
        estimates: of all times, `[time observation]`.
        memory: the hidden features of the network, `[time features]`.
    """

    estimates: Float[Array, "time observation"]
    memory: Float[Array, "time features"]


class GraphTracker(IterativeSolver):
    r"""A graph network from observations to what is observed, which knows no model: `GraphRefinement` without messages,
    $$\hat s^{(k)}_t = y_t + \varepsilon^{(k)}_t.$$

    It is what is left of `NeuralAugmentedSmoother` without its model: it begins with the observations, and its network
    corrects them, each time anew, while its hidden features go from one iteration to the next. It is trained as that
    smoother is.

    Args:
        observation_size: the number of components of an observation, and of an estimate.
        features: the hidden features of each time.
        iterations: how often neighbours tell each other.
        dtype: floating-point type of the parameters.
        key: a JAX random key.

    Returns:
        when it is called on a sequence, the estimates `[time observation]`.

    Raises:
        ValueError: when it runs, for observations of another size, or with some of them missing.

    Differentiable in: the observations and the network's arrays.

    Source: V. Garcia Satorras, Z. Akata and M. Welling, "Combining generative and discriminative models for hybrid
    inference", NeurIPS 2019, whose "GNN-messages" it is.

    >>> import jax, jax.numpy as jnp, mbdl
    >>> from mbdl import tracking
    >>> tracker = tracking.GraphTracker(2, features=8, iterations=3, key=jax.random.key(0))
    >>> tracker(jnp.ones((5, 2))).shape, mbdl.spectrum(tracker).strategy
    ((5, 2), 'black box')
    """

    network: Any

    def __init__(
        self,
        observation_size: int,
        *,
        features: int = 48,
        iterations: int = 100,
        dtype: DTypeLike = jnp.float32,
        key: PRNGKeyArray,
    ):
        network = GraphRefinement(
            observation_size, observation_size, features=features, message_size=0, dtype=dtype, key=key
        )
        self.network = Learned(network, unconstrained, ("network",))
        self.iterations = iterations

    def init(self, x: Any) -> GraphTrackerState:
        inputs = self._sequence(x)
        return GraphTrackerState(inputs.observation, self.network.init(None, inputs))

    def step(self, state: GraphTrackerState, x: Any) -> GraphTrackerState:
        inputs = as_inputs(x)
        none = jnp.zeros((len(inputs.observation), 0), inputs.observation.dtype)
        correction, memory = self.network(None, state.memory, Messages(none, none, none), inputs)
        return GraphTrackerState(inputs.observation + correction, memory)

    def decision(self, state: GraphTrackerState) -> Float[Array, "time observation"]:
        return state.estimates

    def shift(self, state: GraphTrackerState, delta: Any) -> GraphTrackerState:
        return state._replace(estimates=state.estimates + delta)

    def valid(self, x: Any) -> Bool[Array, ""]:
        return declared(x)

    def why_invalid(self, x: Any) -> str:
        return why_refused(x)

    def _sequence(self, x: Any) -> Inputs:
        inputs = as_inputs(x)
        size = len(self.network.out.bias)
        if inputs.observation.ndim != 2 or inputs.observation.shape[1] != size:
            raise ValueError(
                f"GraphTracker: expected observations [time observation] of size {size}, got shape "
                f"{inputs.observation.shape}. Give a scalar series as ys[:, None], and apply jax.vmap to a batch"
            )
        if inputs.present is not None:
            raise ValueError(
                "GraphTracker: its estimates begin with the observations, and some may be missing. Fill them in, or "
                "use NeuralAugmentedSmoother, whose model knows what lies between"
            )
        return inputs
