"""Inputs: what goes together, and that missing observations are explicit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tracking.rules import linear, observations, pushed, pushes

from mbdl import tracking


def test_a_mask_for_whole_observations_is_one_for_their_components():
    present = jnp.array([True, False, True])
    inputs = tracking.Inputs(jnp.ones((3, 2)), present=present)
    np.testing.assert_array_equal(inputs.present, [[True, True], [False, False], [True, True]])
    np.testing.assert_array_equal(inputs.observation, [[1, 1], [0, 0], [1, 1]])


def test_what_is_not_present_may_be_anything():
    present = jnp.array([[True, False], [False, True]])
    inputs = tracking.Inputs(jnp.array([[1.0, jnp.nan], [jnp.inf, 2.0]]), present=present)
    np.testing.assert_array_equal(inputs.observation, [[1, 0], [0, 2]])
    np.testing.assert_array_equal(inputs.present, present)


def test_nan_means_missing_and_infinity_does_not():
    inputs = tracking.nan_means_missing(np.array([[1.0, np.nan], [np.inf, 2.0]]), duration=np.ones(2))
    np.testing.assert_array_equal(inputs.present, [[True, False], [True, True]])
    np.testing.assert_array_equal(inputs.observation, [[1, 0], [np.inf, 2]])
    np.testing.assert_array_equal(inputs.duration, [1, 1])


def test_integers_become_numbers_and_one_input_of_a_stream_has_no_time_axis():
    inputs = tracking.Inputs(np.array([1, 2]), control=np.array([3]), present=True, duration=1)
    assert {leaf.dtype.name for leaf in (inputs.observation, inputs.control, inputs.duration)} == {"float32"}
    assert inputs.present.tolist() == [True, True]
    assert inputs.duration.shape == ()


def test_inputs_are_batched_by_vmap():
    batch = jax.vmap(tracking.Inputs)(
        jnp.ones((4, 3, 2)), jnp.ones((4, 3, 1)), jnp.ones((4, 3), bool), jnp.ones((4, 3))
    )
    assert batch.observation.shape == batch.present.shape == (4, 3, 2)
    sums = jax.vmap(lambda x: jnp.sum(x.observation) + jnp.sum(x.control) + jnp.sum(x.duration))(batch)
    np.testing.assert_array_equal(sums, [12, 12, 12, 12])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"present": np.ones(3, bool)}, "present has shape \\(3,\\); expected \\(5,\\), or \\(5, 2\\) for single"),
        ({"present": np.ones((5, 3), bool)}, "present has shape \\(5, 3\\); expected \\(5,\\), or \\(5, 2\\)"),
        ({"control": np.ones((4, 1))}, "control has shape \\(4, 1\\), which does not go with observations of shape"),
        ({"control": np.ones((3, 5, 1))}, "control has shape \\(3, 5, 1\\)"),
        ({"duration": np.ones(4)}, "duration has shape \\(4,\\), .* expected the leading axes \\(5,\\)"),
        ({"duration": np.ones((5, 1))}, "duration has shape \\(5, 1\\)"),
        ({"duration": 0.1}, "duration has shape \\(\\)"),
    ],
)
def test_shapes_that_do_not_go_together_raise(given, message):
    with pytest.raises(ValueError, match=f"Inputs: {message}"):
        tracking.Inputs(np.ones((5, 2)), **given)


def test_a_negative_duration_is_refused():
    duration = jnp.array([0.1, -0.2, 0.0])
    kf = tracking.KalmanFilter(tracking.constant_velocity(0.1, q2=1.0, r2=1.0))
    with pytest.raises(ValueError, match="1 durations are negative, the least is -0.2. .*in the order of time"):
        kf(tracking.Inputs(jnp.ones((3, 1)), duration=duration))
    kf(tracking.Inputs(jnp.ones((3, 1)), duration=jnp.abs(duration)))


def test_a_model_that_needs_what_the_inputs_do_not_have_says_so():
    message = "failed where the inputs have no control and no duration .*give it: tracking.Inputs"
    with pytest.raises(TypeError, match=f"Swing, a function of the model, {message}"):
        tracking.ExtendedKalmanFilter(pushed())(observations())
    with pytest.raises(TypeError, match=message):
        tracking.KalmanFilter(linear(transition=lambda moment: moment.duration * jnp.eye(2)))(observations())
    with pytest.raises(TypeError, match="no duration"):
        tracking.simulate(pushed(), jax.random.key(0), steps=4, runs=2, control=jnp.ones((4, 2)))

    def wrong(state, moment):
        raise TypeError("of its own")

    with pytest.raises(TypeError, match="^of its own"):
        tracking.ExtendedKalmanFilter(pushed(transition=wrong))(pushes())
