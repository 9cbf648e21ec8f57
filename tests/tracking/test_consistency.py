"""Consistency tests: against scipy's distribution, and on filters with right and wrong noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from tracking.rules import linear, observations

from mbdl import tracking

RUNS, STEPS = 200, 20


@pytest.fixture(scope="module")
def simulated():
    return tracking.simulate(linear(), jax.random.key(0), steps=STEPS, runs=RUNS)


def filtered(factor, simulated):
    model = linear()
    scaled = linear(
        process_noise=factor * model.process_noise,
        observation_noise=factor * model.observation_noise,
        initial_covariance=factor * model.initial_covariance,
    )
    return jax.vmap(tracking.KalmanFilter(scaled))(simulated.observations)


def test_the_interval_is_that_of_the_distribution():
    found = tracking.consistency(np.ones((7, 2)), 3, confidence=0.9)
    lower, upper = stats.chi2.interval(0.9, 21)
    np.testing.assert_allclose(found.lower, [lower / 21] * 2, rtol=1e-12)
    np.testing.assert_allclose(found.upper, [upper / 21] * 2, rtol=1e-12)
    np.testing.assert_allclose(found.average, [1 / 3] * 2)


def test_degrees_may_differ_where_observations_are_missing():
    degrees = np.asarray([3, 0, 2])
    found = tracking.consistency(np.asarray([3.0, 0.0, 1.0]), degrees)
    np.testing.assert_allclose([found.lower, found.upper], np.asarray(stats.chi2.interval(0.95, 5)) / 5, rtol=1e-12)
    np.testing.assert_allclose(found.average, 0.8)


def test_the_error_in_units_of_its_covariance_is_that_of_a_solve(simulated):
    estimates = filtered(1.0, simulated)
    squares = tracking.normalised_estimation_error_squared(estimates, simulated.states)
    error = np.asarray(estimates.mean - simulated.states, np.float64)
    solved = np.linalg.solve(np.asarray(estimates.covariance, np.float64), error[..., None])[..., 0]
    assert squares.shape == (RUNS, STEPS)
    # Single precision, of covariances whose condition number is below ten.
    np.testing.assert_allclose(squares, np.sum(error * solved, -1), rtol=1e-4, atol=1e-5)


# All noise scaled alike leaves the means as they are and divides the squares by the scale: the expected average is its
# inverse. The draws are fixed; 99.9 % and 4000 values put the right scale inside and one wrong by 30 % outside.
@pytest.mark.parametrize(("factor", "verdict"), [(1.0, True), (0.7, False), (1.3, False)])
def test_right_noise_passes_and_wrong_noise_fails(simulated, factor, verdict):
    estimates = filtered(factor, simulated)
    innovations = tracking.consistency(estimates.normalised_innovation_squared.reshape(-1), 3, confidence=0.999)
    errors = tracking.consistency(
        tracking.normalised_estimation_error_squared(estimates, simulated.states), 2, confidence=0.999
    )
    assert bool(innovations.consistent) is verdict
    assert errors.consistent.shape == (STEPS,)
    assert bool(np.all(errors.consistent)) is verdict
    if not verdict:
        assert bool(innovations.average > 1) is (factor < 1)


def test_wrong_use_raises():
    with pytest.raises(ValueError, match="confidence between 0 and 1, got 95"):
        tracking.consistency(np.ones(3), 1, confidence=95)
    with pytest.raises(ValueError, match=r"got shapes \(3,\) and \(2,\)"):
        tracking.consistency(np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match="no degrees of freedom to test"):
        tracking.consistency(np.zeros(3), np.zeros(3))
    estimates = tracking.KalmanFilter(linear())(observations())
    with pytest.raises(ValueError, match=r"expected states of shape \(6, 2\), got \(5, 2\)"):
        tracking.normalised_estimation_error_squared(estimates, jnp.ones((5, 2)))
    bare = tracking.Estimates(estimates.mean, None, estimates.mean, None, None, estimates.innovation, None, None, None)
    with pytest.raises(ValueError, match="the estimates have no covariance"):
        tracking.normalised_estimation_error_squared(bare, estimates.mean)
