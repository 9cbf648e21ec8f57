"""Simulated trajectories: their moments, and what their noise depends on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tracking.oracle import Joint
from tracking.rules import linear, nonlinear

from mbdl import tracking

KEY = jax.random.key(0)


@pytest.mark.parametrize("starts", ["before", "at"])
def test_the_moments_are_those_of_the_joint_distribution(starts, x64):
    steps, runs = 3, 40_000
    control = np.array([[1.0, 0.0], [0.0, -2.0], [0.5, 0.5]])
    B = np.array([[1.0, 0.3], [0.0, 1.0]])
    noise = tracking.Factor(jnp.asarray([[0.6], [-0.2]]))
    model = linear(control=B, process_noise=noise, starts=starts)
    observations, states = tracking.simulate(model, KEY, steps=steps, runs=runs, control=control)
    matrices = (model.transition, tracking.dense(noise), model.observation, model.observation_noise)
    joint = Joint(
        *[[np.asarray(matrix)] * steps for matrix in matrices],
        np.asarray(model.initial_mean),
        np.asarray(model.initial_covariance),
        shift=control @ B.T,
        starts=starts,
    )
    samples = np.concatenate([states.reshape(runs, -1), observations.reshape(runs, -1)], axis=1)
    mean, covariance = joint.mean[2:], joint.covariance[2:, 2:]  # without the state before the first observation
    deviations = np.sqrt(np.diag(covariance))
    # The mean of N samples spreads by 1 / sqrt(N) = 0.005 deviations, an entry of the covariance by at most 0.007.
    np.testing.assert_allclose((samples.mean(0) - mean) / deviations, 0, atol=0.025)
    np.testing.assert_allclose((np.cov(samples.T) - covariance) / np.outer(deviations, deviations), 0, atol=0.035)


def test_a_stable_system_reaches_its_stationary_covariance():
    # s' = 0.8 s + v, of variance 1 / (1 - 0.64).
    model = tracking.LinearGaussian(
        transition=jnp.full((1, 1), 0.8),
        observation=jnp.ones((1, 1)),
        process_noise=jnp.ones((1, 1)),
        observation_noise=jnp.zeros((1, 1)),
        initial_mean=jnp.zeros(1),
        initial_covariance=jnp.zeros((1, 1)),
    )
    observations, states = tracking.simulate(model, KEY, steps=60, runs=10_000)
    np.testing.assert_array_equal(observations, states)
    assert abs(float(jnp.var(states[:, -1])) / (1 / 0.36) - 1) < 0.06  # four times sqrt(2 / N)
    np.testing.assert_allclose(jnp.mean(states[:, -1] * states[:, -2]), 0.8 / 0.36, rtol=0.06)


def test_noise_depends_on_the_key_the_run_and_the_time_alone():
    long = tracking.simulate(nonlinear(), KEY, steps=6, runs=5)
    short = tracking.simulate(nonlinear(), KEY, steps=3, runs=2)
    np.testing.assert_allclose(short.observations, long.observations[:2, :3], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(short.states, long.states[:2, :3], rtol=1e-6, atol=1e-6)
    other = tracking.simulate(nonlinear(), jax.random.key(1), steps=6, runs=5)
    assert float(jnp.min(jnp.abs(other.observations - long.observations))) > 0
    flat = long.observations.reshape(5 * 6, -1)
    assert len(np.unique(np.asarray(flat)[:, 0])) == 30  # no run or time has the noise of another


def test_two_models_are_compared_on_the_same_noise():
    models = [linear(), linear(transition=jnp.zeros((2, 2)))]
    noises = []
    for model in models:
        observations, states = tracking.simulate(model, KEY, steps=4, runs=3)
        noises.append(observations - states @ model.observation.T)
        moved = states[:, :-1] @ model.transition.T
        noises.append(states[:, 1:] - moved)
    np.testing.assert_allclose(noises[0], noises[2], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(noises[1], noises[3], rtol=1e-4, atol=1e-5)


def test_durations_and_dtypes(x64):
    duration = np.array([0.1, 0.4, 2.0])
    model = tracking.constant_velocity(1.0, q2=0.0, r2=0.0, initial_mean=jnp.array([0.0, 1.0]))
    states = tracking.simulate(model, KEY, steps=3, runs=1, duration=duration).states
    np.testing.assert_allclose(states[0, :, 0], np.cumsum(duration), rtol=1e-12)
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), linear())
    simulated = tracking.simulate(single, KEY, steps=2, runs=1)
    assert {leaf.dtype.name for leaf in simulated} == {"float32"}


def test_a_known_state_without_noise_follows_the_transition():
    model = linear(
        process_noise=jnp.zeros((2, 2)), observation_noise=jnp.zeros((3, 3)), initial_covariance=jnp.zeros((2, 2))
    )
    observations, states = tracking.simulate(model, KEY, steps=2, runs=2)
    expected = model.transition @ model.initial_mean
    np.testing.assert_allclose(states[:, 0], np.tile(expected, (2, 1)), rtol=1e-6)
    np.testing.assert_allclose(observations[:, 1], states[:, 1] @ model.observation.T, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "expected steps of at least 1, got 0"),
        ({"runs": True}, "expected runs of at least 1, got True"),
        ({"steps": 2.5}, "expected steps of at least 1, got 2.5"),
        ({"control": np.ones((4, 2))}, "control has shape \\(4, 2\\); expected a leading axis of steps=3"),
        ({"duration": 0.5}, "duration has shape \\(\\); expected a leading axis of steps=3"),
    ],
)
def test_bad_requests_raise(changes, message):
    with pytest.raises(ValueError, match=f"simulate: {message}"):
        tracking.simulate(linear(), KEY, **{"steps": 3, "runs": 1, **changes})
