"""Learned gains against their tuned model-based parents, where the model is not that of the data."""

import functools

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
    variances = np.geomspace(1e-5, 1e3, 33)
    filters = [tracking.KalmanFilter(model(0.0, variance)) for variance in variances]
    found = [errors(kf, train).mean() for kf in filters]
    best = int(np.argmin(found))
    assert 0 < best < len(variances) - 1
    return filters[best]


@functools.cache
def optimiser(steps):
    """The same object for the same number, so that `fit` compiles once."""
    return optax.adam(optax.cosine_decay_schedule(3e-3, steps))


def trained(untrained, train, seed=0, steps=100):
    risk = mbdl.supervised(train, tracking.state_error)
    return mbdl.fit(untrained, risk, optimiser(steps), steps=steps, batch_size=30, key=jax.random.key(seed)).rule


def claim(parent, child, test):
    """The paired gain of the child is clear of its standard error."""
    gain = errors(parent, test) - errors(child, test)
    assert gain.mean() > 3 * gain.std() / np.sqrt(len(gain))


def test_trained_from_any_seed_it_beats_the_tuned_filter_of_the_wrong_model(data):
    train, test = data
    kf = tuned(train)
    for seed in range(10):
        untrained = tracking.KalmanNet(kf.model, key=jax.random.key(seed))
        child = trained(untrained, train, seed)
        claim(kf, child, test)
        assert errors(child, test).mean() < errors(untrained, test).mean()


def test_a_split_gain_beats_the_tuned_filter_of_the_wrong_model(data):
    train, test = data
    kf = tuned(train)
    claim(kf, trained(tracking.SplitKalmanNet(kf.model, key=jax.random.key(0)), train), test)


def test_a_learned_smoother_beats_the_learned_filter_and_the_tuned_smoother(data):
    train, test = data
    kf = tuned(train)
    filter = trained(tracking.KalmanNet(kf.model, key=jax.random.key(0)), train)
    smoother = trained(tracking.RTSNet(kf.model, key=jax.random.key(0)), train)
    claim(filter, smoother, test)
    claim(tracking.RTSSmoother(kf), smoother, test)


def test_saturated_features_beat_the_tuned_filter_where_there_are_outliers(data):
    def struck(data, seed):
        ys, states = data
        where_key, size_key = jax.random.split(jax.random.key(seed))
        hit = jax.random.uniform(where_key, ys.shape[:2]) < 0.1
        return ys + 15 * hit[..., None] * jax.random.normal(size_key, ys.shape), states

    train, test = struck(data[0], 1), struck(data[1], 2)
    kf = tuned(train)
    robust = tracking.InputFeatures(of_observation=tracking.Saturation(6.0))
    plain, saturated = (
        trained(tracking.KalmanNet(kf.model, features=features, key=jax.random.key(0)), train, steps=200)
        for features in (None, robust)
    )
    claim(kf, saturated, test)
    claim(plain, saturated, test)
