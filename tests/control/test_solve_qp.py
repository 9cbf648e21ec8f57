"""Solving quadratic programs: against Clarabel, and each instance's status."""

import cvxpy
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from control.programs import SOLVE, batch, draw, stack
from jax.extend.core import jaxprs_in_params

import mbdl
from mbdl import control
from mbdl.control.search import LEAST_WIDTH
from mbdl.control.standard_form import PrimalDual, residual, standard_form


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


KINDS = {
    "bounds": {"equalities": 0, "rows": 0},
    "all constraints": {},
    "singular hessian": {"rank": 3},
    "badly scaled": {"rank": 4, "spread": 2.0},
    "linear": {"rank": 1, "flat": True},
}


@pytest.mark.parametrize("kind", KINDS)
def test_solutions_are_those_of_clarabel(kind, x64):
    for seed in range(5):
        program = draw(seed, **KINDS[kind])
        solution, (x, value) = SOLVE(program), clarabel(program)
        assert bool(solution.solved)
        # Clarabel's own tolerance is what is left.
        np.testing.assert_allclose(solution.x, x, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(program.objective(solution.x), value, rtol=1e-8, atol=1e-8)


def test_multipliers_fulfil_the_optimality_conditions(x64):
    program = draw(0)
    solution = SOLVE(program)
    A, (G, lower, upper) = program.equality[0], program.inequality
    pull = A.T @ solution.equality_multipliers + G.T @ solution.inequality_multipliers + solution.bound_multipliers
    np.testing.assert_allclose(program.hessian @ solution.x + program.linear + pull, 0.0, atol=1e-12)
    for value, multiplier, low, high in (
        (G @ solution.x, solution.inequality_multipliers, lower, upper),
        (solution.x, solution.bound_multipliers, *program.bounds),
    ):
        assert np.all((np.abs(value - high) < 1e-12) | (multiplier <= 0))
        assert np.all((np.abs(value - low) < 1e-12) | (multiplier >= 0))
        assert np.any(multiplier != 0)


def test_each_instance_has_its_status_and_spoils_no_other(x64):
    programs = batch()
    solution = jax.jit(jax.vmap(lambda program: control.solve_qp(program)))(programs)
    names = ("solved", "infeasible", "infeasible", "unbounded", "maximum_reached", "solved")
    for k, name in enumerate(names):
        assert bool((solution.status == getattr(control.QPStatus, name))[k]), k
    assert np.all(np.isnan(solution.x[1:5]))
    assert int(solution.iterations[0]) < 200
    for k in (0, 5):
        np.testing.assert_allclose(solution.x[k], SOLVE(draw(0)).x, atol=1e-12)


def test_what_is_left_of_a_large_batch_is_solved_in_parts(x64):
    """Hard instances beyond the parts' width, badly scaled ones and those without a solution, among easy ones."""
    parts = [batch(), stack([draw(seed, spread=2.0, rank=2) for seed in range(8)]), *[batch()] * 9]
    programs = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
    solutions = jax.jit(jax.vmap(lambda program: control.solve_qp(program, throw=False)))(programs)
    # The first block leaves an infeasible and an unbounded program of each `batch()`: more than one part.
    without = (solutions.status == control.QPStatus.infeasible) | (solutions.status == control.QPStatus.unbounded)
    assert int(jnp.sum(without & (solutions.iterations >= 50))) == 20 > LEAST_WIDTH
    for k in range(len(programs.linear)):
        program, solution = jax.tree.map(lambda leaf, k=k: leaf[k], (programs, solutions))
        alone = SOLVE(program)
        assert bool(alone.status == solution.status)
        assert alone.iterations == solution.iterations
        np.testing.assert_allclose(solution.x, alone.x, rtol=1e-7, atol=1e-9)


def test_an_instance_that_is_not_solved_passes_no_derivative(x64):
    def loss(programs):
        return jnp.sum(jax.vmap(lambda program: control.solve_qp(program).x)(programs) ** 2)

    slopes = jax.jit(jax.grad(loss))(batch())
    for leaf in jax.tree.leaves(slopes):
        np.testing.assert_array_equal(leaf[1:5], 0.0)
        assert np.all(np.isfinite(leaf))
    assert np.any(slopes.linear[0] != 0)
    jax.tree.map(lambda leaf: np.testing.assert_allclose(leaf[0], leaf[5], atol=1e-12), slopes)


@pytest.mark.parametrize(("k", "message"), [(1, "is infeasible"), (3, "is unbounded")])
def test_a_program_without_a_solution_raises(k, message, x64):
    program = jax.tree.map(lambda leaf: leaf[k], batch())
    with pytest.raises(mbdl.ConvergenceError, match=message) as caught:
        control.solve_qp(program)
    assert np.all(np.isnan(caught.value.solution.x))
    assert not bool(control.solve_qp(program, throw=False).solved)


def test_values_that_are_not_finite_raise(x64):
    with pytest.raises(ValueError, match="are not finite; only sides may be infinite"):
        control.solve_qp(jax.tree.map(lambda leaf: leaf[4], batch()))


def test_what_is_not_solved_says_so(x64):
    unfinished = eqx.tree_at(lambda s: s.status, SOLVE(draw(0)), control.QPStatus.maximum_reached)
    with pytest.raises(mbdl.ConvergenceError, match=r"not solved in \d+ iterations"):
        unfinished.check()


def test_a_warm_start_takes_fewer_iterations(x64):
    program = draw(1)
    cold = SOLVE(program)
    near = draw(1, move=1e-2)
    warm = control.solve_qp(near, cold)
    np.testing.assert_allclose(warm.x, SOLVE(near).x, atol=1e-12)
    assert int(warm.iterations) < 10 < int(SOLVE(near).iterations)
    assert np.max(np.abs(warm.x - cold.x)) > 1e-5


def test_what_is_prepared_serves_other_programs(x64):
    prepared = control.prepare(draw(2))
    for program in (draw(2, move=0.1), draw(3)):
        solution = control.solve_qp(program, prepared=prepared)
        np.testing.assert_allclose(solution.x, SOLVE(program).x, atol=1e-11)


def factorisations(jaxpr):
    """How many there are in a program and in all programs that it calls."""
    here = sum(equation.primitive.name == "cholesky" for equation in jaxpr.eqns)
    return here + sum(factorisations(inner) for e in jaxpr.eqns for inner in jaxprs_in_params(e.params))


def test_what_is_prepared_is_not_factored_again():
    def solve(program, prepared=None):
        return control.solve_qp(program, prepared=prepared)

    program = draw(2)
    alone = factorisations(jax.make_jaxpr(solve)(program))
    assert factorisations(jax.make_jaxpr(solve)(program, control.prepare(program))) < alone


def test_single_precision_is_kept():
    program = draw(0)
    solution = SOLVE(program)
    assert {leaf.dtype for leaf in jax.tree.leaves(solution) if jnp.issubdtype(leaf.dtype, jnp.inexact)} == {
        np.dtype("float32")
    }
    assert bool(solution.solved)
    with jax.enable_x64(True):
        exact = SOLVE(draw(0)).x
    # The tolerance in single precision, and a condition of some ten.
    np.testing.assert_allclose(solution.x, exact, atol=1e-4)


def test_sides_that_cross_by_rounding_meet(x64):
    @jax.jit
    def solved(low):
        bounds = (jnp.array([0.0, low]), jnp.array([2.0, 0.0]))
        return control.solve_qp(control.QuadraticProgram(jnp.eye(2), -jnp.ones(2), bounds=bounds), throw=False)

    assert bool(solved(1e-17).status == control.QPStatus.solved)
    np.testing.assert_allclose(solved(1e-17).x, [1.0, 0.0], atol=1e-12)
    assert bool(solved(1e-9).status == control.QPStatus.infeasible)


def test_a_point_that_is_not_finite_is_no_solution_in_a_batch_either(x64):
    """XLA's maximum over the entries of a batch may leave NaN out, which would make a residual of zero of them."""
    size = 60
    sides = -jnp.ones(size), jnp.ones(size)
    form = standard_form(control.QuadraticProgram(jnp.eye(size), jnp.ones(size), bounds=sides))
    solution = PrimalDual(-jnp.ones(size), jnp.zeros(0), jnp.zeros(size))

    def found(factor):
        return residual(form, jax.tree.map(lambda leaf: factor * leaf, solution), jnp.asarray(1e-8))

    errors = jax.jit(jax.vmap(found))(jnp.ones(85).at[::7].set(jnp.nan))
    assert np.all(np.isnan(np.asarray(errors)) == (np.arange(85) % 7 == 0))
    np.testing.assert_allclose(errors[1], 0.0, atol=1e-12)
