"""Derivatives of solutions: against the exact solution on the active set, central differences, and at kinks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from control.programs import SOLVE, draw, stack, tied

from mbdl import control

WEIGHTS = np.array([1.0, -2.0, 3.0, 0.5, -1.0])
SLOPE = jax.jit(
    jax.grad(lambda program: jnp.sum(WEIGHTS * jnp.sin(control.solve_qp(program, throw=False).x)), allow_int=True)
)


def boxed(width, seed=0, n=5):
    rng = np.random.default_rng(seed)
    root, linear = rng.standard_normal((n, n)), 3 * rng.standard_normal(n)
    low = -width * (1 + 0.3 * rng.random(n))
    return control.QuadraticProgram(np.eye(n) + root.T @ root, linear, bounds=(low, -low))


def exact(program):
    """The solution and the gradient, for bounds alone, from the variables that are free."""
    P, q = np.asarray(program.hessian), np.asarray(program.linear)
    low, high = map(np.asarray, program.bounds)
    x = np.asarray(SOLVE(program).x)
    free = (x > low + 1e-9) & (x < high - 1e-9)
    at_low, at_high = ~free & (x < (low + high) / 2), ~free & (x >= (low + high) / 2)
    x = np.where(at_low, low, np.where(at_high, high, 0.0))
    block = P[np.ix_(free, free)]
    x[free] = np.linalg.solve(block, -(q + P @ x)[free])
    ahead = WEIGHTS * np.cos(x)
    back = np.zeros_like(x)
    back[free] = np.linalg.solve(block, ahead[free])
    outer = -0.5 * (np.outer(back, x) + np.outer(x, back))
    through = ahead - P @ back
    return x, outer, -back, np.where(at_low, through, 0.0), np.where(at_high, through, 0.0), free.mean()


def test_gradients_are_those_of_the_active_set_at_every_level_of_activity(x64):
    levels = []
    for width in (0.05, 0.2, 0.6, 10.0):
        program = boxed(width)
        x, *slopes, level = exact(program)
        levels.append(level)
        np.testing.assert_allclose(SOLVE(program).x, x, atol=1e-12)
        slope = SLOPE(program)
        for ours, theirs in zip((slope.hessian, slope.linear, *slope.bounds), slopes, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-10)
    assert levels[0] < 0.4
    assert 0 < levels[1] < levels[2] < 1
    assert levels[3] == 1


@pytest.mark.parametrize("kind", [{}, {"rank": 3}, {"spread": 1.0}])
def test_gradients_are_central_differences(kind, x64):
    def loss(program):
        return float(jnp.sum(WEIGHTS * jnp.sin(SOLVE(program).x)))

    program = draw(4, **kind)
    slope = SLOPE(program)
    assert not bool(SOLVE(program).degenerate)
    leaves, structure = jax.tree.flatten(program)
    rng = np.random.default_rng(0)
    for k, leaf in enumerate(leaves):
        direction = rng.standard_normal(leaf.shape)
        if k == 0:
            direction = direction + direction.T
        step = 1e-6

        def moved(t, k=k, direction=direction):
            return structure.unflatten([a + t * direction if i == k else a for i, a in enumerate(leaves)])

        numeric = (loss(moved(step)) - loss(moved(-step))) / (2 * step)
        # Cancellation leaves some 1e-16 / 1e-6, times the condition of the program.
        np.testing.assert_allclose(
            np.sum(np.asarray(jax.tree.leaves(slope)[k]) * direction), numeric, rtol=1e-6, atol=1e-7
        )


def test_forward_and_second_derivatives(x64):
    base = boxed(0.4)

    def loss(linear):
        program = control.QuadraticProgram(base.hessian, linear, bounds=base.bounds)
        return jnp.sum(WEIGHTS * jnp.sin(control.solve_qp(program).x))

    q, direction, step = base.linear, jnp.asarray(WEIGHTS), 1e-5
    slope = jax.jit(jax.grad(loss))
    _, forward = jax.jit(lambda q, d: jax.jvp(loss, (q,), (d,)))(q, direction)
    np.testing.assert_allclose(forward, slope(q) @ direction, rtol=1e-12)
    _, twice = jax.jit(lambda q, d: jax.jvp(jax.grad(loss), (q,), (d,)))(q, direction)
    numeric = (slope(q + step * direction) - slope(q - step * direction)) / (2 * step)
    assert np.max(np.abs(twice)) > 1e-3
    np.testing.assert_allclose(twice, numeric, atol=1e-8)


def test_a_weakly_active_side_is_told_and_the_derivative_is_that_of_one_side(x64):
    # x = clip(2 t, ., 1) at t = 0.5, where both derivatives, 2 and 0, are limits of near ones.
    program = control.QuadraticProgram(np.diag([0.5, 1.0]), np.array([-0.5, 0.2]), bounds=(-5.0, 1.0))
    solution = control.solve_qp(program)
    np.testing.assert_allclose(solution.x, [1.0, -0.2], atol=1e-12)
    assert bool(solution.degenerate)
    jacobian = jax.jacobian(
        lambda q: control.solve_qp(control.QuadraticProgram(program.hessian, q, bounds=program.bounds)).x
    )(program.linear)
    assert np.min(np.abs(jacobian[0, 0] - np.array([-2.0, 0.0]))) < 1e-10
    np.testing.assert_allclose(jacobian[1], [0.0, -1.0], atol=1e-10)


def test_redundant_rows_are_told_and_share_the_derivative(x64):
    twice = np.array([[1.0, 1.0], [1.0, 1.0], [1.0, -1.0]])

    def solve(upper):
        program = control.QuadraticProgram(np.eye(2), -np.ones(2), inequality=(twice, -np.inf, upper))
        return control.solve_qp(program)

    upper = jnp.array([1.0, 1.0, 5.0])
    solution = solve(upper)
    np.testing.assert_allclose(solution.x, [0.5, 0.5], atol=1e-12)
    assert bool(solution.degenerate)
    # Each of the two equal rows has half of what a single one would have: the least-squares answer.
    jacobian = jax.jacobian(lambda upper: solve(upper).x)(upper)
    np.testing.assert_allclose(jacobian, [[0.25, 0.25, 0.0], [0.25, 0.25, 0.0]], atol=1e-9)
    assert not bool(solve(jnp.array([1.0, 2.0, 5.0])).degenerate)


def test_a_minimiser_that_is_not_unique_is_told_and_moves_as_little_as_it_can(x64):
    flat = np.outer([1.0, 1.0], [1.0, 1.0])

    def solve(linear):
        return control.solve_qp(control.QuadraticProgram(flat, linear, bounds=(-5.0, 5.0)))

    linear = jnp.array([-1.0, -1.0])
    solution = solve(linear)
    np.testing.assert_allclose(jnp.sum(solution.x), 1.0, atol=1e-12)
    assert bool(solution.degenerate)
    jacobian = jax.jacobian(lambda linear: solve(linear).x)(linear)
    np.testing.assert_allclose(jacobian, -np.linalg.pinv(flat), atol=1e-7)


@pytest.mark.parametrize("precise", [True, False], ids=["float64", "float32"])
def test_ties_are_told_where_the_condition_is_poor_and_ordinary_points_are_not(precise):
    # In single precision points are solved to a residual, and with this condition some are a thousand times that away.
    with jax.enable_x64(precise):
        for tie in (True, False):
            programs = stack([tied(seed, tie=tie) for seed in range(100)])
            solutions = jax.jit(jax.vmap(lambda program: control.solve_qp(program, throw=False)))(programs)
            told = np.asarray(solutions.degenerate)[np.asarray(solutions.solved)]
            assert told.size == 100
            assert told.all() if tie else not told.any()
