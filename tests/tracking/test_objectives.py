"""What filters are trained to do."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal
from tracking.rules import inputs, linear, observations

from mbdl import tracking


def estimates_and_states():
    estimates = tracking.KalmanFilter(linear())(observations())
    return estimates, jax.random.normal(jax.random.key(20), estimates.mean.shape, estimates.mean.dtype)


def test_the_state_error_is_the_mean_square_over_time_and_components():
    estimates, states = estimates_and_states()
    squares = (np.asarray(estimates.mean) - np.asarray(states)) ** 2
    np.testing.assert_allclose(tracking.state_error(estimates, states), squares.mean(), rtol=1e-6)
    for decided in (estimates.mean, np.asarray(estimates.mean)):  # as smoothers decide that know means alone
        np.testing.assert_allclose(tracking.state_error(decided, states), squares.mean(), rtol=1e-6)
    position = partial(tracking.state_error, components=(1,))
    np.testing.assert_allclose(position(estimates, states), squares[:, 1].mean(), rtol=1e-6)


def test_the_negative_log_likelihood_is_that_of_scipy(x64):
    estimates, states = estimates_and_states()
    expected = [
        -multivariate_normal.logpdf(s, m, P)
        for s, m, P in zip(*map(np.asarray, (states, estimates.mean, estimates.covariance)), strict=True)
    ]
    np.testing.assert_allclose(tracking.negative_log_likelihood(estimates, states), np.mean(expected), rtol=1e-12)


def test_the_prediction_error_counts_what_is_present():
    given = inputs()
    model = linear(control=jnp.eye(2))
    estimates = tracking.KalmanFilter(model)(given)
    seen = np.asarray(estimates.innovation)[np.asarray(given.present)]
    np.testing.assert_allclose(tracking.prediction_error(estimates, given), np.mean(seen**2), rtol=1e-6)
    whole = tracking.KalmanFilter(linear())(observations())
    np.testing.assert_allclose(
        tracking.prediction_error(whole, observations()), np.mean(np.asarray(whole.innovation) ** 2), rtol=1e-6
    )


def test_the_likelihood_is_the_mean_over_time():
    estimates, _ = estimates_and_states()
    np.testing.assert_allclose(
        tracking.likelihood(estimates, observations()), -np.mean(np.asarray(estimates.log_likelihood)), rtol=1e-6
    )


def test_objectives_refuse_what_does_not_fit():
    estimates, states = estimates_and_states()
    with pytest.raises(ValueError, match=r"state_error: the estimates have shape \(6, 2\), and the states \(5, 2\)"):
        tracking.state_error(estimates, states[:5])
    fixed = tracking.KalmanFilter(linear(), tracking.FixedGain(jnp.zeros((2, 3))))(observations())
    with pytest.raises(ValueError, match="no covariance"):
        tracking.negative_log_likelihood(fixed, states)
    with pytest.raises(ValueError, match="likelihood: these estimates have none"):
        tracking.likelihood(fixed, observations())
