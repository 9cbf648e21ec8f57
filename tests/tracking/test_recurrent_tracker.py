"""Trackers that know no model."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tracking.rules import inputs, linear, observations

import mbdl
from mbdl import tracking

KEY = jax.random.key(0)


def test_the_tracker_is_its_unit_and_a_last_layer():
    tracker = tracking.RecurrentTracker(3, 2, hidden_size=4, key=KEY)
    unit, out = mbdl.resolve(tracker).network
    hidden, expected = jnp.zeros(4), []
    for y in observations():
        hidden = unit(hidden, jnp.concatenate([y, jnp.ones(3)]))
        expected.append(out(hidden))
    np.testing.assert_allclose(tracker(observations()).mean, jnp.stack(expected), atol=1e-5)
    assert mbdl.spectrum(tracker).strategy == "black box"
    assert mbdl.spectrum(tracker).known == 0


def test_the_bidirectional_tracker_is_two_units_and_a_last_layer():
    tracker = tracking.BidirectionalTracker(3, 2, hidden_size=4, key=KEY)
    forward, backward, out = mbdl.resolve(tracker).network
    ys = jnp.concatenate([observations(), jnp.ones((6, 3))], axis=1)
    ahead, back = [jnp.zeros(4)], [jnp.zeros(4)]
    for t in range(6):
        ahead.append(forward(ahead[-1], ys[t]))
        back.append(backward(back[-1], ys[5 - t]))
    expected = jnp.stack([out(jnp.concatenate([ahead[t + 1], back[6 - t]])) for t in range(6)])
    np.testing.assert_allclose(tracker(observations()).mean, expected, atol=1e-5)


@pytest.mark.parametrize("make", [tracking.RecurrentTracker, tracking.BidirectionalTracker])
def test_what_a_missing_observation_holds_changes_nothing_and_its_absence_does(make):
    given = inputs()
    tracker = make(3, 2, control_size=2, key=KEY)
    other = tracking.Inputs(jnp.where(given.present, given.observation, jnp.nan), given.control, given.present)
    np.testing.assert_array_equal(tracker(given).mean, tracker(other).mean)
    whole = tracking.Inputs(given.observation, given.control)
    assert not np.allclose(tracker(given).mean, tracker(whole).mean)


@pytest.mark.parametrize("make", [tracking.RecurrentTracker, tracking.BidirectionalTracker])
def test_a_standardised_tracker_is_the_plain_one_in_other_units(make):
    plain = make(3, 2, control_size=2, key=KEY)
    mean, deviation = jnp.array([1.0, -2.0, 3.0]), jnp.array([2.0, 0.5, 4.0])
    scales = tracking.Standardisation(mean, deviation, jnp.array([5.0, 6.0]), jnp.array([0.1, 10.0]))
    standardised = make(3, 2, control_size=2, standardisation=scales, key=KEY)
    given = inputs()
    moved = tracking.Inputs(mean + deviation * given.observation, given.control, given.present)
    expected = jnp.array([5.0, 6.0]) + jnp.array([0.1, 10.0]) * plain(given).mean
    np.testing.assert_allclose(standardised(moved).mean, expected, rtol=1e-4, atol=1e-4)
    assert mbdl.spectrum(standardised).known == 10


def test_bad_scales_are_refused():
    with pytest.raises(ValueError, match="Standardisation: a deviation must be positive"):
        tracking.Standardisation(jnp.zeros(1), jnp.zeros(1), jnp.zeros(1), jnp.ones(1))


def test_it_learns_to_track():
    ys, states = tracking.simulate(linear(), jax.random.key(1), steps=10, runs=300)
    train, test = (ys[:200], states[:200]), (ys[200:], states[200:])
    tracker = tracking.RecurrentTracker(3, 2, hidden_size=16, key=KEY)
    risk = mbdl.supervised(train, tracking.state_error)
    trained = mbdl.fit(tracker, risk, optax.adam(1e-2), steps=100, batch_size=50, key=jax.random.key(2)).rule
    assert float(mbdl.supervised(test, tracking.state_error)(trained)) < 0.5 * float(jnp.mean(test[1] ** 2))


def test_inputs_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"got \(\(64,\), \(4,\)\)"):
        tracking.RecurrentTracker(3, 2, key=KEY)(jnp.ones((5, 2)))


@pytest.mark.parametrize("make", [tracking.RecurrentTracker, tracking.BidirectionalTracker])
def test_observations_that_are_all_missing_are_refused(make):
    given = inputs()
    absent = tracking.Inputs(given.observation, given.control, jnp.zeros_like(given.present))
    with pytest.raises(ValueError, match="all observations are missing, so there is nothing to estimate from"):
        make(3, 2, control_size=2, key=KEY)(absent)
