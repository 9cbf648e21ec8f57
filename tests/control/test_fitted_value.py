"""Fitted value iteration: the Riccati equation where there are no bounds, better policies where there are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from control.rules import cost, system

from mbdl import control
from mbdl.control.fitted_value import _basis, _bellman, _fit


def seen(**changes):
    return system(observation=jnp.eye(2), observation_noise=jnp.zeros((2, 2)), **changes)


def states(count=200, scale=2.0):
    return scale * jax.random.normal(jax.random.key(0), (count, 2))


def test_without_bounds_it_is_the_value_of_the_regulator_from_anywhere(x64):
    plant, price = seen(), cost(target=jnp.array([0.7, -0.3]))
    start = control.Value(jnp.eye(2), jnp.zeros(2))
    found = control.fitted_value_iteration(plant, price, states=states(), start=start, iterations=300, tolerance=1e-12)
    exact = control.LQR(plant, price).value()
    np.testing.assert_allclose(found.value.matrix, exact.matrix, rtol=1e-8)
    np.testing.assert_allclose(found.value.linear, exact.linear, rtol=1e-7)
    assert found.error < 1e-8
    assert 1 < found.iterations < 300


def test_on_a_line_it_is_as_good_as_the_exact_value_function(x64):
    """Value iteration on a fine grid, with the noise on three points."""
    limit, noise = 0.5, np.array([-1.0, 0.0, 1.0]) * np.sqrt(1.5) * 0.6
    grid, controls = np.linspace(-8, 8, 1601), np.linspace(-limit, limit, 101)
    following = 0.9 * grid[:, None] + controls
    value = np.zeros_like(grid)
    for _ in range(200):
        expected = np.mean([np.interp(following + w, grid, value) for w in noise], axis=0)
        value = np.min(grid[:, None] ** 2 + 0.1 * controls**2 + expected, axis=1)
        value -= value[800]
    best = controls[np.argmin(0.1 * controls**2 + expected, axis=1)]

    plant = control.LinearSystem(0.9 * jnp.eye(1), jnp.eye(1), process_noise=0.36 * jnp.eye(1))
    price = control.QuadraticCost(jnp.eye(1), 0.1 * jnp.eye(1))
    limits = control.Constraints(control=(-limit, limit))
    visited = jnp.linspace(-3, 3, 101)[:, None]
    found = control.fitted_value_iteration(plant, price, limits, states=visited)
    policy = control.LinearPredictiveControl(plant, price, limits, horizon=1, terminal=found.value)
    how = {"steps": 300, "runs": 32, "cost": price}
    ours = control.simulate(plant, policy, jax.random.key(1), **how)

    class Tabulated(control.StateFeedback):
        pass

    table = Tabulated(lambda x: jnp.interp(x, jnp.asarray(grid), jnp.asarray(best)))
    exact = control.simulate(plant, table, jax.random.key(1), **how)
    assert abs(ours.difference(exact).mean) < 0.01 * exact.cost().mean


def test_its_policy_beats_the_clipped_regulator(x64):
    turning = seen().model.transition
    turning = turning / jnp.max(jnp.abs(jnp.linalg.eigvals(turning)))
    plant, price = seen(transition=turning, process_noise=0.1 * jnp.eye(2)), cost()
    limits = control.Constraints(control=(-0.2, 0.2))
    clipped = control.Clipped(control.LQR(plant, price), limits)
    how = {"steps": 100, "cost": price}
    visited = control.simulate(plant, clipped, jax.random.key(1), runs=4, **how).states.reshape(-1, 2)
    found = control.fitted_value_iteration(plant, price, limits, states=visited)
    greedy = control.LinearPredictiveControl(plant, price, limits, horizon=1, terminal=found.value)
    ours, theirs = (control.simulate(plant, policy, jax.random.key(2), runs=200, **how) for policy in (greedy, clipped))
    mean, error = ours.difference(theirs)
    assert mean < -3 * error


def test_a_fit_is_convex_where_the_nearest_quadratic_is_not():
    points = np.random.default_rng(0).standard_normal((50, 2))
    bent = -(points[:, 0] ** 2) + points[:, 1] ** 2
    value, fitted = _fit(points, _basis(points), bent)
    assert np.linalg.eigvalsh(value.matrix)[0] > -1e-6
    assert value.matrix[1, 1] > 0.5
    least = np.linalg.lstsq(np.stack([points[:, 1] ** 2, np.ones(50)], 1), bent, rcond=None)[0]
    assert np.sum((fitted - bent) ** 2) <= np.sum((least[0] * points[:, 1] ** 2 + least[1] - bent) ** 2) + 1e-6


def test_what_a_broken_bound_costs_is_a_part_of_the_stage(x64):
    """Bellman's targets against a search over a fine grid of controls."""
    plant = control.LinearSystem(jnp.eye(1), jnp.eye(1), process_noise=jnp.eye(1))
    price = control.QuadraticCost(jnp.eye(1), jnp.eye(1))
    limits = control.Constraints(control=(-0.5, 0.5), state=(-1.0, 1.0))
    policy = control.LinearPredictiveControl(plant, price, limits, horizon=1, softness=3.0)
    points, controls = np.array([0.2, 1.4, -2.0]), np.linspace(-0.5, 0.5, 100_001)
    following = points[:, None] + controls
    broken = np.maximum(np.abs(following) - 1.0, 0.0)
    value = float(policy.terminal.matrix[0, 0]) * following**2
    least = np.min(points[:, None] ** 2 + controls**2 + 3.0 * (broken + broken**2) + value, axis=1)
    np.testing.assert_allclose(_bellman(policy, jnp.asarray(points[:, None])), least, atol=1e-8)


def test_bad_arguments(x64):
    plant, price = seen(), cost()
    with pytest.raises(ValueError, match=r"states \[samples 2\], got an array of shape \(5, 3\)"):
        control.fitted_value_iteration(plant, price, states=jnp.ones((5, 3)))
    with pytest.raises(ValueError, match="5 states do not determine the 6 numbers"):
        control.fitted_value_iteration(plant, price, states=states(5))
    with pytest.raises(ValueError, match="not finite"):
        control.fitted_value_iteration(plant, price, states=states().at[3, 0].set(jnp.nan))
    with pytest.raises(ValueError, match="iterations of at least 1"):
        control.fitted_value_iteration(plant, price, states=states(), iterations=0)
    tight = control.Constraints(control=(-0.1, 0.1), state=(-1.0, 1.0))
    with pytest.raises(ValueError, match="no control keeps the bounds of the states"):
        control.fitted_value_iteration(plant, price, tight, states=states())
