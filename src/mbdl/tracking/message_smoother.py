"""Smoothing by iterated messages: gradient ascent on the joint posterior of all states."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mbdl.core import IterativeSolver, as_leaf
from mbdl.core.checks import concrete, positive

from .covariance import dense
from .inputs import Inputs, Moment, as_inputs, declared, why_refused
from .kalman_gain import whitener_of
from .linear import LinearGaussian
from .linearised import checked
from .messages import backprojected, messages_of
from .model import AbstractModel
from .refinement import AbstractRefinement, NoRefinement


class MessageSmootherState(NamedTuple):
    """What an iteration hands to the next one.

    Attributes:
        states: the estimates of all states, `[time state]`.
        memory: the refinement's own.
    """

    states: Float[Array, "time state"]
    memory: Any


class MessageSmoother(IterativeSolver):
    r"""A smoother that passes messages between the states of all times at once, again and again,
    $$s \leftarrow s + \gamma \, (m^\rightarrow + m^\uparrow + m^\leftarrow) + \varepsilon, \qquad
    s^{(0)}_t = m_0 + H^\top (y_t - h(m_0)).$$

    The sum of the `Messages` is the gradient of the log posterior, so that without a refinement this is gradient
    ascent: for a linear model it converges to the estimates of the Rauch-Tung-Striebel smoother, for a nonlinear one,
    linearised anew in each iteration, to a mode of the posterior. It decides on means alone. $\varepsilon$ is the
    correction of the refinement, in the units of the state, the component that `NeuralAugmentedSmoother` learns.

    Its speed depends on the conditioning of the model: it is a smoother to learn in, and no faster than
    one that goes forward and back once.

    Args:
        model: any model of this package whose process and observation noise are positive definite (with `starts="at"`
            also the initial covariance).
        refinement: what corrects the messages; `NoRefinement()` by default.
        step_size: $\gamma > 0$; by default, for a linear model, one over a bound of the curvature
            $(\|Q^{-1/2}\| + \|Q^{-1/2} F\|)^2 + \|R^{-1/2} H\|^2$ at the first moment.
        iterations: the depth of `smoother(ys)`.

    Raises:
        TypeError: for what is no model.
        ValueError: for a singular noise, a step size that is not positive, or none for a model that is not linear; when
            it runs, as the filters do.

    Differentiable in: the observations, the controls, and every array of the model and the refinement; through `solve`
    not in the step size.

    Source: V. Garcia Satorras, Z. Akata and M. Welling, "Combining generative and discriminative models for hybrid
    inference", NeurIPS 2019, whose messages vanish at both ends, where ours has the initial state's message to the
    first state; whose gradient does not pass through the messages, where ours does; and whose step size multiplies
    the correction too: where the noises are small so is the step size, and such a correction with it.

    >>> import jax.numpy as jnp
    >>> from mbdl import tracking
    >>> model = tracking.LinearGaussian(
    ...     transition=jnp.eye(1), observation=jnp.eye(1), process_noise=jnp.eye(1),
    ...     observation_noise=jnp.eye(1), initial_mean=jnp.zeros(1), initial_covariance=jnp.zeros((1, 1)),
    ... )
    >>> smoothed = tracking.MessageSmoother(model, iterations=50)(jnp.array([[1.0], [2.0]]))
    >>> [f"{float(s):.3f}" for s in smoothed[:, 0]]
    ['0.800', '1.400']
    """

    model: AbstractModel
    refinement: AbstractRefinement
    step_size: Float[Array, ""]

    def __init__(
        self,
        model: AbstractModel,
        refinement: AbstractRefinement | None = None,
        *,
        step_size: Any = None,
        iterations: int = 100,
    ):
        if not isinstance(model, AbstractModel):
            raise TypeError(f"MessageSmoother: expected a model of mbdl.tracking, got {type(model).__name__}")
        _check_invertible(model)
        if step_size is None and not isinstance(model, LinearGaussian):
            raise ValueError(
                f"MessageSmoother: the default step size is for a LinearGaussian model, and this is a "
                f"{type(model).__name__}. Give a step_size, the smaller the smaller the noises of the model are"
            )
        self.model = model
        self.refinement = NoRefinement() if refinement is None else refinement
        given = _inverse_curvature(model) if step_size is None else as_leaf(step_size)
        self.step_size = positive(given, "MessageSmoother: the step size")
        self.iterations = iterations

    def init(self, x: Any) -> MessageSmootherState:
        inputs = _sequence(self.model, x)
        return MessageSmootherState(backprojected(self.model, inputs), self.refinement.init(self.model, inputs))

    def step(self, state: MessageSmootherState, x: Any) -> MessageSmootherState:
        inputs = as_inputs(x)
        messages = messages_of(self.model, state.states, inputs)
        correction, memory = self.refinement(self.model, state.memory, messages, inputs)
        return MessageSmootherState(state.states + self.step_size * messages.sum + correction, memory)

    def decision(self, state: MessageSmootherState) -> Float[Array, "time state"]:
        return state.states

    def shift(self, state: MessageSmootherState, delta: Any) -> MessageSmootherState:
        return state._replace(states=state.states + delta)

    def hyperparameters(self) -> tuple[Any, ...]:
        return (self.step_size,)

    def valid(self, x: Any) -> Bool[Array, ""]:
        return declared(x)

    def why_invalid(self, x: Any) -> str:
        return why_refused(x)

    def why_not_finite(self, x: Any, decision: Any) -> str:
        return (
            "A noise of the model is singular, or the step size is too large and the iteration diverged. Give every "
            "noise a positive variance, and try a smaller step_size"
        )


def _sequence(model: AbstractModel, x: Any) -> Inputs:
    """The inputs of a sequence, of the size that the model observes."""
    inputs = as_inputs(x)
    if inputs.observation.ndim != 2 or not inputs.observation.shape[0]:
        raise ValueError(
            f"MessageSmoother: expected observations [time observation] of at least one step, got shape "
            f"{inputs.observation.shape}. Give a scalar series as ys[:, None], and apply jax.vmap to a batch"
        )
    first = [None if leaf is None else leaf[0] for leaf in (inputs.control, inputs.present, inputs.duration)]
    checked(model, Inputs(inputs.observation[0], *first))
    return inputs


def _inverse_curvature(model: AbstractModel) -> Float[Array, ""]:
    """One over a bound of the curvature of the log posterior, as if all moments were the first one."""
    moment = Moment(jnp.zeros((), jnp.int32))
    F, H = (jac(model.initial_mean, moment) for jac in (model.transit_jacobian, model.observe_jacobian))
    W, V = (whitener_of(dense(noise(moment))) for noise in (model.process_noise_at, model.observation_noise_at))
    curvature = (_norm(W) + _norm(W @ F)) ** 2 + _norm(V @ H) ** 2
    if model.starts == "at":
        curvature += _norm(whitener_of(dense(model.initial_covariance))) ** 2
    return 1 / curvature


def _norm(matrix: Array) -> Array:
    return jnp.linalg.norm(matrix, ord=2)


def _check_invertible(model: AbstractModel) -> None:
    names = ("process_noise", "observation_noise", *(("initial_covariance",) if model.starts == "at" else ()))
    for name in names:
        held = getattr(model, name, None)
        known = None if held is None or callable(held) else concrete(getattr(held, "factor", held))
        if known is None:
            continue
        matrix = np.asarray(dense(held), np.float64)
        deviations = np.sqrt(np.maximum(np.diagonal(matrix), 1e-300))
        smallest = np.linalg.eigvalsh(matrix / np.outer(deviations, deviations))[0]
        if smallest < 10 * len(matrix) * np.finfo(known.dtype).eps:
            raise ValueError(
                f"MessageSmoother: the {name} of the model is singular, and a message is weighted by its inverse. Give "
                "it a small positive variance in every direction, or use a smoother that goes forward and back"
            )
