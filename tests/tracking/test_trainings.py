"""KalmanNet by every way of training: on windows, on growing lengths, block by block, and without states."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mbdl
from mbdl import tracking

STEPS = 24


def model(rotation):
    c, s = np.cos(np.deg2rad(rotation)), np.sin(np.deg2rad(rotation))
    return tracking.LinearGaussian(
        transition=jnp.array([[1.0, 1.0], [0.0, 1.0]]),
        observation=jnp.array([[c, -s], [s, c]]),
        process_noise=0.01 * jnp.eye(2),
        observation_noise=jnp.eye(2),
        initial_mean=jnp.zeros(2),
        initial_covariance=jnp.zeros((2, 2)),
    )


@pytest.fixture(scope="module")
def data():
    """Trajectories whose observations are rotated by twenty degrees, which the filter does not know."""
    ys, states = tracking.simulate(model(20.0), jax.random.key(0), steps=STEPS, runs=160)
    return (ys[:60], states[:60]), (ys[60:], states[60:])


def untrained():
    """KalmanNet with a small network, so that it compiles and trains in seconds."""
    network = tracking.CascadeNetwork(2, 2, expansion=1, breadth=2, key=jax.random.key(1))
    return tracking.KalmanFilter(model(0.0), tracking.RecurrentGain(network))


def falls(before, after, test, loss=tracking.state_error):
    """On trajectories that training has not seen the loss is lower after it, by more than three standard errors."""
    errors = [np.asarray(jax.vmap(loss)(jax.vmap(rule)(test[0]), test[1])) for rule in (before, after)]
    gain = errors[0] - errors[1]
    assert gain.mean() > 3 * gain.std() / np.sqrt(len(gain))


def test_on_windows_whose_gradient_is_cut(data):
    train, test = data
    risk = mbdl.truncated(train, tracking.state_error, window=8)
    fit = mbdl.fit(untrained(), risk, optax.adam(1e-2), steps=40, batch_size=20, key=jax.random.key(2))
    falls(untrained(), fit.rule, test)


def test_by_a_curriculum_over_the_length(data):
    train, test = data
    risk, key = mbdl.supervised(train, tracking.state_error), jax.random.key(2)
    options = {"lengths": [8, STEPS], "steps": [15, 30], "batch_size": 20, "key": key, "progress": False}
    fit = mbdl.curriculum(untrained(), risk, optax.adam(1e-2), **options)
    assert len(fit.history.steps) == 45
    falls(untrained(), fit.rule, test)


def test_block_by_block_of_one_long_trajectory():
    """The memory goes on from block to block, and each is learned from once it is decided."""
    ys, states = tracking.simulate(model(20.0), jax.random.key(3), steps=10 * STEPS, runs=1)
    cut = functools.partial(jnp.reshape, shape=(10, STEPS, 2))
    blocks = [mbdl.training.Block(*block) for block in zip(cut(ys[0]), cut(states[0]), strict=True)]
    risk = mbdl.supervised(None, tracking.state_error)
    course = mbdl.online(untrained(), blocks, risk, optax.adam(3e-3), steps=10, key=jax.random.key(2), keep=4)
    assert course.retrained.all()
    still = untrained()(ys[0]).mean[-STEPS:], states[0, -STEPS:]
    adapted = course.decisions[-1].mean
    assert float(jnp.mean((adapted - still[1]) ** 2)) < float(jnp.mean((still[0] - still[1]) ** 2))
    falls(untrained(), course.rule, tracking.simulate(model(20.0), jax.random.key(4), steps=10 * STEPS, runs=50))


def test_without_states_by_the_error_of_its_predictions(data):
    (ys, _), (test, _) = data
    risk = mbdl.unsupervised(ys, tracking.prediction_error)
    fit = mbdl.fit(untrained(), risk, optax.adam(1e-2), steps=60, batch_size=20, key=jax.random.key(2))
    falls(untrained(), fit.rule, (test, test), tracking.prediction_error)


def test_an_alarm_where_the_sensor_turns_trains_it_again():
    """From the tenth block of a stream on the observations are rotated. The innovations tell, and only then are the
    states of the last blocks looked up and the filter trained."""
    ys, states = tracking.simulate(model(0.0), jax.random.key(5), steps=20 * STEPS, runs=1)
    turned = ys[0] + (states[0] @ model(20.0).observation.T - states[0])
    stream = jnp.where(jnp.arange(len(turned))[:, None] < 10 * STEPS, ys[0], turned)
    cut = functools.partial(jnp.reshape, shape=(20, STEPS, 2))
    course = mbdl.online(
        untrained(),
        [mbdl.training.Block(*block) for block in zip(cut(stream), cut(states[0]), strict=True)],
        mbdl.supervised(None, tracking.state_error),
        optax.adam(1e-2),
        steps=40,
        key=jax.random.key(2),
        detector=mbdl.training.drift.PageHinkley(),
        score=lambda block, decided: jnp.log(tracking.prediction_error(decided, block)),
    )
    (alarms,) = np.nonzero(course.alarms)
    assert len(alarms) > 0
    assert alarms[0] in (10, 11)
    np.testing.assert_array_equal(course.retrained, course.alarms)
    after = slice((alarms[0] + 1) * STEPS, None)
    adapted = np.concatenate([decided.mean for decided in course.decisions])
    errors = [np.mean((means[after] - states[0][after]) ** 2) for means in (adapted, untrained()(stream).mean)]
    assert errors[0] < 0.5 * errors[1]
