"""The pole on a cart: mechanics that its equations do not mention, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mbdl import control, tracking

STATE = jnp.array([0.3, 0.8, -0.5, 1.2])


def moved(pole, state, force, steps):
    moment = tracking.Moment(jnp.asarray(0), jnp.atleast_1d(jnp.asarray(force, float)))
    states = [state]
    for _ in range(steps):
        states.append(pole(states[-1], moment))
    return np.asarray(states)


def energy(states, cart=1.0, pole=0.1, length=0.5, gravity=9.81):
    """Of the cart, of a uniform rod of twice the length, and of its height."""
    _, angle, speed, turning = states.T
    along, up = speed + length * turning * np.cos(angle), -length * turning * np.sin(angle)
    middle = 0.5 * pole * (along**2 + up**2)
    spin = 0.5 * (pole * (2 * length) ** 2 / 12) * turning**2
    return 0.5 * cart * speed**2 + middle + spin + pole * gravity * length * np.cos(angle)


def test_without_force_and_friction_energy_and_momentum_stay(x64):
    states = moved(control.CartPole(step=0.002), STATE.astype(float), 0.0, 500)
    np.testing.assert_allclose(energy(states), energy(states[:1])[0], rtol=1e-9)
    momentum = 1.1 * states[:, 2] + 0.1 * 0.5 * states[:, 3] * np.cos(states[:, 1])
    np.testing.assert_allclose(momentum, momentum[0], rtol=1e-9)


def test_force_and_frictions_do_their_work(x64):
    step = 1e-4
    pole = control.CartPole(step=step, cart_friction=0.7, hinge_friction=0.02)
    states = moved(pole, STATE.astype(float), 3.0, 400)
    middle = 0.5 * (states[1:] + states[:-1])
    power = 3.0 * middle[:, 2] - 0.7 * middle[:, 2] ** 2 - 0.02 * middle[:, 3] ** 2
    np.testing.assert_allclose(np.diff(energy(states)) / step, power, rtol=1e-4)


def test_it_is_a_model_for_filters_and_planners(x64):
    model = tracking.NonlinearGaussian(
        transition=control.CartPole(), observation=tracking.LinearObservation(jnp.eye(2, 4)),
        process_noise=1e-4 * jnp.eye(4), observation_noise=1e-4 * jnp.eye(2), initial_mean=jnp.array([0, 0.2, 0, 0.0]),
        initial_covariance=1e-4 * jnp.eye(4), starts="at",
    )  # fmt: skip
    cost = control.QuadraticCost(jnp.diag(jnp.array([1.0, 10, 0.1, 0.1])), 0.001 * jnp.eye(1))
    system = control.StateSpace(model, control_size=1)
    planner = control.IterativeLQR(system, cost, horizon=20, iterations=3)
    policy = control.LQG(tracking.ExtendedKalmanFilter(model), control.PredictiveControl(planner))
    runs = control.simulate(system, policy, jax.random.key(0), steps=60, runs=4, cost=cost)
    assert np.abs(np.asarray(runs.states)[:, -1, 1]).max() < 0.2
    still = control.Clipped(control.LinearFeedback(jnp.zeros((1, 2))), control.Constraints(control=(-1.0, 1.0)))
    fallen = control.simulate(system, still, jax.random.key(0), steps=60, runs=4, cost=cost)
    assert np.abs(np.asarray(fallen.states)[:, :, 1]).max(axis=1).min() > 1.5


@pytest.mark.parametrize("name", ["cart_mass", "pole_mass", "length", "step", "gravity"])
def test_sizes_are_positive(name):
    with pytest.raises(ValueError, match=f"CartPole: {name}"):
        control.CartPole(**{name: 0.0})
