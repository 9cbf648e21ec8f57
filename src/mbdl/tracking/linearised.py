"""The step that filters with a gain share: predict, compare, correct."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .estimates import Estimates, gaussian_log_density
from .gain import AbstractGain, Features, masked_noise
from .inputs import Inputs, Moment, as_inputs, counted
from .model import AbstractModel


class FilterMemory(NamedTuple):
    """What a filter carries from one observation to the next.

    Attributes:
        time: how many observations there were.
        mean: the last estimate, `[state]`.
        gain: the gain's own memory.
    """

    time: Int[Array, ""]
    mean: Float[Array, " state"]
    gain: Any


def first_memory(model: AbstractModel, gain: AbstractGain) -> FilterMemory:
    """The memory before the first observation."""
    return FilterMemory(jnp.zeros((), jnp.int32), model.initial_mean, gain.init(model))


def linearised_step(
    model: AbstractModel, gain: AbstractGain, memory: FilterMemory, x: Any, relinearisations: int = 0
) -> tuple[FilterMemory, Estimates]:
    """One observation of a filter that knows the model to first order.

    Args:
        model: the state-space model.
        gain: what weighs the innovation.
        memory: the memory.
        x: `Inputs`, or a bare observation.
        relinearisations: how often the observation is linearised again, at the estimate that it led to.

    Returns:
        the memory and the `Estimates` of this time.
    """
    inputs = checked(model, x)
    moment = Moment(memory.time, inputs.control, inputs.duration)
    begins = model.begins(moment)
    predicted = _unless(begins, memory.mean, model.transit(memory.mean, moment))
    identity = jnp.eye(model.state_size, dtype=predicted.dtype)
    features = Features(
        previous=memory.mean,
        predicted=predicted,
        observation=inputs.observation,
        expected=model.observe(predicted, moment),
        present=inputs.present,
        transition=_unless(begins, identity, model.transit_jacobian(memory.mean, moment)),
        observation_map=_seen(model.observe_jacobian(predicted, moment), inputs.present),
        process_noise=_none_if(begins, model.process_noise_at(moment)),
        observation_noise=masked_noise(model.observation_noise_at(moment), inputs.present),
    )
    innovation = _seen(model.innovation(inputs.observation, features.expected), inputs.present)
    K, uncertainty, kept = gain(model, memory.gain, innovation, features)
    mean = predicted + K @ innovation
    for _ in range(relinearisations):
        expected = model.observe(mean, moment)
        H = _seen(model.observe_jacobian(mean, moment), inputs.present)
        again = features._replace(expected=expected, observation_map=H)
        shifted = _seen(model.innovation(inputs.observation, expected), inputs.present) - H @ (predicted - mean)
        K, uncertainty, kept = gain(model, memory.gain, shifted, again)
        mean = predicted + K @ shifted
    estimates = _estimates(mean, predicted, innovation, uncertainty, inputs)
    return FilterMemory(memory.time + 1, mean, kept), estimates


def checked(model: AbstractModel, x: Any) -> Inputs:
    """The inputs of one time, of the size that the model observes.

    Raises:
        ValueError: for another size.
    """
    inputs = as_inputs(x)
    if inputs.observation.ndim != 1:
        raise ValueError(
            f"expected observations [time observation], and one [observation] a step, got a step of shape "
            f"{inputs.observation.shape}. Give a scalar series as ys[:, None], and apply jax.vmap to a batch"
        )
    moment = Moment(jnp.zeros((), jnp.int32), inputs.control, inputs.duration)
    size = model.observation_size(moment)
    if inputs.observation.shape[0] != size:
        raise ValueError(
            f"an observation has {inputs.observation.shape[0]} components and the model observes {size}. Give the "
            "observations as [time observation], in the order of the model"
        )
    return inputs


def _estimates(mean: Array, predicted: Array, innovation: Array, uncertainty: Any, inputs: Inputs) -> Estimates:
    if uncertainty is None:
        return Estimates(mean, None, predicted, None, None, innovation, None, None, None)
    white = uncertainty.whitener @ innovation
    square = jnp.sum(white**2)
    return Estimates(
        mean=mean,
        covariance=uncertainty.covariance,
        predicted_mean=predicted,
        predicted_covariance=uncertainty.predicted,
        cross_covariance=uncertainty.cross,
        innovation=innovation,
        innovation_covariance=uncertainty.innovation,
        normalised_innovation_squared=square,
        log_likelihood=gaussian_log_density(square, uncertainty.whitener, counted(inputs)),
    )


def _unless(flag: Any, first: Array, later: Array) -> Array:
    return later if flag is False else jnp.where(flag, first, later)


def _none_if(flag: Any, noise: Any) -> Any:
    """A noise that is zero where the flag is set."""
    if flag is False:
        return noise
    return type(noise)(jnp.where(flag, 0.0, noise.factor)) if hasattr(noise, "factor") else jnp.where(flag, 0.0, noise)


def _seen(value: Array, present: Any) -> Array:
    """Rows that belong to present components; the others are zero."""
    if present is None:
        return value
    return jnp.where(present.reshape(present.shape + (1,) * (value.ndim - 1)), value, 0.0)
