"""A filter and a controller in one policy: the separate parts in a Python loop, and the published costs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from control.rules import cost, lqg, system

from mbdl import control, tracking


def test_it_is_the_filter_and_then_the_controller():
    policy, ys = lqg()
    filter, memory, control_before = policy.filter, policy.filter.start(), jnp.zeros(1)
    expected = []
    for y in ys:
        memory, estimates = filter.advance(memory, tracking.Inputs(y, control_before))
        control_before = policy.controller(estimates.mean[None])[0]
        expected.append(control_before)
    np.testing.assert_allclose(policy(ys), jnp.stack(expected), rtol=1e-5)


def test_sequences_are_what_the_filter_of_the_loop_was_given():
    """The regulator of the estimates on recorded sequences gives the recorded controls again."""
    policy, _ = lqg()
    runs = control.simulate(system(), policy, jax.random.key(0), steps=6, runs=3, cost=cost())
    inputs, states = control.sequences(runs)
    np.testing.assert_array_equal(states, runs.states[:, :-1])
    estimates = jax.vmap(lambda x: policy.filter(x).mean)(inputs)
    np.testing.assert_allclose(jax.vmap(policy.controller)(estimates), runs.controls, rtol=1e-4, atol=1e-6)


def test_missing_observations_are_passed_on():
    policy, ys = lqg()
    present = jnp.arange(5) != 2
    with_gap = policy(tracking.Inputs(ys, present=present))
    np.testing.assert_allclose(with_gap[:2], policy(ys)[:2], rtol=1e-6)
    assert not np.allclose(with_gap[2], policy(ys)[2])


@pytest.mark.parametrize(("r2_db", "published"), [(-10, 5.74), (10, 20.36)])
def test_the_published_costs_of_the_matched_regulator(r2_db, published):
    r2 = 10 ** (r2_db / 10)
    plant = control.LinearSystem(
        jnp.array([[1.0, 1.0], [0.0, 1.0]]), jnp.array([[0.0], [1.0]]), process_noise=r2 * jnp.eye(2),
        observation_noise=r2 * jnp.eye(2), initial_mean=jnp.array([10.0, 0.0]),
    )  # fmt: skip
    price = control.QuadraticCost(jnp.eye(2), 0.1 * jnp.eye(1), terminal=jnp.eye(2))
    policy = control.LQG(tracking.KalmanFilter(plant.model), control.LQR(plant, price, horizon=100))
    runs = control.simulate(plant, policy, jax.random.key(0), steps=100, runs=500, cost=price)
    # The published mean is over 100 runs, ours over 500: four standard errors of the difference.
    mean, error = runs.cost()
    in_db = 10 * np.log10(mean)
    assert abs(in_db - published) < 4 * np.sqrt(6) * 10 / np.log(10) * error / mean


def controls(filter):
    return control.LQG(filter, control.LinearFeedback(jnp.array([[0.1, 0.9]])))(lqg()[1])


EXACT = {
    "extended": (tracking.ExtendedKalmanFilter, None),
    "unscented": (tracking.UnscentedKalmanFilter, None),
    "parallel in time": (tracking.ParallelKalmanFilter, None),
    "information": (lambda model: tracking.KalmanFilter(model, tracking.InformationGain()), None),
    "square root": (lambda model: tracking.KalmanFilter(model, tracking.SquareRootGain()), None),
    "SplitKalmanNet": (
        lambda model: tracking.SplitKalmanNet(model, key=jax.random.key(1)),
        tracking.SteadyStateGain(),
    ),
}


@pytest.mark.parametrize("name", EXACT)
def test_filters_of_the_same_estimates_give_the_same_controls(name, x64):
    """Of a linear system; an untrained network is the gain that it corrects."""
    make, gain = EXACT[name]
    expected = controls(tracking.KalmanFilter(system().model, gain))
    np.testing.assert_allclose(controls(make(system().model)), expected, atol=1e-8)


def test_particles_control_as_their_number_allows():
    exact = controls(tracking.KalmanFilter(system().model))
    few, many = (
        controls(tracking.ParticleFilter(system().model, particles=n, key=jax.random.key(1))) for n in (20, 2000)
    )
    # An error falls by the root of the number of particles, by ten.
    assert 0 < jnp.linalg.norm(many - exact) < 0.3 * jnp.linalg.norm(few - exact)


def test_bad_arguments():
    with pytest.raises(TypeError, match="expected a filter of mbdl.tracking, got LQR"):
        control.LQG(control.LQR(system(), cost()), control.LQR(system(), cost()))
    with pytest.raises(TypeError, match="LQG: expected a policy"):
        control.LQG(lqg()[0].filter, jnp.tanh)  # pyright: ignore[reportArgumentType]
    policy, _ = lqg()
    with pytest.raises(ValueError, match="all observations are missing"):
        policy(tracking.Inputs(jnp.ones((3, 1)), present=jnp.zeros(3, bool)))
