"""The messages of a smoother: how each factor of the joint density pulls at the states."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .covariance import dense
from .gain import masked_noise
from .inputs import Inputs, Moment
from .kalman_gain import whitener_of
from .model import AbstractModel


class Messages(NamedTuple):
    r"""The messages to each state; their sum is the gradient of $\log p(s_1, \dots, s_T \mid y_1, \dots, y_T)$.

    Attributes:
        forward: from the state before, $-Q_t^{-1} (s_t - f_t(s_{t-1}))$, `[time state]`; to the first state from the
            initial one.
        observed: from the observation, $H_t^\top R_t^{-1} (y_t - h_t(s_t))$, `[time state]`; zero from what is missing.
        backward: from the state after, $F_{t+1}^\top Q_{t+1}^{-1} (s_{t+1} - f_{t+1}(s_t))$, `[time state]`; zero to
            the last one.
    """

    forward: Float[Array, "time state"]
    observed: Float[Array, "time state"]
    backward: Float[Array, "time state"]

    @property
    def sum(self) -> Float[Array, "time state"]:
        """The gradient of the log posterior."""
        return self.forward + self.observed + self.backward


def messages_of(model: AbstractModel, states: Float[Array, "time state"], inputs: Inputs) -> Messages:
    r"""The messages at a sequence of states, all times at once; a nonlinear model is linearised at these states.

    The initial state is marginalised: with `starts="before"` the first state has the mean $f_1(m_0)$ and the covariance
    $F_1 P_0 F_1^\top + Q_1$, which is exact for a linear model.

    Args:
        model: the state-space model; its noises are positive definite, otherwise the messages are not finite.
        states: where the messages are computed.
        inputs: the observations with what goes with them, `[time ...]`.

    Returns:
        `Messages`.

    Differentiable in: the states, the inputs and the arrays of the model.
    """
    moments = moments_of(inputs)

    def pull(state: Array, observation: Array, present: Any, moment: Moment) -> Array:
        H = _present(model.observe_jacobian(state, moment), present)
        innovation = _present(model.innovation(observation, model.observe(state, moment)), present)
        W = whitener_of(dense(masked_noise(model.observation_noise_at(moment), present)))
        return H.T @ (W.T @ (W @ innovation))

    def push(previous: Array, state: Array, moment: Moment) -> tuple[Array, Array]:
        W = whitener_of(dense(model.process_noise_at(moment)))
        white = W.T @ (W @ (state - model.transit(previous, moment)))
        return -white, model.transit_jacobian(previous, moment).T @ white

    first = _first(model, states[0], jax.tree.map(lambda leaf: leaf[0], moments))
    later = jax.tree.map(lambda leaf: leaf[1:], moments)
    forward, backward = jax.vmap(push)(states[:-1], states[1:], later)
    return Messages(
        forward=jnp.concatenate([first[None], forward]),
        observed=jax.vmap(pull)(states, inputs.observation, inputs.present, moments),
        backward=jnp.concatenate([backward, jnp.zeros_like(first)[None]]),
    )


def moments_of(inputs: Inputs) -> Moment:
    """The moments of a sequence, with a leading time axis."""
    return Moment(jnp.arange(inputs.observation.shape[0], dtype=jnp.int32), inputs.control, inputs.duration)


def backprojected(model: AbstractModel, inputs: Inputs) -> Float[Array, "time state"]:
    r"""The initial mean and what the observations add to it, $m_0 + H^\top (y_t - h(m_0))$ with $H$ at $m_0$."""
    mean = model.initial_mean

    def back(observation: Array, present: Any, moment: Moment) -> Array:
        H = model.observe_jacobian(mean, moment)
        return mean + H.T @ _present(model.innovation(observation, model.observe(mean, moment)), present)

    return jax.vmap(back)(inputs.observation, inputs.present, moments_of(inputs))


def _first(model: AbstractModel, state: Array, moment: Moment) -> Array:
    """The message of the initial state to the first one."""
    predicted, covariance = model.initial_mean, dense(model.initial_covariance)
    if model.starts == "before":
        F = model.transit_jacobian(predicted, moment)
        covariance = F @ covariance @ F.T + dense(model.process_noise_at(moment))
        predicted = model.transit(predicted, moment)
    W = whitener_of(covariance)
    return -(W.T @ (W @ (state - predicted)))


def _present(value: Array, present: Any) -> Array:
    """Rows that belong to present components; the others are zero."""
    if present is None:
        return value
    return jnp.where(present.reshape(present.shape + (1,) * (value.ndim - 1)), value, 0.0)
