"""KalmanNet against the Kalman filter, where the model is not that of the data."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mbdl
from mbdl import tracking


def model(rotation, process_variance=0.01):
    c, s = np.cos(np.deg2rad(rotation)), np.sin(np.deg2rad(rotation))
    return tracking.LinearGaussian(
        transition=jnp.array([[1.0, 1.0], [0.0, 1.0]]),
        observation=jnp.array([[c, -s], [s, c]]),
        process_noise=process_variance * jnp.eye(2),
        observation_noise=jnp.eye(2),
        initial_mean=jnp.zeros(2),
        initial_covariance=jnp.zeros((2, 2)),
    )


@pytest.fixture(scope="module")
def data():
    """Trajectories whose observations are rotated by ten degrees, which the filters do not know."""
    ys, states = tracking.simulate(model(10.0), jax.random.key(0), steps=40, runs=500)
    return (ys[:300], states[:300]), (ys[300:], states[300:])


def errors(rule, data):
    ys, states = data
    return np.asarray(jax.vmap(tracking.state_error)(jax.vmap(rule)(ys), states))


def tuned(train):
    """The Kalman filter of the wrong model whose ratio of the noises is best on the training data."""
    variances = np.geomspace(1e-3, 1e3, 25)
    filters = [tracking.KalmanFilter(model(0.0, variance)) for variance in variances]
    found = [errors(kf, train).mean() for kf in filters]
    best = int(np.argmin(found))
    assert 0 < best < len(variances) - 1
    return filters[best]


def test_trained_from_any_seed_it_beats_the_tuned_filter_of_the_wrong_model(data):
    train, test = data
    kf = tuned(train)
    parent = errors(kf, test)
    risk = mbdl.supervised(train, tracking.state_error)
    for seed in range(3):
        untrained = tracking.KalmanNet(kf.model, key=jax.random.key(seed))
        optimiser = optax.adam(optax.cosine_decay_schedule(3e-3, 100))
        child = mbdl.fit(untrained, risk, optimiser, steps=100, batch_size=30, key=jax.random.key(seed)).rule
        gain = parent - errors(child, test)
        assert gain.mean() > 3 * gain.std() / np.sqrt(len(gain))
        assert errors(child, test).mean() < errors(untrained, test).mean()
