"""The maximisation step of a linear Gaussian model, in closed form."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .covariance import dense, symmetric
from .gain import masked_noise
from .inputs import Inputs, Moment
from .linear import LinearGaussian
from .smoother import Smoothed

Parameter = Literal[
    "transition", "observation", "process_noise", "observation_noise", "initial_mean", "initial_covariance"
]
Parameters = dict[Parameter, Array]


def maximised(model: LinearGaussian, inputs: Inputs, smoothed: Smoothed, names: tuple[Parameter, ...]) -> Parameters:
    r"""The parameters that maximise the expected log-likelihood of states and observations, the others held.

    The transition and the observation are regressions, $F = \sum \mathbb E[s_t s_{t-1}^\top] \,
    (\sum \mathbb E[s_{t-1} s_{t-1}^\top])^{-1}$, and the noises are the mean squares of what these leave.

    Args:
        model: the model that smoothed.
        inputs: the sequences, with leading axes of runs and time.
        smoothed: their smoothed states.
        names: what to maximise over.
    """
    transition, process_noise = _transition(model, inputs, smoothed, "transition" in names)
    observation, observation_noise = _observation(model, inputs, smoothed, "observation" in names)
    initial_mean = jnp.mean(smoothed.initial_mean, axis=0) if "initial_mean" in names else model.initial_mean
    spread = _covariances(smoothed)[0] + _outer(smoothed.initial_mean - initial_mean)
    found: Parameters = {
        "transition": transition,
        "observation": observation,
        "process_noise": process_noise,
        "observation_noise": observation_noise,
        "initial_mean": initial_mean,
        "initial_covariance": symmetric(jnp.mean(spread, axis=0)),
    }
    return {name: found[name] for name in names}


def _transition(model: LinearGaussian, inputs: Inputs, smoothed: Smoothed, learn: bool) -> tuple[Array, Array]:
    """The transition and the process noise, from each state and the one before it."""
    (P_initial, P, cross), mean = _covariances(smoothed), smoothed.mean
    before = jnp.concatenate([smoothed.initial_mean[:, None], mean[:, :-1]], axis=1)
    P_before = jnp.concatenate([P_initial[:, None], P[:, :-1]], axis=1)
    times = jnp.broadcast_to(jnp.arange(mean.shape[1]), mean.shape[:2])
    moments = Moment(times, inputs.control, inputs.duration)
    zero = jnp.zeros_like(model.initial_mean)
    moved = mean - jax.vmap(jax.vmap(lambda moment: model.transit(zero, moment)))(moments)
    begins: Any = model.begins(moments)
    weight = jnp.broadcast_to(1.0 - jnp.asarray(begins, mean.dtype), mean.shape[:2])

    F = model.transition
    if learn:
        F = _regression(_sum(weight, cross + _outer(moved, before)), _sum(weight, P_before + _outer(before)))
    left = P - F @ _T(cross) - cross @ F.T + F @ P_before @ F.T + _outer(moved - before @ F.T)
    return F, symmetric(_sum(weight, left) / jnp.sum(weight))


def _observation(model: LinearGaussian, inputs: Inputs, smoothed: Smoothed, learn: bool) -> tuple[Array, Array]:
    """The observation map and noise. Given the states, an observation is $M s + c$ with covariance `rest`, where it is
    present the observed one, with $M = 0$, and where it is missing what the model and its noise tell of it."""
    (_, P, _), mean = _covariances(smoothed), smoothed.mean
    H, R, y = model.observation, dense(model.observation_noise), inputs.observation
    if inputs.present is None:
        M, c, rest, weight = jnp.zeros_like(H), y, jnp.zeros_like(R), jnp.ones(y.shape[:2], y.dtype)
    else:

        def regression(present: Array) -> Array:
            return _regression(R * present, dense(masked_noise(R, present)))

        B = jax.vmap(jax.vmap(regression))(inputs.present)
        M, c, rest = H - B @ H, jnp.einsum("rtij,rtj->rti", B, y), R - B @ R
        weight = jnp.any(inputs.present, axis=-1).astype(y.dtype)
    second = P + _outer(mean)
    if learn:
        H = _regression(_sum(weight, M @ second + _outer(c, mean)), _sum(weight, second))
    left = M - H
    residual = c + jnp.einsum("...ij,...j->...i", left, mean)
    spread = left @ P @ _T(left) + rest + _outer(residual)
    return H, symmetric(_sum(weight, spread) / jnp.sum(weight))


def _covariances(smoothed: Smoothed) -> tuple[Any, Any, Any]:
    return smoothed.initial_covariance, smoothed.covariance, smoothed.cross_covariance


def _regression(cross: Float[Array, "n m"], square: Float[Array, "m m"]) -> Float[Array, "n m"]:
    return jnp.linalg.solve(square, cross.T).T


def _sum(weight: Float[Array, "runs time"], value: Array) -> Array:
    return jnp.einsum("rt,rt...->...", weight, value)


def _outer(a: Array, b: Array | None = None) -> Array:
    return a[..., :, None] * (a if b is None else b)[..., None, :]


def _T(matrix: Array) -> Array:
    return jnp.swapaxes(matrix, -1, -2)
