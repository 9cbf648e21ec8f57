"""RTSNet: its network, and what it is before training."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tracking.rules import linear, nonlinear, observations, speaking

import mbdl
from mbdl import tracking

KEY = jax.random.key(0)


def test_it_has_the_size_of_the_reference():
    model = linear(observation=jnp.eye(2), observation_noise=jnp.eye(2))
    assert mbdl.spectrum(tracking.RTSNet(model, key=KEY)).learned == 7370


def test_the_backward_network_is_its_formula(x64):
    m = 2
    network = speaking(tracking.BackwardNetwork(m, dtype=jnp.float64, key=KEY), 0.3)
    rng = np.random.default_rng(0)
    hidden = tracking.BackwardHidden(*jnp.asarray(rng.standard_normal((2, m * m))))
    B1, B2, B3 = jnp.asarray(rng.standard_normal((3, m)))
    G, after = eqx.filter_jit(network)(hidden, B1, B2, B3)

    def dense(layer, *xs):
        return np.asarray(layer.weight) @ np.concatenate(xs) + np.asarray(layer.bias)

    def phi(layer, *xs):
        return np.maximum(dense(layer, *xs), 0)

    def unit(gru, h, *xs):
        return np.asarray(gru(h, jnp.asarray(np.concatenate(xs))))

    Q = unit(network.process, hidden.process, phi(network.of_update, B3))
    S = unit(network.smoothed, hidden.smoothed, Q, phi(network.of_evolution, B1, B2))
    expected = dense(network.out, phi(network.wide, S)) / np.sqrt(40 * m * m)
    np.testing.assert_allclose(G, expected, rtol=1e-12)
    np.testing.assert_allclose(after.process, Q, rtol=1e-12)
    np.testing.assert_allclose(after.smoothed, phi(network.back, S, expected), rtol=1e-12)


class Says(eqx.Module):
    """A network that remembers what it was shown, and says nothing."""

    zero: jax.Array

    def init(self):
        return jnp.zeros((3, 2), self.zero.dtype)

    def __call__(self, hidden, *features):
        jax.debug.callback(lambda *seen: record.append([np.asarray(s) for s in seen]), *features, ordered=True)
        return self.zero, hidden


record = []


def test_the_features_are_the_three_differences_of_the_paper():
    record.clear()
    rule = tracking.RTSSmoother(linear(), tracking.RecurrentSmootherGain(Says(jnp.zeros(4))))
    smoothed = rule(observations())
    jax.effects_barrier()
    filtered, mean = smoothed.filtered, np.asarray(smoothed.mean)

    def unit(v):
        return v / max(np.linalg.norm(v), 1e-12)

    for k, (B1, B2, B3) in enumerate(record[-6:]):
        t = 5 - k
        later = mean[t + 1] - mean[t] if t < 5 else mean[5] - np.asarray(filtered.predicted_mean[5])
        np.testing.assert_allclose(B1, unit(mean[t] - np.asarray(filtered.mean[t])), atol=1e-4)
        np.testing.assert_allclose(B2, unit(later), atol=1e-4)
        np.testing.assert_allclose(B3, unit(mean[t] - np.asarray(filtered.predicted_mean[t])), atol=1e-4)


@pytest.mark.parametrize("make", [linear, nonlinear])
def test_the_untrained_smoother_is_that_of_the_steady_state(make):
    """By the covariances of the settled filter, computed at each step; the initial state, which has its own, aside."""
    model = make()
    ahead = tracking.KalmanNet(model, nominal=tracking.SteadyStateGain(), key=KEY)
    untrained = tracking.RTSNet(model if make is linear else ahead, key=KEY)
    settled = eqx.tree_at(lambda f: f.gain, untrained.filter, tracking.SteadyStateGain())
    G = tracking.SteadyStateSmootherGain().init(model)
    uncertainty = tracking.SteadyStateGain().init(model).uncertainty
    np.testing.assert_allclose(G, uncertainty.cross @ jnp.linalg.inv(uncertainty.predicted), atol=1e-5)
    expected = tracking.RTSSmoother(settled, tracking.FixedSmootherGain(G))(observations())
    np.testing.assert_allclose(untrained(observations()).mean, expected.mean, atol=1e-6)
    if make is linear:
        by_covariances = tracking.RTSSmoother(settled)(observations())
        np.testing.assert_allclose(untrained(observations()).mean, by_covariances.mean, atol=1e-5)


def test_the_second_pass_leaves_the_first_as_it_is_before_training():
    one, two = (tracking.RTSNet(linear(), key=KEY, passes=passes) for passes in (1, 2))
    np.testing.assert_allclose(two(observations()).mean, one(observations()).mean, atol=1e-6)
    assert mbdl.spectrum(two).learned > 2 * 2162


def test_the_scale_gives_the_correction_its_units():
    correction = jnp.array([[0.1, 0.2], [0.3, 0.4]])
    gains = [tracking.RecurrentSmootherGain(Says(correction.ravel()), scale=s) for s in (None, jnp.array([2.0, 10.0]))]
    nominal = tracking.SteadyStateSmootherGain().init(linear())
    zeros = jnp.zeros(2)
    features = tracking.SmootherFeatures(zeros, None, zeros, None, None, zeros, zeros, None, zeros, jnp.eye(2))
    found = [mbdl.resolve(g)(None, mbdl.resolve(g).init(linear()), features)[0] - nominal for g in gains]
    np.testing.assert_allclose(found[0], correction, atol=1e-5)
    np.testing.assert_allclose(found[1], correction * jnp.array([[1, 0.2], [5, 1]]), atol=1e-5)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="passes=3"):
        tracking.RTSNet(linear(), key=KEY, passes=3)
    with pytest.raises(ValueError, match="RecurrentSmootherGain: scale must be positive"):
        tracking.RecurrentSmootherGain(tracking.BackwardNetwork(2, key=KEY), scale=jnp.zeros(2))


def test_behind_a_filter_with_covariances_it_begins_as_the_smoother_of_that_filter():
    ahead = tracking.KalmanFilter(linear())
    rule = tracking.RTSNet(ahead, nominal=tracking.RTSGain(), key=KEY)
    smoothed = rule(observations())
    np.testing.assert_allclose(smoothed.mean, tracking.RTSSmoother(ahead)(observations()).mean, atol=1e-5)
    assert smoothed.covariance is None
