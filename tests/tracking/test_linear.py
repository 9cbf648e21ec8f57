"""The linear model: its parameters at a moment, and every error of its constructor."""

import jax.numpy as jnp
import numpy as np
import pytest
from tracking.rules import linear

from mbdl import tracking


def test_it_moves_and_observes_as_its_matrices_say(x64):
    model = linear(control=jnp.asarray([[1.0], [2.0]]))
    state, moment = jnp.asarray([0.5, -1.0]), tracking.Moment(jnp.asarray(0), jnp.asarray([3.0]))
    F, H = np.asarray(model.transition), np.asarray(model.observation)
    np.testing.assert_allclose(model.transit(state, moment), F @ state + np.array([3.0, 6.0]))
    np.testing.assert_allclose(model.observe(state, moment), H @ state)
    np.testing.assert_array_equal(model.transit_jacobian(state, moment), F)
    np.testing.assert_array_equal(model.observe_jacobian(state, moment), H)
    assert (model.state_size, model.observation_size(moment)) == (2, 3)
    np.testing.assert_array_equal(model.innovation(jnp.ones(3), jnp.zeros(3)), np.ones(3))


def test_parameters_may_vary():
    values = jnp.arange(3.0)[:, None, None] * jnp.eye(2)
    model = linear(transition=tracking.TimeVarying(values), process_noise=tracking.TimeVarying(values))
    for time in range(3):
        moment = tracking.Moment(jnp.asarray(time))
        np.testing.assert_array_equal(model.transit(jnp.ones(2), moment), [time, time])
        np.testing.assert_array_equal(model.process_noise_at(moment), time * np.eye(2))
    beyond = tracking.Moment(jnp.asarray(3))
    assert bool(jnp.all(jnp.isnan(model.transit(jnp.ones(2), beyond))))


def test_where_the_initial_state_is():
    first, second = (tracking.Moment(jnp.asarray(t)) for t in (0, 1))
    assert linear().begins(first) is False
    assert bool(linear(starts="at").begins(first))
    assert not bool(linear(starts="at").begins(second))


BAD = {
    "an initial mean that is no vector": (
        {"initial_mean": jnp.ones((2, 1))},
        "initial_mean to be a vector \\[state\\]",
    ),
    "an initial mean that is not finite": ({"initial_mean": jnp.array([1.0, jnp.inf])}, "initial_mean must be finite"),
    "an initial covariance of another size": (
        {"initial_covariance": jnp.eye(3)},
        "initial_covariance: expected 2 rows",
    ),
    "a beginning without a name": (
        {"starts": "after"},
        "expected starts='before' .* or starts='at' \\(it is the state at the first observation\\), got 'after'",
    ),
    "a transition of another size": (
        {"transition": jnp.eye(3)},
        "transition: expected a matrix \\[2 2\\] .* \\(3, 3\\)",
    ),
    "a transition a step": (
        {"transition": jnp.ones((5, 2, 2))},
        "transition: expected a matrix \\[2 2\\] .* For one matrix a time step use tracking.TimeVarying",
    ),
    "a transition that is not finite": ({"transition": jnp.full((2, 2), jnp.nan)}, "transition must be finite"),
    "an observation of another state": ({"observation": jnp.eye(3)}, "observation: expected a matrix \\[any 2\\]"),
    "a process noise of another size": ({"process_noise": jnp.eye(3)}, "process_noise: expected 2 rows, got shape"),
    "a process noise that is not symmetric": (
        {"process_noise": jnp.array([[1.0, 0.5], [0.0, 1.0]])},
        "LinearGaussian: process_noise: a covariance is symmetric",
    ),
    "an observation noise of another size": ({"observation_noise": jnp.eye(2)}, "observation_noise: expected 3 rows"),
    "an observation noise that is not semidefinite": (
        {"observation_noise": -jnp.eye(3)},
        "LinearGaussian: observation_noise: a covariance is positive semidefinite",
    ),
    "a control matrix of another size": ({"control": jnp.ones((3, 1))}, "control: expected a matrix \\[2 any\\]"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_parameters_raise(name):
    changes, message = BAD[name]
    with pytest.raises(ValueError, match=f"LinearGaussian: .*{message.removeprefix('LinearGaussian: ')}"):
        linear(**changes)


def test_parameters_that_vary_need_a_time_axis_and_are_finite():
    with pytest.raises(ValueError, match="TimeVarying: expected values with a leading time axis, got a single number"):
        tracking.TimeVarying(1.0)
    with pytest.raises(ValueError, match="TimeVarying: the values must be finite"):
        tracking.TimeVarying(jnp.full((3, 1, 1), jnp.nan))
