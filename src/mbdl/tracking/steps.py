"""What the steps of all filters share: checks, masks, and the estimates from the moments."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .estimates import Estimates, gaussian_log_density
from .inputs import Inputs, Moment, as_inputs, counted
from .model import AbstractModel, check_noise


def checked(model: AbstractModel, x: Any) -> Inputs:
    """The inputs of one time, of the size that the model observes.

    Raises:
        ValueError: for another size, or a noise of the model that does not fit.
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
    check_noise(model, moment)
    return inputs


def estimates_of(mean: Array, predicted: Array, innovation: Array, uncertainty: Any, inputs: Inputs) -> Estimates:
    """What a step tells, from the covariances that go with its gain; without them where they are `None`."""
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


def unless(flag: Any, first: Array, later: Array) -> Array:
    """The first value where the flag is set, the later one elsewhere; the flag of `AbstractModel.begins`."""
    return later if flag is False else jnp.where(flag, first, later)


def zero_if(flag: Any, noise: Any) -> Any:
    """A noise that is zero where the flag is set."""
    if flag is False:
        return noise
    return type(noise)(jnp.where(flag, 0.0, noise.factor)) if hasattr(noise, "factor") else jnp.where(flag, 0.0, noise)


def seen(value: Array, present: Any) -> Array:
    """Rows that belong to present components; the others are zero."""
    if present is None:
        return value
    return jnp.where(present.reshape(present.shape + (1,) * (value.ndim - 1)), value, 0.0)


def compared(
    model: AbstractModel,
    points: Float[Array, "point state"],
    weights: Float[Array, " point"],
    moment: Moment,
    inputs: Inputs,
) -> tuple[Float[Array, " observation"], Float[Array, "point observation"]]:
    """The innovation of an observation whose expectation is a weighted mean over points.

    Differences are taken from the first point's observation, by the model's `innovation`, so that angles have a mean.

    Returns:
        the innovation, and the deviations of the points' observations from their mean; zero where nothing is present.
    """
    observed = jax.vmap(lambda s: model.observe(s, moment))(points)
    differences = jax.vmap(lambda y: model.innovation(y, observed[0]))(observed)
    mean = weights @ differences
    innovation = model.innovation(inputs.observation, observed[0] + mean)
    return seen(innovation, inputs.present), seen((differences - mean).T, inputs.present).T
