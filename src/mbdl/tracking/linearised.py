"""The step that filters with a gain share: predict, compare, correct."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .estimates import Estimates
from .gain import AbstractGain, Features, masked_noise
from .inputs import Moment
from .linear import LinearGaussian, same_for_all
from .model import AbstractModel
from .steps import checked, estimates_of, seen, unless, zero_if


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
    predicted = unless(begins, memory.mean, model.transit(memory.mean, moment))
    identity = jnp.eye(model.state_size, dtype=predicted.dtype)
    features = Features(
        previous=memory.mean,
        predicted=predicted,
        observation=inputs.observation,
        expected=model.observe(predicted, moment),
        present=inputs.present,
        transition=unless(begins, identity, model.transit_jacobian(memory.mean, moment)),
        observation_map=seen(model.observe_jacobian(predicted, moment), inputs.present),
        process_noise=zero_if(begins, model.process_noise_at(moment)),
        observation_noise=masked_noise(model.observation_noise_at(moment), inputs.present),
    )
    innovation = seen(model.innovation(inputs.observation, features.expected), inputs.present)
    if gain.predetermined and same_for_all(model, inputs):
        K, moved, uncertainty, kept = gain.shared(model, memory.gain, features)
        mean = _in_one_product(model, features, K, moved, moment)
    else:
        K, uncertainty, kept = gain(model, memory.gain, innovation, features)
        mean = predicted + K @ innovation
    for _ in range(relinearisations):
        expected = model.observe(mean, moment)
        H = seen(model.observe_jacobian(mean, moment), inputs.present)
        again = features._replace(expected=expected, observation_map=H)
        # That of the model linearised here, so that it goes with the covariance that the gain gives.
        innovation = seen(model.innovation(inputs.observation, expected), inputs.present) - H @ (predicted - mean)
        K, uncertainty, kept = gain(model, memory.gain, innovation, again)
        mean = predicted + K @ innovation
    estimates = estimates_of(mean, predicted, innovation, uncertainty, inputs)
    return FilterMemory(memory.time + 1, mean, kept), estimates


def _in_one_product(
    model: LinearGaussian,
    features: Features,
    K: Float[Array, "state observation"],
    moved: Float[Array, "state state"],
    moment: Moment,
) -> Float[Array, " state"]:
    r"""The estimate as $[(I - K H) F, K] [\hat s_{t-1}; y_t] + (I - K H) B u_t$.

    Many sequences share the matrix, and each of them has one product in the place of three.
    """
    mean = jnp.concatenate([features.previous, features.observation]) @ jnp.concatenate([moved, K], axis=1).T
    if moment.control is None:
        return mean
    still = jnp.zeros_like(features.previous)
    driven = unless(model.begins(moment), still, model.transit(still, moment))
    return mean + driven - K @ (features.observation_map @ driven)
