"""The linear Gaussian state-space model."""

from typing import Any, TypeGuard

import equinox as eqx
from jaxtyping import Array, Float

from .covariance import as_covariance
from .inputs import Inputs, Moment
from .model import AbstractModel, Starts, TimeVarying, as_map, at, check_initial


class LinearGaussian(AbstractModel):
    r"""A linear model with Gaussian noise,
    $$s_t = F s_{t-1} + B u_t + v_t, \qquad y_t = H s_t + w_t, \qquad v_t \sim N(0, Q), \; w_t \sim N(0, R).$$

    Each parameter is a matrix, or a function from a `Moment` to one (an `equinox.Module` with arrays, so that they may
    be learned): `TimeVarying` for one matrix a step, or what depends on the duration since the sample before.

    Args:
        transition: $F$, `[state state]`.
        observation: $H$, `[observation state]`.
        process_noise: $Q$, `[state state]`, or a `Factor`.
        observation_noise: $R$, `[observation observation]`, or a `Factor`.
        initial_mean: the mean of the initial state, `[state]`.
        initial_covariance: its covariance, `[state state]` or a `Factor`; zero where it is known.
        control: $B$, `[state control]`, where there is a control input.
        starts: whether the initial state is one transition `"before"` the first observation, or `"at"` it.

    Raises:
        ValueError: for shapes that do not agree, values that are not finite, or a covariance that is not symmetric
            and positive semidefinite; when it is used, for durations where no parameter is a function of the moment.

    >>> import jax.numpy as jnp
    >>> from mbdl import tracking
    >>> model = tracking.LinearGaussian(
    ...     transition=jnp.array([[1.0, 1.0], [0.0, 1.0]]), observation=jnp.array([[1.0, 0.0]]),
    ...     process_noise=0.1 * jnp.eye(2), observation_noise=jnp.eye(1),
    ...     initial_mean=jnp.zeros(2), initial_covariance=jnp.zeros((2, 2)),
    ... )
    >>> model.state_size
    2
    """

    transition: Any
    observation: Any
    process_noise: Any
    observation_noise: Any
    initial_mean: Float[Array, " state"]
    initial_covariance: Any
    control: Any
    starts: Starts = eqx.field(static=True)

    def __init__(
        self,
        *,
        transition: Any,
        observation: Any,
        process_noise: Any,
        observation_noise: Any,
        initial_mean: Any,
        initial_covariance: Any,
        control: Any = None,
        starts: Starts = "before",
    ):
        what = "LinearGaussian"
        mean, covariance = check_initial(initial_mean, initial_covariance, starts, what)
        self.initial_mean, self.initial_covariance, self.starts = mean, covariance, starts
        size = mean.shape[0] if hasattr(mean, "shape") else None
        self.transition = as_map(transition, size, size, f"{what}: transition")
        self.observation = as_map(observation, None, size, f"{what}: observation")
        rows = self.observation.shape[0] if hasattr(self.observation, "shape") else None
        self.process_noise = as_covariance(process_noise, size, f"{what}: process_noise")
        self.observation_noise = as_covariance(observation_noise, rows, f"{what}: observation_noise")
        self.control = None if control is None else as_map(control, size, None, f"{what}: control")

    def transit(self, state: Float[Array, " state"], moment: Moment) -> Float[Array, " state"]:
        moved = self.transit_jacobian(state, moment) @ state
        if self.control is None and moment.control is None:
            return moved
        if moment.control is None:
            raise ValueError("LinearGaussian: the model has a control matrix, and the inputs have no control")
        if self.control is None:
            raise ValueError(
                "LinearGaussian: the inputs have a control, and the model has no control matrix; give it one "
                "(control=B)"
            )
        shape = self.state_size, moment.control.shape[0]
        return moved + _fitting(at(self.control, moment), shape, "control") @ moment.control

    def observe(self, state: Float[Array, " state"], moment: Moment) -> Float[Array, " observation"]:
        return self.observe_jacobian(state, moment) @ state

    def transit_jacobian(self, state: Float[Array, " state"], moment: Moment) -> Float[Array, "state state"]:
        parameters = (self.transition, self.control, self.process_noise, self.observation, self.observation_noise)
        if moment.duration is not None and all(not callable(p) or isinstance(p, TimeVarying) for p in parameters):
            raise ValueError(
                "LinearGaussian: the inputs have durations, and no parameter of the model depends on them. Give it a "
                "transition and a process noise that are functions of the moment, as tracking.constant_velocity does, "
                "or leave the durations out"
            )
        return _fitting(at(self.transition, moment), (self.state_size, self.state_size), "transition")

    def observe_jacobian(self, state: Float[Array, " state"], moment: Moment) -> Float[Array, "observation state"]:
        return _fitting(at(self.observation, moment), (None, self.state_size), "observation")

    def process_noise_at(self, moment: Moment) -> Any:
        return at(self.process_noise, moment)

    def observation_noise_at(self, moment: Moment) -> Any:
        return at(self.observation_noise, moment)


def same_for_all(model: AbstractModel, inputs: Inputs) -> TypeGuard[LinearGaussian]:
    """Whether a model is linear, and no sample is missing or irregular.

    A gain that the model determines is then the same for all sequences of a batch, and so is any matrix made of it.
    """
    return isinstance(model, LinearGaussian) and inputs.present is None and inputs.duration is None


def _fitting(matrix: Any, shape: tuple[int | None, int], name: str) -> Array:
    """A matrix at a moment, of the shape that the states and the inputs ask for."""
    if len(matrix.shape) != 2 or shape != (shape[0] and matrix.shape[0], matrix.shape[1]):
        shown = " ".join("any" if n is None else str(n) for n in shape)
        raise ValueError(
            f"LinearGaussian: the matrix of the {name} has shape {matrix.shape} at a moment; expected [{shown}] (rows, "
            "columns), for the states of the model and the control of the inputs"
        )
    return matrix
