"""What filters and smoothers are trained to do: functions of the estimates of one sequence."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from .estimates import Estimates
from .inputs import as_inputs


def state_error(estimates: Any, states: Float[Array, "time state"], *, components: Any = None) -> Float[Array, ""]:
    r"""The mean squared error of the estimated states, $\frac{1}{T m} \sum_t \|\hat s_t - s_t\|^2$; a loss for
    `mbdl.supervised((ys, states), tracking.state_error)`.

    Args:
        estimates: of a filter, a smoother or a tracker, anything that has a `mean`, `[time state]`; or states
            themselves, as a `MessageSmoother` decides.
        states: the true states.
        components: the indices of the components that count, all by default: positions alone, say, by
            `functools.partial(tracking.state_error, components=(0, 2))`.

    Returns:
        the mean over time and components, in squared units of the state.

    Raises:
        ValueError: for states of another shape.

    Differentiable in: the estimates and the states.

    >>> import jax.numpy as jnp
    >>> from mbdl import tracking
    >>> model = tracking.LinearGaussian(
    ...     transition=jnp.eye(1), observation=jnp.eye(1), process_noise=jnp.zeros((1, 1)),
    ...     observation_noise=jnp.eye(1), initial_mean=jnp.zeros(1), initial_covariance=jnp.eye(1),
    ... )
    >>> estimates = tracking.KalmanFilter(model)(jnp.array([[2.0], [4.0]]))
    >>> round(float(tracking.state_error(estimates, jnp.zeros((2, 1)))), 4)
    2.5
    """
    mean = _compared(estimates, states, "state_error")
    if components is not None:
        index = jnp.asarray(components)
        mean, states = mean[:, index], states[:, index]
    return jnp.mean((mean - states) ** 2)


def negative_log_likelihood(estimates: Any, states: Float[Array, "time state"]) -> Float[Array, ""]:
    r"""The mean negative log-density of the true states under the estimates, $-\frac1T \sum_t \log N(s_t; \hat s_t,
    P_t)$ in nats: it trains means and covariances together, so that the covariances tell the truth about the errors.

    Args:
        estimates: anything that has a `mean`, `[time state]`, and a `covariance`, `[time state state]`.
        states: the true states.

    Returns:
        the mean over time.

    Raises:
        ValueError: for states of another shape, or estimates without covariances.

    Differentiable in: the estimates and the states; a covariance must be positive definite.

    >>> import jax.numpy as jnp
    >>> from mbdl import tracking
    >>> model = tracking.LinearGaussian(
    ...     transition=jnp.eye(1), observation=jnp.eye(1), process_noise=jnp.zeros((1, 1)),
    ...     observation_noise=jnp.eye(1), initial_mean=jnp.zeros(1), initial_covariance=jnp.eye(1),
    ... )
    >>> estimates = tracking.KalmanFilter(model)(jnp.array([[2.0]]))
    >>> round(float(tracking.negative_log_likelihood(estimates, jnp.array([[1.0]]))), 4)
    0.5724
    """
    error = states - _compared(estimates, states, "negative_log_likelihood")
    if estimates.covariance is None:
        raise ValueError(
            "negative_log_likelihood: these estimates have no covariance. Give the learned gain a readout: "
            "tracking.WithCovariance"
        )
    factor = jnp.linalg.cholesky(estimates.covariance)
    white = solve_triangular(factor, error[..., None], lower=True)[..., 0]
    log_determinant = 2 * jnp.sum(jnp.log(jnp.diagonal(factor, axis1=-2, axis2=-1)), -1)
    size = error.shape[-1]
    return 0.5 * jnp.mean(jnp.sum(white**2, -1) + log_determinant + size * jnp.log(2 * jnp.pi))


def prediction_error(estimates: Estimates, inputs: Any) -> Float[Array, ""]:
    r"""The mean squared innovation, $\|y_t - h(\hat s^-_t)\|^2$ over the components that are present; an objective that
    needs no states, for `mbdl.unsupervised(ys, tracking.prediction_error)`.

    Args:
        estimates: of a filter.
        inputs: the observations or `Inputs` that it filtered.

    Returns:
        the mean over time and present components, in squared units of the observation.

    Differentiable in: the estimates.

    Source: G. Revach et al., "Unsupervised learned Kalman filtering", European Signal Processing Conference, 2022.

    >>> import jax.numpy as jnp
    >>> from mbdl import tracking
    >>> model = tracking.LinearGaussian(
    ...     transition=jnp.eye(1), observation=jnp.eye(1), process_noise=jnp.zeros((1, 1)),
    ...     observation_noise=jnp.eye(1), initial_mean=jnp.zeros(1), initial_covariance=jnp.eye(1),
    ... )
    >>> ys = jnp.array([[2.0], [4.0]])
    >>> float(tracking.prediction_error(tracking.KalmanFilter(model)(ys), ys))
    6.5
    """
    squares = estimates.innovation**2
    present = as_inputs(inputs).present
    if present is None:
        return jnp.mean(squares)
    return jnp.sum(jnp.where(present, squares, 0.0)) / jnp.sum(present, dtype=squares.dtype)


def likelihood(estimates: Estimates, inputs: Any) -> Float[Array, ""]:
    r"""The mean negative log-likelihood of the observations, $-\frac1T \sum_t \log p(y_t \mid y_1, \dots, y_{t-1})$ in
    nats; an objective that needs no states, for `mbdl.unsupervised(ys, tracking.likelihood)`.

    Args:
        estimates: of a filter whose gain knows its covariances.
        inputs: the observations or `Inputs` that it filtered.

    Returns:
        the mean over time.

    Raises:
        ValueError: for estimates without a likelihood.

    Differentiable in: the estimates.

    >>> import jax.numpy as jnp
    >>> from mbdl import tracking
    >>> model = tracking.LinearGaussian(
    ...     transition=jnp.eye(1), observation=jnp.eye(1), process_noise=jnp.zeros((1, 1)),
    ...     observation_noise=jnp.eye(1), initial_mean=jnp.zeros(1), initial_covariance=jnp.zeros((1, 1)),
    ... )
    >>> ys = jnp.array([[0.0], [0.0]])
    >>> round(float(tracking.likelihood(tracking.KalmanFilter(model)(ys), ys)), 4)
    0.9189
    """
    if estimates.log_likelihood is None:
        raise ValueError(
            "likelihood: these estimates have none, since the gain knows no covariances. Train by "
            "tracking.prediction_error, or give the gain a readout: tracking.WithCovariance"
        )
    return -jnp.mean(estimates.log_likelihood)


def _compared(estimates: Any, states: Array, what: str) -> Array:
    mean: Any = estimates if isinstance(estimates, jax.Array | np.ndarray) else estimates.mean
    if mean.shape != jnp.shape(states):
        raise ValueError(
            f"{what}: the estimates have shape {mean.shape}, and the states {jnp.shape(states)}. Give one sequence "
            "[time state]; a risk maps over the batch"
        )
    return mean
