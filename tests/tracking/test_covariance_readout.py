"""Covariances for gains that know none."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.linalg
from tracking.rules import inputs, linear, observations

import mbdl
from mbdl import tracking
from mbdl.tracking.covariance import symmetric
from mbdl.tracking.covariance_readout import absolute

READOUTS = {"model": tracking.ModelCovariance, "gain": tracking.GainCovariance}


@pytest.mark.parametrize("readout", READOUTS.values(), ids=READOUTS.keys())
def test_read_from_the_kalman_gain_they_are_those_of_the_kalman_filter(readout, x64):
    given, model = inputs(), linear(control=jnp.eye(2))
    gain = tracking.WithCovariance(tracking.KalmanGain(), readout())
    found, expected = tracking.KalmanFilter(model, gain)(given), tracking.KalmanFilter(model)(given)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11), found, expected)


def test_the_model_covariance_is_that_of_the_errors_of_any_gain():
    """Against the sample covariance of 20,000 runs, whose entries are off by less than five standard errors."""
    model, runs = linear(), 20_000
    gain = tracking.WithCovariance(tracking.FixedGain(jnp.array([[0.3, -0.2, 0.1], [0.5, 0.1, -0.3]])))
    ys, states = tracking.simulate(model, jax.random.key(0), steps=4, runs=runs)
    estimates = jax.jit(jax.vmap(tracking.KalmanFilter(model, gain)))(ys)
    errors = np.asarray(states - estimates.mean)
    sample = np.einsum("rti,rtj->tij", errors, errors) / runs
    P = np.asarray(estimates.covariance[0])
    spread = np.sqrt((np.einsum("tii,tjj->tij", P, P) + P**2) / runs)
    assert np.all(np.abs(sample - P) < 5 * spread)


def test_the_gain_covariance_is_a_covariance_for_any_gain_and_needs_as_many_observations_as_states():
    gain = tracking.WithCovariance(tracking.FixedGain(-0.5 * jnp.ones((2, 3))), tracking.GainCovariance())
    covariance = tracking.KalmanFilter(linear(), gain)(observations()).covariance
    assert np.all(np.linalg.eigvalsh(np.asarray(covariance)) > -1e-6)
    one = linear(observation=jnp.ones((1, 2)), observation_noise=jnp.eye(1))
    with pytest.raises(ValueError, match="GainCovariance: 1 observed components do not tell the covariance of 2"):
        tracking.KalmanFilter(one, tracking.WithCovariance(tracking.KalmanGain(), tracking.GainCovariance()))(
            observations()[:, :1]
        )


@pytest.mark.parametrize("values", [[2.0, 2.0, -1.0], [2.0, -2.0, 2.0], [1.0, 1.0, 1.0], [3.0, -0.5, 1e-3]])
def test_the_absolute_value_of_a_matrix_has_its_derivative_where_eigenvalues_are_equal(values, x64):
    rng = np.random.default_rng(0)
    vectors = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    matrix = jnp.asarray((vectors * values) @ vectors.T)
    matrix, direction = symmetric(matrix), symmetric(jnp.asarray(rng.normal(size=(3, 3))))

    def by_scipy(matrix):
        return np.real(scipy.linalg.sqrtm(np.asarray(matrix @ matrix)))

    np.testing.assert_allclose(absolute(matrix), by_scipy(matrix), atol=1e-7)
    numeric = (by_scipy(matrix + 1e-5 * direction) - by_scipy(matrix - 1e-5 * direction)) / 2e-5
    np.testing.assert_allclose(jax.jvp(absolute, (matrix,), (direction,))[1], numeric, atol=1e-6)
    weights = jnp.asarray(rng.normal(size=(3, 3)))
    slope = jax.grad(lambda matrix: jnp.sum(weights * absolute(matrix)))(matrix)
    np.testing.assert_allclose(jnp.vdot(slope, direction), np.sum(weights * numeric), atol=1e-5)
    np.testing.assert_array_equal(jax.jacobian(absolute)(jnp.zeros((2, 2))), 0)


def test_the_gain_covariance_is_differentiable_where_it_is_a_multiple_of_the_identity(x64):
    """Two states alike, so that all covariances have equal eigenvalues, and a gain that moves away from that."""
    same = {"transition": jnp.eye(2), "observation": jnp.eye(2), "observation_noise": jnp.eye(2)}
    model = linear(**same, process_noise=0.3 * jnp.eye(2), initial_covariance=jnp.eye(2))
    ys, direction = observations()[:, :2], jnp.asarray([[0.3, 0.5], [-0.2, 1.0]])

    def value(t):
        gain = tracking.WithCovariance(tracking.FixedGain(0.4 * jnp.eye(2) + t * direction), tracking.GainCovariance())
        estimates = tracking.KalmanFilter(model, gain)(ys)
        return jnp.sum(estimates.covariance[:, 0]) - jnp.sum(estimates.log_likelihood)

    numeric = (value(1e-6) - value(-1e-6)) / 2e-6
    np.testing.assert_allclose(jax.grad(value)(0.0), numeric, rtol=1e-7)


@pytest.mark.parametrize("learned", [False, True])
def test_the_calibrated_covariance_begins_at_the_nominal_one_and_is_calibrated_by_training(learned):
    """A model that thinks its observations ten times as good as they are is told so by the errors, the gain too."""
    truth, model = linear(observation_noise=4 * jnp.eye(3)), linear(observation_noise=0.04 * jnp.eye(3))
    ys, states = tracking.simulate(truth, jax.random.key(1), steps=10, runs=400)
    readout = tracking.CalibratedCovariance(2, 3, key=jax.random.key(2))
    kalmannet = tracking.KalmanNet(model, key=jax.random.key(4), nominal=tracking.KalmanGain())
    gain = kalmannet.gain if learned else tracking.KalmanGain()
    start = tracking.KalmanFilter(model, tracking.WithCovariance(gain, readout))
    nominal = tracking.KalmanFilter(model)
    np.testing.assert_allclose(start(ys[0]).covariance, nominal(ys[0]).covariance, rtol=1e-4)
    risk = mbdl.supervised((ys[:200], states[:200]), tracking.negative_log_likelihood)
    rate = 0.003 if learned else 0.03
    trained = mbdl.fit(start, risk, optax.adam(rate), steps=150, batch_size=40, key=jax.random.key(3)).rule

    def squares(rule):
        """The normalised squared errors of unseen runs, whose expectation is the number of states, 2."""
        estimates = jax.jit(jax.vmap(rule))(ys[200:])
        error = states[200:] - estimates.mean
        return float(jnp.mean(jnp.sum(error * jnp.linalg.solve(estimates.covariance, error[..., None])[..., 0], -1)))

    assert squares(nominal) > 20
    assert 1.5 < squares(trained) < 2.5
