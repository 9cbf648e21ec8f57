"""Models from trajectories whose states are known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mbdl
from mbdl import tracking

TRUE = tracking.LinearGaussian(
    transition=jnp.array([[0.9, 0.2], [-0.1, 0.8]]),
    observation=jnp.array([[1.0, 0.5], [0.0, 1.0], [0.3, -0.2]]),
    process_noise=jnp.array([[0.3, 0.1], [0.1, 0.2]]),
    observation_noise=jnp.diag(jnp.array([0.1, 0.2, 0.4])),
    control=jnp.array([[0.0], [1.0]]),
    initial_mean=jnp.zeros(2),
    initial_covariance=jnp.eye(2),
)
WRONG = tracking.LinearGaussian(
    transition=jnp.eye(2),
    observation=jnp.ones((3, 2)),
    process_noise=jnp.eye(2),
    observation_noise=jnp.eye(3),
    control=TRUE.control,
    initial_mean=jnp.zeros(2),
    initial_covariance=jnp.eye(2),
)
NAMES = ("transition", "observation", "process_noise", "observation_noise")


@pytest.fixture(scope="module")
def recorded():
    control = jax.random.normal(jax.random.key(1), (200, 1))
    drawn = tracking.simulate(TRUE, jax.random.key(0), steps=200, runs=60, control=control)
    return tracking.Inputs(drawn.observations, jnp.broadcast_to(control, (60, 200, 1))), drawn.states


def test_finds_the_model(recorded):
    found = tracking.least_squares(WRONG, *recorded)
    for name in NAMES:
        # Of 12,000 samples, whose standard errors are at most 0.01.
        np.testing.assert_allclose(getattr(found, name), getattr(TRUE, name), atol=0.03)
    for name in ("control", "initial_mean", "initial_covariance"):
        np.testing.assert_array_equal(getattr(found, name), getattr(WRONG, name))


def test_learns_what_is_named_alone(recorded):
    found = tracking.least_squares(WRONG, *recorded, learn=["observation"])
    np.testing.assert_allclose(found.observation, TRUE.observation, atol=0.03)
    np.testing.assert_array_equal(found.transition, WRONG.transition)
    # The noise is what the model leaves: with a wrong matrix it is larger.
    noise = tracking.least_squares(WRONG, *recorded, learn="observation_noise").observation_noise
    assert np.all(np.diag(noise) > 2 * np.diag(TRUE.observation_noise))


def test_is_the_maximum_of_the_likelihood(recorded):
    """Of states and observations, in each entry of each matrix."""
    inputs, states = recorded
    found = tracking.least_squares(WRONG, inputs, states, learn=["transition", "process_noise"])

    def log_density(model):
        before, after = states[:, :-1], states[:, 1:]
        left = after - before @ model.transition.T - inputs.control[:, 1:] @ model.control.T
        return jnp.sum(jax.scipy.stats.multivariate_normal.logpdf(left, jnp.zeros(2), model.process_noise))

    best = log_density(found)
    for move in (-0.05, 0.05):
        for entry in np.ndindex(2, 2):
            moved = dataclasses.replace(found, transition=found.transition.at[entry].add(move))
            assert log_density(moved) < best
        grown = dataclasses.replace(found, process_noise=found.process_noise * (1 + move))
        assert log_density(grown) < best


def test_takes_missing_observations(recorded):
    inputs, states = recorded
    present = jax.random.uniform(jax.random.key(2), inputs.observation.shape) < 0.7
    spoiled = tracking.Inputs(jnp.where(present, inputs.observation, jnp.nan), inputs.control, present)
    found = tracking.least_squares(WRONG, spoiled, states)
    for name in NAMES:
        np.testing.assert_allclose(getattr(found, name), getattr(TRUE, name), atol=0.04)


def test_a_nonlinear_model_keeps_its_functions():
    true = tracking.lorenz(q2=0.01, r2=0.5, rotate_observation=5.0)
    observations, states = tracking.simulate(true, jax.random.key(0), steps=100, runs=40)
    model = tracking.lorenz(q2=1.0, r2=1.0)
    found = tracking.least_squares(model, observations, states)
    np.testing.assert_allclose(found.observation.matrix, true.observation.matrix, atol=0.01)
    np.testing.assert_allclose(found.process_noise, true.process_noise, atol=2e-3)
    np.testing.assert_allclose(found.observation_noise, true.observation_noise, atol=0.05)
    assert tracking.ExtendedKalmanFilter(found)(observations[0]).mean.shape == (100, 3)
    with pytest.raises(ValueError, match=r"transition of the model is a function, and has no least squares"):
        tracking.least_squares(model, observations, states, learn=["transition"])


def test_angles_wrap():
    true = tracking.lorenz(
        q2=1e-4, r2=1e-4, observation=tracking.Spherical(), difference=tracking.WrappedDifference([2])
    )
    observations, states = tracking.simulate(true, jax.random.key(0), steps=50, runs=40)
    found = tracking.least_squares(true, observations, states, learn="observation_noise")
    np.testing.assert_allclose(found.observation_noise, true.observation_noise, atol=1e-5)


def test_bad_input_raises(recorded):
    inputs, states = recorded
    with pytest.raises(TypeError, match="expected a LinearGaussian or NonlinearGaussian model, got KalmanFilter"):
        tracking.least_squares(tracking.KalmanFilter(TRUE), inputs, states)
    with pytest.raises(ValueError, match=r"cannot learn \['noise'\]. Name some of transition, observation"):
        tracking.least_squares(WRONG, inputs, states, learn=["noise"])
    with pytest.raises(ValueError, match=r"cannot learn nothing"):
        tracking.least_squares(WRONG, inputs, states, learn=[])
    with pytest.raises(ValueError, match=r"states \[runs time 2\], got shapes \(60, 200, 3\) and \(60, 200, 3\)"):
        tracking.least_squares(WRONG, inputs, jnp.zeros((60, 200, 3)))
    with pytest.raises(ValueError, match=r"the observations have 1 components, and those of the model 3"):
        tracking.least_squares(WRONG, inputs.observation[..., :1], states, learn="observation_noise")
    with pytest.raises(TypeError, match="expected a LinearGaussian or NonlinearGaussian model, got StateObserved"):
        tracking.least_squares(tracking.StateObserved(WRONG), states, states)
    functions = dataclasses.replace(WRONG, **{name: tracking.TimeVarying(jnp.ones((200, 2, 2))) for name in NAMES})
    with pytest.raises(ValueError, match=r"cannot learn nothing"):
        tracking.least_squares(functions, inputs.observation[..., :2], states)
    # One direction but for rounding.
    along = states[..., :1] * jnp.array([1.0, 0.3])
    with pytest.raises(ValueError, match=r"component 0 of the observation is fitted span 1 of their 2 dimensions"):
        tracking.least_squares(WRONG, inputs, along, learn="observation")
    with pytest.raises(ValueError, match=r"the states of sequence 3 are not finite, first at step 7"):
        tracking.least_squares(WRONG, inputs, states.at[3, 7, 0].set(jnp.nan))
    spoiled = tracking.Inputs(inputs.observation.at[4, 2, 0].set(jnp.nan), inputs.control)
    with pytest.raises(ValueError, match=r"sequence 4 is not valid: 1 values of the observation are not finite"):
        tracking.least_squares(WRONG, spoiled, states)
    with pytest.raises(ValueError, match=r"the transition is fitted span 1 of their 2 dimensions"):
        tracking.least_squares(WRONG, inputs, states.at[..., 1].set(0.0))
    never = tracking.Inputs(inputs.observation, inputs.control, jnp.ones(inputs.observation.shape).at[..., 0].set(0))
    with pytest.raises(ValueError, match=r"at no time is all that the observation noise is estimated from there"):
        tracking.least_squares(WRONG, never, states, learn="observation_noise")
    with pytest.raises(ValueError, match=r"expected at least two times"):
        tracking.least_squares(WRONG, inputs.observation[:, :1], states[:, :1])


def test_columns_of_very_different_sizes_are_told_apart():
    scale = jnp.array([1.0, 1e-7])
    states = scale * jax.random.normal(jax.random.key(0), (20, 100, 2))
    matrix = jnp.array([[1.0, 2e7], [0.5, 1e7], [0.0, 3e7]])
    found = tracking.least_squares(WRONG, states @ matrix.T, states, learn="observation")
    np.testing.assert_allclose(found.observation * scale, matrix * scale, rtol=1e-4, atol=1e-5)


def test_small_noises_of_large_states_are_found():
    """By double precision, whatever that of the model."""
    rng = np.random.default_rng(0)
    steps = 1e-5 * rng.standard_normal((20, 200, 2))
    states = 1e3 + np.cumsum(steps, axis=1)
    model = dataclasses.replace(WRONG, control=None)
    found = tracking.least_squares(model, np.zeros((20, 200, 3)), states, learn="process_noise")
    np.testing.assert_allclose(found.process_noise, 1e-10 * np.eye(2), atol=5e-12)


def test_what_is_learned_is_resolved(recorded):
    marked = mbdl.learn(WRONG, lambda m: m.transition)
    found = tracking.least_squares(marked, *recorded)
    np.testing.assert_allclose(found.transition, TRUE.transition, atol=0.03)
