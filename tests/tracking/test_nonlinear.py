"""The nonlinear model: its functions and Jacobians, and every error of its constructor and its functions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tracking.rules import nonlinear

from mbdl import tracking

NOW = tracking.Moment(jnp.asarray(0))


def test_it_moves_and_observes_as_its_functions_say(x64):
    model = nonlinear()
    state = jnp.asarray([0.5, -1.0])
    moment = tracking.Moment(jnp.asarray(0), jnp.asarray([3.0, 4.0]))
    A = np.asarray(model.transition.matrix)
    np.testing.assert_allclose(model.transit(state, moment), np.tanh(A @ state) + np.array([3, 4]))
    slope = (1 - np.tanh(A @ state) ** 2)[:, None] * A
    np.testing.assert_allclose(model.transit_jacobian(state, moment), slope)
    C = np.asarray(model.observation.matrix)
    np.testing.assert_allclose(model.observe(state, NOW), np.tanh(C @ state))
    np.testing.assert_allclose(model.observe_jacobian(state, NOW), (1 - np.tanh(C @ state) ** 2)[:, None] * C)
    assert (model.state_size, model.observation_size(NOW)) == (2, 3)


def test_jacobians_that_are_given_are_used():
    model = nonlinear(
        transition_jacobian=lambda s, moment: 2 * jnp.eye(2), observation_jacobian=lambda s, moment: jnp.ones((3, 2))
    )
    np.testing.assert_array_equal(model.transit_jacobian(jnp.ones(2), NOW), 2 * np.eye(2))
    np.testing.assert_array_equal(model.observe_jacobian(jnp.ones(2), NOW), np.ones((3, 2)))


def test_a_difference_that_is_given_is_the_innovation():
    model = nonlinear(difference=tracking.WrappedDifference([0]))
    np.testing.assert_allclose(model.innovation(jnp.full(3, 3.0), jnp.full(3, -3.0)), [6 - 2 * np.pi, 6, 6], rtol=1e-6)


def test_functions_may_depend_on_the_time_and_the_duration():
    model = nonlinear(
        transition=lambda s, moment: s * moment.duration + moment.time,
        process_noise=lambda moment: moment.duration * jnp.eye(2),
    )
    moment = tracking.Moment(jnp.asarray(4), None, jnp.asarray(0.5))
    np.testing.assert_array_equal(model.transit(jnp.ones(2), moment), [4.5, 4.5])
    np.testing.assert_array_equal(model.process_noise_at(moment), 0.5 * np.eye(2))


@pytest.mark.parametrize("name", ["transition", "observation"])
def test_what_is_no_function_is_refused(name):
    with pytest.raises(TypeError, match=f"NonlinearGaussian: expected {name} to be a function \\(state, moment\\)"):
        nonlinear(**{name: jnp.eye(2)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"initial_mean": jnp.ones((2, 1))}, "initial_mean to be a vector"),
        ({"initial_covariance": jnp.eye(3)}, "initial_covariance: expected 2 rows"),
        ({"process_noise": jnp.eye(3)}, "process_noise: expected 2 rows"),
        ({"observation_noise": jnp.ones((3, 2))}, "observation_noise: expected a square matrix"),
        ({"observation_noise": -jnp.eye(3)}, "observation_noise: a covariance is positive semidefinite"),
        ({"starts": None}, "expected starts='before'"),
    ],
)
def test_bad_parameters_raise(changes, message):
    with pytest.raises(ValueError, match=f"NonlinearGaussian: .*{message}"):
        nonlinear(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"transition": lambda s, moment: s[:1]},
            "transition returned shape \\(1,\\); expected \\(2,\\), that of the state",
        ),
        (
            {"observation": lambda s, moment: s},
            "observation returned shape \\(2,\\); expected \\(3,\\), that of observation_noise",
        ),
        (
            {"observation": lambda s, moment: s[0]},
            "observation returned shape \\(\\).* States and observations are vectors",
        ),
        (
            {"process_noise": lambda moment: jnp.eye(1)},
            "process_noise has shape \\(1, 1\\) at a moment; expected 2 rows, one for each component of a state",
        ),
        (
            {"observation_noise": lambda moment: tracking.Factor(jnp.ones((1, 1)))},
            "observation_noise has shape \\(1, 1\\) at a moment; expected 3 rows, one for each component of an obs",
        ),
    ],
)
def test_functions_that_return_another_size_raise(changes, message):
    model = nonlinear(**changes)
    with pytest.raises(ValueError, match=f"NonlinearGaussian: {message}"):
        tracking.ExtendedKalmanFilter(model)(jnp.ones((4, 3)))
    with pytest.raises(ValueError, match=f"NonlinearGaussian: {message}"):
        tracking.simulate(model, jax.random.key(0), steps=4, runs=1)
