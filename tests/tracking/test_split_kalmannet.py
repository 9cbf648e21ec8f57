"""Split-KalmanNet: a gain in two corrected covariances."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tracking.rules import linear, nonlinear, observations, speaking

import mbdl
from mbdl import tracking

KEY = jax.random.key(0)


def test_the_untrained_filter_is_that_of_the_steady_state_gain():
    untrained = tracking.SplitKalmanNet(linear(), key=KEY)
    nominal = eqx.tree_at(lambda f: f.gain, untrained, tracking.SteadyStateGain())
    np.testing.assert_allclose(untrained(observations()).mean, nominal(observations()).mean, rtol=0, atol=2e-5)
    assert mbdl.spectrum(untrained).strategy == "DNN-aided"


def test_the_untrained_gain_of_a_nonlinear_model_is_that_of_the_current_linearisation():
    model = nonlinear()
    estimates = tracking.SplitKalmanNet(model, key=KEY, nominal=tracking.SteadyStateGain())(observations())
    P, moment = tracking.SteadyStateGain().init(model).uncertainty.predicted, tracking.Moment(jnp.asarray(0))
    for predicted, innovation, mean in zip(estimates.predicted_mean, estimates.innovation, estimates.mean, strict=True):
        H = model.observe_jacobian(predicted, moment)
        K = P @ H.T @ jnp.linalg.inv(H @ P @ H.T + model.observation_noise)
        np.testing.assert_allclose(mean, predicted + K @ innovation, rtol=0, atol=2e-5)


class Says(tracking.AbstractGainNetwork):
    """A network that says the same always."""

    entries: jax.Array

    def init(self):
        return jnp.zeros(1)

    def __call__(self, hidden, differences):
        return self.entries, hidden


def test_the_gain_is_the_product_of_the_corrected_covariances(x64):
    model, rng = linear(), np.random.default_rng(0)
    first, second = 0.1 * rng.standard_normal((2, 2)), 0.1 * rng.standard_normal((3, 3))
    gain = tracking.SplitGain(
        Says(jnp.asarray(first.ravel())), Says(jnp.asarray(second.ravel())), nominal=tracking.KalmanGain()
    )
    estimates = tracking.KalmanFilter(model, gain)(observations())
    nominal = tracking.KalmanFilter(model)(observations())
    P, S, H = (np.asarray(a) for a in (nominal.predicted_covariance, nominal.innovation_covariance, model.observation))
    for t in range(6):
        of_state, of_innovation = np.diag(np.sqrt(np.diag(P[t]))), np.diag(1 / np.sqrt(np.diag(S[t])))
        G1 = P[t] + of_state @ first @ of_state
        G2 = np.linalg.inv(S[t]) + of_innovation @ second @ of_innovation
        expected = estimates.predicted_mean[t] + G1 @ H.T @ G2 @ estimates.innovation[t]
        np.testing.assert_allclose(estimates.mean[t], expected, rtol=1e-10)


def test_it_needs_a_nominal_gain_with_covariances():
    network = speaking(tracking.SingleUnitNetwork(2, 3, hidden_size=2, outputs=4, key=KEY))
    other = speaking(tracking.SingleUnitNetwork(2, 3, hidden_size=2, outputs=9, key=KEY))
    gain = tracking.SplitGain(network, other, nominal=tracking.FixedGain(jnp.zeros((2, 3))))
    with pytest.raises(TypeError, match="SplitGain: the nominal gain knows no covariances"):
        tracking.KalmanFilter(linear(), gain)(observations())


def test_of_a_model_that_varies_in_time_it_corrects_the_gain_that_does():
    model = linear(transition=tracking.TimeVarying(jnp.stack([0.5 * jnp.eye(2)] * 4)))
    constant = tracking.SplitKalmanNet(model, key=jax.random.key(0), nominal=tracking.SteadyStateGain())
    with pytest.raises(ValueError, match="transition of the model varies .* use tracking.KalmanGain"):
        constant(observations()[:4])
    rule = tracking.SplitKalmanNet(model, key=jax.random.key(0))
    expected = tracking.KalmanFilter(model)(observations()[:4]).mean
    np.testing.assert_allclose(rule(observations()[:4]).mean, expected, rtol=1e-4, atol=1e-5)
