"""Covariances for gains that know none."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tracking.rules import inputs, linear, observations

import mbdl
from mbdl import tracking

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


def test_the_calibrated_covariance_begins_at_the_nominal_one_and_is_calibrated_by_training():
    """A model that thinks its observations ten times as good as they are is told so by the errors."""
    truth, model = linear(observation_noise=4 * jnp.eye(3)), linear(observation_noise=0.04 * jnp.eye(3))
    ys, states = tracking.simulate(truth, jax.random.key(1), steps=10, runs=400)
    readout = tracking.CalibratedCovariance(2, 3, key=jax.random.key(2))
    start = tracking.KalmanFilter(model, tracking.WithCovariance(tracking.KalmanGain(), readout))
    nominal = tracking.KalmanFilter(model)
    np.testing.assert_allclose(start(ys[0]).covariance, nominal(ys[0]).covariance, rtol=1e-4)
    risk = mbdl.supervised((ys[:200], states[:200]), tracking.negative_log_likelihood)
    trained = mbdl.fit(start, risk, optax.adam(0.03), steps=150, batch_size=40, key=jax.random.key(3)).rule

    def squares(rule):
        """The normalised squared errors of unseen runs, whose expectation is the number of states, 2."""
        estimates = jax.jit(jax.vmap(rule))(ys[200:])
        error = states[200:] - estimates.mean
        return float(jnp.mean(jnp.sum(error * jnp.linalg.solve(estimates.covariance, error[..., None])[..., 0], -1)))

    assert squares(nominal) > 20
    assert 1.5 < squares(trained) < 2.5
