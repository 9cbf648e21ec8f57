"""Solving quadratic programs, against Clarabel, the exact solution on the active set and central differences."""

import cvxpy
import jax
import numpy as np
import pytest

from mbdl import control


def clarabel(program):
    """The minimiser and the least value, by another method."""
    x = cvxpy.Variable(program.variables)
    constraints = []
    if program.equality is not None:
        matrix, value = map(np.asarray, program.equality)
        constraints.append(matrix @ x == value)
    rows = [] if program.inequality is None else [tuple(map(np.asarray, program.inequality))]
    rows += [] if program.bounds is None else [(np.eye(program.variables), *map(np.asarray, program.bounds))]
    for matrix, lower, upper in rows:
        for sign, side in ((1, upper), (-1, -lower)):
            there = np.isfinite(side)
            if there.any():
                constraints.append(sign * matrix[there] @ x <= side[there])
    value = 0.5 * cvxpy.quad_form(x, cvxpy.psd_wrap(np.asarray(program.hessian))) + np.asarray(program.linear) @ x
    problem = cvxpy.Problem(cvxpy.Minimize(value), constraints)
    precision = {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-12}
    problem.solve(solver="CLARABEL", **precision)
    return x.value, problem.value


def draw(seed, variables, *, equalities=0, rows=0, rank=None, spread=0.0, bounds=True):
    """A feasible program; `spread` is the standard deviation of the logarithms of its scales."""
    rng = np.random.default_rng(seed)
    scales = lambda n: np.exp(spread * rng.standard_normal(n))  # noqa: E731
    root = rng.standard_normal((variables, rank or variables)) * scales(variables)[:, None]
    inside = 0.3 * rng.standard_normal(variables)
    A, G = rng.standard_normal((equalities, variables)), rng.standard_normal((rows, variables)) * scales(rows)[:, None]
    upper = np.where(rng.random(rows) < 0.3, np.inf, G @ inside + 0.1)
    return control.QuadraticProgram(
        root @ root.T,
        rng.standard_normal(variables) * scales(variables),
        equality=(A, A @ inside) if equalities else None,
        inequality=(G, G @ inside - scales(rows), upper) if rows else None,
        bounds=(inside - 1.0, inside + 0.5) if bounds else None,
    )


KINDS = {
    "bounds": {"variables": 5},
    "all constraints": {"variables": 10, "equalities": 3, "rows": 8, "rank": 6},
    "badly scaled": {"variables": 10, "equalities": 3, "rows": 8, "rank": 6, "spread": 2.0},
    "rows alone": {"variables": 6, "rows": 12, "bounds": False},
}


@pytest.mark.parametrize("kind", KINDS)
def test_solutions_are_those_of_clarabel(kind, x64):
    solve = jax.jit(lambda program: control.solve_qp(program, throw=False))
    for seed in range(4):
        program = draw(seed, **KINDS[kind])
        solution, (x, value) = solve(program), clarabel(program)
        assert bool(solution.solved)
        # Clarabel's own tolerance is what is left.
        np.testing.assert_allclose(solution.x, x, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(program.objective(solution.x), value, rtol=1e-8, atol=1e-8)


def stationarity(program, solution):
    gradient = program.hessian @ solution.x + program.linear + solution.bound_multipliers
    if program.equality is not None:
        gradient += program.equality[0].T @ solution.equality_multipliers
    if program.inequality is not None:
        gradient += program.inequality[0].T @ solution.inequality_multipliers
    return gradient


def test_multipliers_fulfil_the_optimality_conditions(x64):
    program = draw(0, **KINDS["all constraints"])
    solution = control.solve_qp(program)
    np.testing.assert_allclose(stationarity(program, solution), 0.0, atol=1e-12)
    G, lower, upper = program.inequality
    values, multipliers = G @ solution.x, solution.inequality_multipliers
    assert np.all((np.abs(values - upper) < 1e-12) | (multipliers <= 0))
    assert np.all((np.abs(values - lower) < 1e-12) | (multipliers >= 0))
    assert np.any(multipliers != 0)
