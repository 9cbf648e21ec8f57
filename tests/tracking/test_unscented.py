"""The unscented filter against the Kalman filter, and its moments against quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate
from tracking.rules import inputs, linear, nonlinear, observations

import mbdl
from mbdl import tracking

NOISE = 0.04


def one_dimensional(deviation, *, mean=0.3, transition=jnp.tanh, observation=jnp.exp, **changes):
    parameters = {
        "transition": lambda s, moment: transition(s),
        "observation": lambda s, moment: observation(s),
        "process_noise": jnp.zeros((1, 1)),
        "observation_noise": jnp.full((1, 1), NOISE),
        "initial_mean": jnp.full(1, mean),
        "initial_covariance": jnp.full((1, 1), deviation**2),
    }
    return tracking.NonlinearGaussian(**{**parameters, **changes})


def expectation(function, mean, deviation):
    def integrand(z):
        return function(mean + deviation * z) * np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)

    return integrate.quad(integrand, -12, 12, epsabs=1e-14, epsrel=1e-13, limit=400)[0]


@pytest.mark.parametrize("spread", [{}, {"alpha": 0.5, "beta": 2.0, "kappa": 1.0}, {"kappa": 1.0}])
def test_of_a_linear_model_it_is_the_kalman_filter(x64, spread):
    # In exact arithmetic they are equal; the sums over points cost some ten operations of double precision.
    for changes, x in (({}, observations()), ({"control": jnp.ones((2, 2)), "starts": "at"}, inputs())):
        expected = tracking.KalmanFilter(linear(**changes))(x)
        estimates = tracking.UnscentedKalmanFilter(linear(**changes), **spread)(x)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), estimates, expected)


def test_of_a_linear_model_with_singular_covariances_it_is_the_kalman_filter(x64):
    changes = {
        "initial_covariance": jnp.zeros((2, 2)),
        "process_noise": tracking.Factor(jnp.asarray([[0.5], [1.0]])),
    }
    expected = tracking.KalmanFilter(linear(**changes))(observations())
    estimates = tracking.UnscentedKalmanFilter(linear(**changes))(observations())
    # The factor drops pivots below the size times the precision, so that a covariance is wrong by that at most; the
    # square root of it, 1e-8, never enters.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), estimates, expected)


def test_moments_have_the_order_of_accuracy_of_the_rule(x64):
    # The cubature rule is exact to the third degree: its mean is wrong by a multiple of the fourth power of the
    # deviation, its covariance too. With fourth moments matched (kappa = 3 - n) the mean is wrong by the sixth.
    mean = 0.3
    for kappa, mean_order, covariance_order in ((0.0, 4, 4), (2.0, 6, 4)):
        errors = []
        for deviation in (0.2, 0.1):
            model = one_dimensional(deviation)
            estimates = tracking.UnscentedKalmanFilter(model, kappa=kappa)(jnp.ones((1, 1)))
            first = expectation(np.tanh, mean, deviation)
            second = expectation(lambda s, f=first: (np.tanh(s) - f) ** 2, mean, deviation)
            cross = expectation(lambda s, f=first: (s - mean) * (np.tanh(s) - f), mean, deviation)
            found = (estimates.predicted_mean, estimates.predicted_covariance, estimates.cross_covariance)
            errors.append([float(jnp.squeeze(a)) - b for a, b in zip(found, (first, second, cross), strict=True)])
        orders = np.log2(np.abs(np.asarray(errors[0]) / np.asarray(errors[1])))
        assert orders[0] > mean_order - 0.3, orders
        assert np.all(orders[1:] > covariance_order - 0.3), orders


def test_one_observation_is_the_update_with_the_moments_of_quadrature(x64):
    mean, deviation, y = 0.3, 0.05, 1.5
    model = one_dimensional(deviation, starts="at")
    estimates = tracking.UnscentedKalmanFilter(model, kappa=2.0)(jnp.full((1, 1), y))
    expected = expectation(np.exp, mean, deviation)
    S = expectation(lambda s: (np.exp(s) - expected) ** 2, mean, deviation) + NOISE
    C = expectation(lambda s: (s - mean) * (np.exp(s) - expected), mean, deviation)
    # The rule's errors: the sixth power of the deviation in the mean, the fourth in the others, times derivatives of
    # exp at the mean, which are below 2, and divided by S, some 0.04.
    np.testing.assert_allclose(estimates.innovation[0, 0], y - expected, atol=2 * deviation**6)
    np.testing.assert_allclose(estimates.innovation_covariance[0, 0, 0], S, atol=4 * deviation**4)
    np.testing.assert_allclose(estimates.mean[0, 0], mean + C / S * (y - expected), atol=4 * deviation**4)
    np.testing.assert_allclose(estimates.covariance[0, 0, 0], deviation**2 - C**2 / S, atol=4 * deviation**4)


def test_a_quadratic_is_exact_where_fourth_moments_are_matched(x64):
    model = one_dimensional(0.7, mean=0.4, transition=jnp.square)
    estimates = tracking.UnscentedKalmanFilter(model, kappa=2.0)(jnp.ones((1, 1)))
    np.testing.assert_allclose(estimates.predicted_mean[0, 0], 0.4**2 + 0.7**2, rtol=1e-13)
    variance = 4 * 0.4**2 * 0.7**2 + 2 * 0.7**4
    np.testing.assert_allclose(estimates.predicted_covariance[0, 0, 0], variance, rtol=1e-13)


def test_angles_are_compared_around_the_circle(x64):
    # The same scene, rotated so that the bearing lies at the cut of the circle: the estimates rotate with it.
    def filtered(angle):
        cosine, sine = jnp.cos(angle), jnp.sin(angle)
        rotation = jnp.asarray([[cosine, -sine], [sine, cosine]])
        model = tracking.NonlinearGaussian(
            transition=lambda s, moment: s,
            observation=lambda s, moment: jnp.arctan2(s[1:], s[:1]),
            process_noise=jnp.zeros((2, 2)),
            observation_noise=jnp.full((1, 1), 0.01),
            initial_mean=rotation @ jnp.asarray([2.0, 0.0]),
            initial_covariance=0.2 * jnp.eye(2),
            difference=lambda a, b: jnp.mod(a - b + jnp.pi, 2 * jnp.pi) - jnp.pi,
        )
        bearings = jnp.mod(jnp.asarray([[0.1], [-0.2], [0.15]]) + angle + jnp.pi, 2 * jnp.pi) - jnp.pi
        # The factor of a multiple of the identity is not rotated with the scene, so points are: by a right angle only.
        return tracking.UnscentedKalmanFilter(model)(bearings).mean @ rotation

    np.testing.assert_allclose(filtered(jnp.pi), filtered(0.0), atol=1e-12)


def test_covariances_stay_semidefinite_in_single_precision():
    # An accurate observation of a sum of two uncertain states: the textbook's P - K S K^T cancels all digits.
    model = linear(
        process_noise=jnp.zeros((2, 2)),
        observation=jnp.asarray([[1.0, 1.0]]),
        observation_noise=1e-6 * jnp.eye(1),
        initial_covariance=1e4 * jnp.eye(2),
    )
    covariances = np.asarray(tracking.UnscentedKalmanFilter(model)(jnp.ones((20, 1))).covariance, np.float64)
    for covariance in covariances:
        scale = np.sqrt(np.diagonal(covariance))
        assert np.linalg.eigvalsh(covariance / np.outer(scale, scale))[0] > -4 * np.finfo(np.float32).eps


def test_the_default_is_closer_than_the_linearised_filter_under_strong_curvature(x64):
    model = one_dimensional(0.5, observation=lambda s: s, transition=lambda s: jnp.sin(3 * s))
    exact = expectation(lambda s: np.sin(3 * s), 0.3, 0.5)
    unscented = tracking.UnscentedKalmanFilter(model)(jnp.ones((1, 1))).predicted_mean[0, 0]
    extended = tracking.ExtendedKalmanFilter(model)(jnp.ones((1, 1))).predicted_mean[0, 0]
    assert abs(unscented - exact) < 0.5 * abs(extended - exact)


def test_it_learns_a_noise_by_likelihood(x64):
    rule = mbdl.learn(tracking.UnscentedKalmanFilter(nonlinear()), lambda r: r.model.process_noise)
    learned, rest = mbdl.core.partition(rule)

    def likelihood(learned):
        return jnp.sum(mbdl.core.combine(learned, rest)(observations()).log_likelihood)

    slope = jax.grad(likelihood)(learned).model.process_noise.raw
    assert bool(jnp.all(jnp.isfinite(slope)))
    assert float(jnp.max(jnp.abs(slope))) > 0


@pytest.mark.parametrize(
    ("spread", "message"),
    [
        ({"alpha": 0.0}, "alpha must be positive"),
        ({"beta": jnp.inf}, "beta must be finite"),
        ({"kappa": -2.0}, "kappa must be above minus the number of states, -2"),
    ],
)
def test_spread_parameters_out_of_range_raise(spread, message):
    with pytest.raises(ValueError, match=message):
        tracking.UnscentedKalmanFilter(nonlinear(), **spread)


def test_what_is_no_model_raises():
    with pytest.raises(TypeError, match="UnscentedKalmanFilter: expected a model of mbdl.tracking, got Array"):
        tracking.UnscentedKalmanFilter(jnp.eye(2))


def test_a_factor_whose_square_single_precision_does_not_hold_is_refused():
    def model(factor):
        return nonlinear(initial_covariance=tracking.Factor(jnp.asarray(factor, jnp.float32)))

    with pytest.raises(ValueError, match=r"condition of 1e\+05, whose square float32 does not hold. Use float64"):
        tracking.UnscentedKalmanFilter(model([[8e4, -0.6], [6e4, 0.8]]))
    for held in ([[1e5, 0.0], [0.0, 1.0]], [[1.0], [1.0]], [[1.0, 0.0], [0.0, 0.0]], np.zeros((2, 0))):
        tracking.UnscentedKalmanFilter(model(held))
