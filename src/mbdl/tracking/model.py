"""State-space models: what filters, smoothers and simulators need to know of one."""

import abc
from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mbdl.core import as_leaf
from mbdl.core.checks import finite, floating

from .covariance import Factor, as_covariance
from .inputs import Moment

Starts = Literal["before", "at"]


class AbstractModel(eqx.Module):
    r"""A state-space model with additive Gaussian noise,
    $$s_t = f_t(s_{t-1}) + v_t, \qquad y_t = h_t(s_t) + w_t, \qquad v_t \sim N(0, Q_t), \; w_t \sim N(0, R_t).$$

    $f_t$, $h_t$, $Q_t$ and $R_t$ may depend on the `Moment`: the index of the observation, a control input, a duration.

    Attributes:
        initial_mean: the mean of the initial state, `[state]`.
        initial_covariance: its covariance, `[state state]` or a `Factor`; zero for a known state.
        starts: when that state is: one transition `"before"` the first observation (as the papers on learned filters
            have it), or `"at"` the first observation (as most textbooks and dynamax have it).
    """

    initial_mean: eqx.AbstractVar[Float[Array, " state"]]
    initial_covariance: eqx.AbstractVar[Any]
    starts: eqx.AbstractVar[Starts]

    @abc.abstractmethod
    def transit(self, state: Float[Array, " state"], moment: Moment) -> Float[Array, " state"]:
        """$f_t(s)$."""

    @abc.abstractmethod
    def observe(self, state: Float[Array, " state"], moment: Moment) -> Float[Array, " observation"]:
        """$h_t(s)$."""

    @abc.abstractmethod
    def transit_jacobian(self, state: Float[Array, " state"], moment: Moment) -> Float[Array, "state state"]:
        r"""$\partial f_t / \partial s$."""

    @abc.abstractmethod
    def observe_jacobian(self, state: Float[Array, " state"], moment: Moment) -> Float[Array, "observation state"]:
        r"""$\partial h_t / \partial s$."""

    @abc.abstractmethod
    def process_noise_at(self, moment: Moment) -> Any:
        """$Q_t$, a matrix or a `Factor`."""

    @abc.abstractmethod
    def observation_noise_at(self, moment: Moment) -> Any:
        """$R_t$, a matrix or a `Factor`."""

    def innovation(self, observed: Array, expected: Array) -> Float[Array, " observation"]:
        """What an observation tells beyond the expected one; their difference, unless angles wrap."""
        return observed - expected

    @property
    def state_size(self) -> int:
        """The number of components of the state."""
        return self.initial_mean.shape[0]

    def observation_size(self, moment: Moment) -> int:
        """The number of components of an observation."""
        return jax.eval_shape(self.observe, self.initial_mean, moment).shape[0]

    def begins(self, moment: Moment) -> Any:
        """Whether no transition leads to this moment: `False`, or a flag where the initial state is `"at"` it."""
        return moment.time == 0 if self.starts == "at" else False


class TimeVarying(eqx.Module):
    """A parameter with a value for each observation, in the place of one for all.

    Args:
        values: `[time ...]`; the first value goes with the first observation.

    Raises:
        ValueError: for values that are not finite or have no time axis.

    >>> import jax.numpy as jnp
    >>> from mbdl import tracking
    >>> gains = tracking.TimeVarying(jnp.ones((50, 1, 1)))
    >>> gains(tracking.Moment(jnp.asarray(3))).shape
    (1, 1)
    """

    values: Float[Array, "time *shape"]

    def __init__(self, values: Any):
        self.values = floating(as_leaf(values))
        if getattr(self.values, "ndim", 1) < 1:
            raise ValueError("TimeVarying: expected values with a leading time axis, got a single number")
        finite(self.values, "TimeVarying: the values")

    def __call__(self, moment: Moment) -> Array:
        """The value at a moment; NaN beyond the last one, so that a sequence that is too long cannot pass unnoticed."""
        return self.values.at[moment.time].get(mode="fill", fill_value=jnp.nan)


def at(parameter: Any, moment: Moment) -> Any:
    """The value of a parameter at a moment: itself, or what a function of the moment gives."""
    return called(parameter, moment) if callable(parameter) else parameter


def called(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function of a model gives; the last argument is the `Moment`.

    Raises:
        TypeError: for one that fails where there is no control or no duration.
    """
    try:
        return function(*arguments)
    except (TypeError, AttributeError) as error:
        missing = [name for name in ("control", "duration") if getattr(arguments[-1], name) is None]
        if not missing:
            raise
        name = getattr(function, "__name__", type(function).__name__)
        raise TypeError(
            f"{name}, a function of the model, failed where the inputs have no {' and no '.join(missing)} ({error}). "
            "If it needs that, give it: tracking.Inputs(observation, control=..., duration=...)"
        ) from error


def check_noise(model: AbstractModel, moment: Moment) -> None:
    """Raise unless the noise at a moment fits the states and the observations; a smaller one would be broadcast.

    Raises:
        ValueError: for a noise of another size.
    """
    sizes = {"process": model.state_size, "observation": model.observation_size(moment)}
    for name, size in sizes.items():
        noise = jax.eval_shape(getattr(model, f"{name}_noise_at"), moment)
        shape = getattr(noise, "factor", noise).shape
        if shape[0] != size or (not isinstance(noise, Factor) and shape != (size, size)):
            raise ValueError(
                f"{type(model).__name__}: {name}_noise has shape {shape} at a moment; expected {size} rows, one for "
                f"each component of {'a state' if name == 'process' else 'an observation'}"
            )


def check_initial(mean: Any, covariance: Any, starts: Any, what: str) -> tuple[Any, Any]:
    """The initial mean and covariance as leaves, checked.

    Raises:
        ValueError: for shapes that do not agree, values that are not finite, or a covariance that is none.
    """
    mean = floating(as_leaf(mean))
    shape = getattr(mean, "shape", None)
    if shape is not None and len(shape) != 1:
        raise ValueError(f"{what}: expected initial_mean to be a vector [state], got shape {shape}")
    finite(mean, f"{what}: initial_mean")
    size = None if shape is None else shape[0]
    covariance = as_covariance(covariance, size, f"{what}: initial_covariance")
    if starts not in ("before", "at"):
        raise ValueError(
            f"{what}: expected starts='before' (the initial state is one transition before the first observation) or "
            f"starts='at' (it is the state at the first observation), got {starts!r}"
        )
    return mean, covariance


def as_map(value: Any, rows: int | None, columns: int | None, what: str) -> Any:
    """A matrix leaf of a linear model, checked; functions of the moment as they are.

    Raises:
        ValueError: for a wrong shape or values that are not finite.
    """
    if callable(value):
        return value
    value = floating(as_leaf(value))
    shape = getattr(value, "shape", None)
    if shape is not None:
        wanted = (rows, columns)
        if len(shape) != 2 or any(w is not None and w != s for w, s in zip(wanted, shape, strict=True)):
            shown = " ".join("any" if w is None else str(w) for w in wanted)
            raise ValueError(
                f"{what}: expected a matrix [{shown}] (rows, columns), got shape {shape}. For one matrix a time step "
                "use tracking.TimeVarying"
            )
        finite(value, what)
    return value
