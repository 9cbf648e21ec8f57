"""What a filter consumes at each time: an observation, and where there are any a control, a mask and a duration."""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mbdl.core import all_finite, as_leaf
from mbdl.core.checks import floating


class Inputs(eqx.Module):
    """One sequence of observations with what goes with them; filters take it wherever they take bare observations.

    Args:
        observation: $y_t$, `[time observation]`; what is not present may be anything, NaN too.
        control: $u_t$, the input that acts in the transition to time $t$, `[time control]`.
        present: which observations there are, `[time]`, or `[time observation]` for single components; all by default.
        duration: the time since the observation before, `[time]`, in the unit of the model; for irregular sampling,
            with a model whose parameters depend on it.

    Raises:
        ValueError: for shapes that do not go together.

    Under `jax.vmap` and for one input of a stream the time axis is left out.

    >>> import jax.numpy as jnp
    >>> from mbdl import tracking
    >>> inputs = tracking.Inputs(jnp.ones((5, 2)), present=jnp.arange(5) != 3)
    >>> inputs.present.shape
    (5, 2)
    """

    observation: Float[Array, "*time observation"]
    control: Float[Array, "*time control"] | None
    present: Bool[Array, "*time observation"] | None
    duration: Float[Array, "*time"] | None

    def __init__(self, observation: Any, control: Any = None, present: Any = None, duration: Any = None):
        observation = floating(as_leaf(observation))
        time = observation.shape[:-1]
        if present is not None:
            present = jnp.asarray(present).astype(bool)
            if present.shape == time:
                present = jnp.broadcast_to(present[..., None], observation.shape)
            if present.shape != observation.shape:
                raise ValueError(
                    f"Inputs: present has shape {present.shape}; expected {time}, or {observation.shape} for single "
                    "components"
                )
            observation = jnp.where(present, observation, 0.0)
        self.observation, self.present = observation, present
        self.control = None if control is None else floating(as_leaf(control))
        self.duration = None if duration is None else floating(as_leaf(duration))
        for name, value, axes in (("control", self.control, 1), ("duration", self.duration, 0)):
            if value is not None and value.shape[: value.ndim - axes] != time:
                raise ValueError(
                    f"Inputs: {name} has shape {value.shape}, which does not go with observations of shape "
                    f"{observation.shape}; expected the leading axes {time}"
                )


def nan_means_missing(observation: Any, control: Any = None, duration: Any = None) -> Inputs:
    """Inputs in which an observation, or a component of one, that is NaN is missing.

    Args:
        observation: `[time observation]`, NaN where there is none. Infinity is no missing observation.
        control: as in `Inputs`.
        duration: as in `Inputs`.

    Returns:
        an `Inputs` with an explicit mask.
    """
    observation = jnp.asarray(observation)
    return Inputs(observation, control, ~jnp.isnan(observation), duration)


class Moment(NamedTuple):
    """When a transition or an observation happens; what a model's functions may depend on beside the state.

    Attributes:
        time: the index of the observation, from zero.
        control: $u_t$, or `None`.
        duration: the time since the observation before, or `None`.
    """

    time: Int[Array, ""]
    control: Float[Array, " control"] | None = None
    duration: Float[Array, ""] | None = None


def as_inputs(x: Any) -> Inputs:
    """Bare observations as `Inputs`."""
    return x if isinstance(x, Inputs) else Inputs(x)


def counted(inputs: Inputs) -> Float[Array, ""]:
    """How many components of one observation are present."""
    if inputs.present is None:
        return jnp.asarray(inputs.observation.shape[-1], inputs.observation.dtype)
    return jnp.sum(inputs.present, dtype=inputs.observation.dtype)


def declared(x: Any) -> Bool[Array, ""]:
    """Whether all is finite that is declared present, no duration is negative, and something is present."""
    inputs = as_inputs(x)
    sound = all_finite(inputs)
    if inputs.present is not None:
        sound &= jnp.any(inputs.present)
    return sound if inputs.duration is None else sound & jnp.all(inputs.duration >= 0)


def why_refused(x: Any) -> str:
    """What is wrong with inputs that are not `declared`, in words; they are concrete."""
    return undeclared(x) or (
        "all observations are missing, so there is nothing to estimate from. Check the mask: present is true where "
        "there is an observation"
    )


def undeclared(x: Any) -> str | None:
    """What is not finite in inputs, or negative in durations, in words; `None` where all is well."""
    inputs = as_inputs(x)
    for name in ("observation", "control", "duration"):
        value = getattr(inputs, name)
        if value is not None and not bool(jnp.all(jnp.isfinite(value))):
            bad = ~jnp.isfinite(value)
            sequence = inputs.observation.ndim > 1  # one input of a stream has no time axis
            where = f", first at step {int(jnp.argmax(bad.reshape(len(bad), -1).any(1)))}" if sequence else ""
            remedy = (
                "Declare missing ones: tracking.Inputs(observation, present=mask), or tracking.nan_means_missing"
                if name == "observation"
                else "They cannot be missing: give their values"
            )
            return f"{int(jnp.sum(bad))} values of the {name} are not finite{where}. {remedy}"
    if inputs.duration is not None and not bool(jnp.all(inputs.duration >= 0)):
        count, least = int(jnp.sum(inputs.duration < 0)), float(inputs.duration.min())
        return (
            f"{count} durations are negative, the least is {least:g}. "
            "A duration is the time since the observation before: put the observations in the order of time"
        )
    return None
