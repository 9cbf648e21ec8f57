"""The nonlinear state-space model with additive Gaussian noise."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float

from .covariance import as_covariance
from .inputs import Moment
from .model import AbstractModel, Starts, at, called, check_initial

Function = Callable[[Float[Array, " state"], Moment], Array]


class NonlinearGaussian(AbstractModel):
    r"""A nonlinear model with additive Gaussian noise,
    $$s_t = f(s_{t-1}, \tau_t) + v_t, \qquad y_t = h(s_t, \tau_t) + w_t, \qquad v_t \sim N(0, Q), \; w_t \sim N(0, R),$$
    where $\tau_t$ is the `Moment`: `moment.control`, `moment.time` and `moment.duration`.

    Functions are callables `(state, moment) -> array`; where their parameters are to be known or learned, an
    `equinox.Module` that holds them. Jacobians are by automatic differentiation unless they are given.

    Args:
        transition: $f$.
        observation: $h$.
        process_noise: $Q$, `[state state]`, a `Factor`, or a function of the moment.
        observation_noise: $R$, likewise.
        initial_mean: the mean of the initial state, `[state]`.
        initial_covariance: its covariance, `[state state]` or a `Factor`; zero where it is known.
        transition_jacobian: $\partial f / \partial s$, `(state, moment) -> [state state]`.
        observation_jacobian: $\partial h / \partial s$, `(state, moment) -> [observation state]`.
        difference: what an innovation is, `(observed, expected) -> [observation]`, where it is not their difference:
            `WrappedDifference` for angles.
        starts: whether the initial state is one transition `"before"` the first observation, or `"at"` it.

    Raises:
        ValueError: for shapes that do not agree, values that are not finite, or a covariance that is not symmetric
            and positive semidefinite.
        TypeError: when it is used, for a function that fails where the inputs have no control or no duration.

    >>> import jax.numpy as jnp
    >>> from mbdl import tracking
    >>> model = tracking.NonlinearGaussian(
    ...     transition=lambda s, moment: jnp.sin(s), observation=lambda s, moment: s**2,
    ...     process_noise=0.1 * jnp.eye(1), observation_noise=jnp.eye(1),
    ...     initial_mean=jnp.zeros(1), initial_covariance=jnp.eye(1),
    ... )
    >>> model.transit_jacobian(jnp.zeros(1), tracking.Moment(jnp.asarray(0))).tolist()
    [[1.0]]
    """

    transition: Function
    observation: Function
    process_noise: Any
    observation_noise: Any
    initial_mean: Float[Array, " state"]
    initial_covariance: Any
    transition_jacobian: Function | None
    observation_jacobian: Function | None
    difference: Callable[[Array, Array], Array] | None
    starts: Starts = eqx.field(static=True)

    def __init__(
        self,
        *,
        transition: Function,
        observation: Function,
        process_noise: Any,
        observation_noise: Any,
        initial_mean: Any,
        initial_covariance: Any,
        transition_jacobian: Function | None = None,
        observation_jacobian: Function | None = None,
        difference: Callable[[Array, Array], Array] | None = None,
        starts: Starts = "before",
    ):
        what = "NonlinearGaussian"
        mean, covariance = check_initial(initial_mean, initial_covariance, starts, what)
        self.initial_mean, self.initial_covariance, self.starts = mean, covariance, starts
        for name, function in (("transition", transition), ("observation", observation)):
            if not callable(function):
                raise TypeError(f"{what}: expected {name} to be a function (state, moment) -> array, got {function!r}")
        self.transition, self.observation = transition, observation
        self.transition_jacobian, self.observation_jacobian = transition_jacobian, observation_jacobian
        self.difference = difference
        size = mean.shape[0] if hasattr(mean, "shape") else None
        self.process_noise = as_covariance(process_noise, size, f"{what}: process_noise")
        self.observation_noise = as_covariance(observation_noise, None, f"{what}: observation_noise")

    def transit(self, state: Float[Array, " state"], moment: Moment) -> Float[Array, " state"]:
        return _shaped(called(self.transition, state, moment), state.shape, "transition", "the state")

    def observe(self, state: Float[Array, " state"], moment: Moment) -> Float[Array, " observation"]:
        observed = called(self.observation, state, moment)
        rows = _rows(self.observation_noise)
        return observed if rows is None else _shaped(observed, (rows,), "observation", "observation_noise")

    def transit_jacobian(self, state: Float[Array, " state"], moment: Moment) -> Float[Array, "state state"]:
        given = self.transition_jacobian
        return jax.jacfwd(self.transit)(state, moment) if given is None else called(given, state, moment)

    def observe_jacobian(self, state: Float[Array, " state"], moment: Moment) -> Float[Array, "observation state"]:
        given = self.observation_jacobian
        return jax.jacfwd(self.observe)(state, moment) if given is None else called(given, state, moment)

    def innovation(self, observed: Array, expected: Array) -> Float[Array, " observation"]:
        return observed - expected if self.difference is None else self.difference(observed, expected)

    def process_noise_at(self, moment: Moment) -> Any:
        return at(self.process_noise, moment)

    def observation_noise_at(self, moment: Moment) -> Any:
        return at(self.observation_noise, moment)


def _rows(covariance: Any) -> int | None:
    held = getattr(covariance, "factor", covariance)
    return held.shape[0] if hasattr(held, "shape") else None


def _shaped(value: Array, shape: tuple[int, ...], name: str, fits: str) -> Array:
    if value.shape != shape:
        raise ValueError(
            f"NonlinearGaussian: {name} returned shape {value.shape}; expected {shape}, that of {fits}. States and "
            "observations are vectors"
        )
    return value
