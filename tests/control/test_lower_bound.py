"""Bounds that no policy beats: the published instance, the Riccati equation, and policies in simulation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from control.rules import cost, lqr_time_varying, nonlinear, system

from mbdl import control, tracking


def published():
    rng = np.random.RandomState(1)
    transition = rng.randn(8, 8)
    transition /= np.max(np.abs(np.linalg.eigvals(transition)))
    plant = control.LinearSystem(transition, rng.randn(8, 2), process_noise=0.25 * np.eye(8))
    return plant, control.QuadraticCost(np.eye(8), np.eye(2))


def test_the_bound_of_the_published_instance(x64):
    plant, price = published()
    found = control.quadratic_lower_bound(plant, price, control.Constraints(control=(-0.1, 0.1)))
    # Clarabel at 1e-10 and SCS at 1e-8 both give 10.69685.
    np.testing.assert_allclose(found.bound, 10.69685, atol=1e-5)
    np.testing.assert_allclose(found.value.linear, 0.0, atol=1e-3)


def test_without_bounds_it_is_the_cost_of_the_regulator(x64):
    plant, price = published()
    P = scipy.linalg.solve_discrete_are(plant.model.transition, plant.model.control, np.eye(8), np.eye(2))
    found = control.quadratic_lower_bound(plant, price)
    np.testing.assert_allclose(found.bound, 0.25 * np.trace(P), rtol=1e-6)
    np.testing.assert_allclose(found.value.matrix, P, rtol=1e-4, atol=1e-4)
    half = control.quadratic_lower_bound(plant, price, control.Constraints(control=(-jnp.inf, 0.1)))
    np.testing.assert_allclose(half.bound, found.bound, rtol=1e-6)


def test_with_a_target_it_is_the_cost_of_the_regulator_and_bounds_raise_it(x64):
    stable, noise = jnp.array([[0.9, 0.5], [-0.2, 0.8]]), tracking.Factor(jnp.eye(2))
    seen = {"observation": jnp.eye(2), "observation_noise": jnp.zeros((2, 2))}
    plant = system(transition=stable, process_noise=noise, **seen)
    price = cost(target=jnp.array([0.7, -0.3]))
    free = control.quadratic_lower_bound(plant, price)
    policy = control.LQR(plant, price)
    how = {"steps": 4000, "runs": 16, "cost": price}
    mean, error = control.simulate(plant, policy, jax.random.key(0), **how).cost()
    assert abs(mean - free.bound) < 4 * error
    np.testing.assert_allclose(free.value.linear, policy.value().linear, rtol=1e-4, atol=1e-4)

    limits = control.Constraints(control=(-0.4, 0.2))
    bounded = control.quadratic_lower_bound(plant, price, limits)
    assert bounded.bound > 1.05 * free.bound
    clipped = control.Clipped(policy, limits)
    mean, error = control.simulate(plant, clipped, jax.random.key(0), **how).cost()
    assert bounded.bound < mean + 4 * error


def test_bad_arguments():
    with pytest.raises(TypeError, match="quadratic_lower_bound: expected a linear system"):
        control.quadratic_lower_bound(nonlinear(), cost())
    with pytest.raises(TypeError, match=r"expected a control\.QuadraticCost, got Cost"):
        control.quadratic_lower_bound(system(), control.Cost(jnp.sum))  # pyright: ignore[reportArgumentType]
    varying = lqr_time_varying()[0]
    model = tracking.LinearGaussian(
        transition=varying.transition, control=varying.control, observation=jnp.eye(2), process_noise=jnp.eye(2),
        observation_noise=jnp.eye(2), initial_mean=jnp.zeros(2), initial_covariance=jnp.eye(2),
    )  # fmt: skip
    with pytest.raises(ValueError, match="does not depend on the time"):
        control.quadratic_lower_bound(model, cost())
    lost = system(transition=2.0 * jnp.eye(2), control=jnp.array([[1.0], [0.0]]))
    with pytest.raises(ValueError, match="the semidefinite program has no solution"):
        control.quadratic_lower_bound(lost, cost())
