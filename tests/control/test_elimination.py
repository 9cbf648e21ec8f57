"""Problems of CVXPY as affine maps, and what is left of them after elimination, against Clarabel."""

from types import SimpleNamespace

import cvxpy as cp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from control.cvxpy_problems import PRECISE, PROBLEMS

from mbdl.control.affine_map import affine
from mbdl.control.arrangement import quadratic_family
from mbdl.control.canonical import canonical
from mbdl.control.elimination import eliminate

# Variables, two-sided inequalities, and whether the matrices of a program do not depend on the context.
LEFT = {
    "clipped_regulator": (2, 0, True),
    "supply_chain": (8, 6, True),
    "portfolio": (36, 37, True),
    "vehicle": (2, 0, False),
}


def vectors(problem, context, values, draws):
    """Random values of the parameters and the context, which are set in CVXPY as well."""
    for parameter, value in values.items():
        parameter.value = value + 0.1 * draws.standard_normal(np.shape(value))
    parts = [
        [jnp.ravel(p.value)[e.index] for p, e in zip(ps, es, strict=True)]
        for ps, es in ((values, problem.parameters), (context, problem.context))
    ]
    return [jnp.concatenate(part) for part in parts]


def by_clarabel(program):
    """The minimiser of a quadratic program by another solver."""
    z = cp.Variable(program.linear.shape[0])
    constraints = []
    if program.equality is not None:
        constraints.append(program.equality[0] @ z == program.equality[1])
    sides = [] if program.inequality is None else [program.inequality]
    sides += [] if program.bounds is None else [(np.eye(z.size), *program.bounds)]
    for matrix, lower, upper in sides:
        below, above = np.isfinite(lower), np.isfinite(upper)
        constraints += [np.asarray(matrix)[below] @ z >= np.asarray(lower)[below]]
        constraints += [np.asarray(matrix)[above] @ z <= np.asarray(upper)[above]]
    cost = 0.5 * cp.quad_form(z, cp.psd_wrap(np.asarray(program.hessian))) + np.asarray(program.linear) @ z
    cp.Problem(cp.Minimize(cost), constraints).solve(cp.CLARABEL, **PRECISE)
    return z.value


@pytest.mark.parametrize("name", PROBLEMS)
def test_what_is_left_has_the_same_solution(name, x64):
    problem, context, decision, values, draw = PROBLEMS[name]()
    extracted = canonical(problem, context, decision, list(values))
    program = quadratic_family(extracted, jnp.float64)
    assert (program.left, program.general_lower.shape[1], program.fixed_matrices) == LEFT[name]
    assert program.equalities == 0
    draws = np.random.default_rng(0)
    reduce, at = jax.jit(type(program).reduced), jax.jit(type(program).at)
    back = jax.jit(lambda program, p, c, left: program.variables(p, c, SimpleNamespace(x=left)))
    for _ in range(3):
        for parameter, value in zip(context, draw(draws), strict=True):
            parameter.value = value
        p, c = vectors(extracted, context, values, draws)
        reduced = reduce(program, p, None if program.fixed_matrices else c)
        left = by_clarabel(at(program, reduced, c))
        problem.solve(cp.CLARABEL, **PRECISE)
        decided = reduced.decision @ left + affine(reduced.decision_offset, c)
        np.testing.assert_allclose(decided, decision.value.ravel(), atol=1e-8)
        everything = back(program, p, c, left)
        for entries, variable in zip(extracted.variables, problem.variables(), strict=True):
            np.testing.assert_allclose(entries.value(everything), variable.value, atol=1e-8)


def test_variables_and_parameters_with_structure_are_extracted(x64):
    """A symmetric, a diagonal and a nonnegative variable; a symmetric and a diagonal parameter."""
    draws = np.random.default_rng(0)
    S, D = cp.Variable((2, 2), "S", symmetric=True), cp.Variable((3, 3), "D", diag=True)
    v, w = cp.Variable((2, 3), "v", nonneg=True), cp.Variable(2, "w", bounds=[-0.3, 0.2])
    P, E = cp.Parameter((2, 2), "P", symmetric=True), cp.Parameter((3, 3), "E", diag=True)
    c = cp.Parameter((2, 3), "c")
    cost = cp.sum_squares(S - P) + cp.sum_squares(D - E) + cp.sum_squares(v - c) + cp.sum_squares(w - c[:, 0])
    problem = cp.Problem(cp.Minimize(cost), [S[0, 1] >= 0.1, cp.sum(v) == 1 + w[0]])
    P.value = np.array([[1.0, -0.4], [-0.4, 2.0]])
    E.value, c.value = np.diag(draws.standard_normal(3)), draws.standard_normal((2, 3))
    problem.solve(cp.CLARABEL, **PRECISE)
    for decision in (S, D, v, w):
        extracted = canonical(problem, [c], decision, [P, E])
        assert [entries.index.size for entries in extracted.parameters] == [3, 3]
        program = quadratic_family(extracted, jnp.float64)
        assert program.left == 3 + 3 + 6 + 2 - 1
        p = jnp.concatenate([extracted.parameters[0].numbers(P.value), extracted.parameters[1].numbers(E.value)])
        context = extracted.context[0].numbers(c.value)
        reduced = program.reduced(p)
        decided = reduced.decision @ by_clarabel(program.at(reduced, context)) + affine(
            reduced.decision_offset, context
        )
        value = decision.value.toarray() if decision is D else decision.value
        np.testing.assert_allclose(decided.reshape(decision.shape), value, atol=1e-7)


def test_a_bounded_norm_becomes_bounds_and_opposite_inequalities_two_sided_ones():
    u, c = cp.Variable(2, "u"), cp.Parameter(2, "c")
    constraints = [
        cp.norm(u, "inf") <= 0.1,
        cp.abs(u[0] - 2 * u[1]) <= c[0],
        u[0] - 2 * u[1] <= 4,
        u[0] - 2 * u[1] <= 3,
    ]
    problem = cp.Problem(cp.Minimize(cp.sum_squares(u)), constraints)
    left = eliminate(canonical(problem, [c], u, []))
    assert [variable for _, variable in left.pivots] == [v for v in range(4) if v not in left.kept]
    assert len(left.kept) == 2
    assert [(len(lower), len(upper)) for lower, upper in left.bounds] == [(1, 1), (1, 1)]
    # From above c and 3, which does without 4; from below -c.
    assert sorted(sum(map(len, pair)) for pair in left.general) == [3]
    program = quadratic_family(canonical(problem, [c], u, []), jnp.float32)
    for first, sides in ((2.5, (-2.5, 2.5)), (3.5, (-3.5, 3.0))):
        _, *found = program.at(program.reduced(jnp.zeros(0)), jnp.array([first, 0.0])).inequality
        assert sorted(np.abs(np.ravel(found))) == sorted(map(abs, sides))


def test_a_variable_without_cost_between_two_inequalities_on_either_side_is_kept(x64):
    u, t, c = cp.Variable(2, "u"), cp.Variable(name="t"), cp.Parameter(2, "c")
    constraints = [u[0] <= t, -u[0] <= t, t <= c[0], t + u[1] <= 1]
    problem = cp.Problem(cp.Minimize(cp.sum_squares(u - 2) + cp.sum_squares(u[0] + c[1])), constraints)
    program = quadratic_family(canonical(problem, [c], u, []), jnp.float64)
    assert program.left == 3
    for values in ([0.4, -1.0], [3.0, -0.5], [3.0, 5.0]):
        c.value = np.array(values)
        problem.solve(cp.CLARABEL, **PRECISE)
        reduced = program.reduced(jnp.zeros(0))
        decided = reduced.decision @ by_clarabel(program.at(reduced, jnp.asarray(values)))
        np.testing.assert_allclose(decided, u.value, atol=1e-7)


def test_equalities_whose_coefficients_are_parameters_are_kept(x64):
    u, c, a = cp.Variable(3, "u"), cp.Parameter(3, "c"), cp.Parameter(3, "a")
    problem = cp.Problem(cp.Minimize(cp.sum_squares(u - c)), [a @ u == 1])
    program = quadratic_family(canonical(problem, [c], u, [a]), jnp.float64)
    assert (program.left, program.equalities) == (3, 1)
    a_, c_ = jnp.array([1.0, 2.0, 2.0]), jnp.array([0.5, -1.0, 3.0])
    program = program.at(program.reduced(a_), c_)
    np.testing.assert_allclose(by_clarabel(program), c_ + a_ * (1 - a_ @ c_) / 9, atol=1e-8)


def test_an_equality_that_repeats_another_is_no_error_and_one_that_contradicts_is():
    u, c = cp.Variable(2, "u"), cp.Parameter(2, "c")
    cost = cp.Minimize(cp.sum_squares(u - c))
    same = cp.Problem(cost, [u[0] + u[1] == c[0], 2 * u[0] + 2 * u[1] == 2 * c[0]])
    left = eliminate(canonical(same, [c], u, []))
    assert (len(left.kept), left.equalities) == (1, [])
    w = cp.Variable(4, "w")
    rows = np.array([[1.0, 1.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0], [1.0, 2.0, 1.0, 0.0]])
    sums = [rows[0] @ w == c[0], rows[1] @ w == c[1], rows[2] @ w == c[0] + c[1]]
    assert len(eliminate(canonical(cp.Problem(cp.Minimize(cp.sum_squares(w)), sums), [c], w, [])).kept) == 2
    with pytest.raises(ValueError, match="the equality constraints of the problem depend on each other"):
        eliminate(canonical(cp.Problem(cost, [u[0] == c[0], u[0] == c[1]]), [c], u, []))
    with pytest.raises(ValueError, match="determine all variables, so that nothing is left to decide"):
        eliminate(canonical(cp.Problem(cost, [u == c]), [c], u, []))
    with pytest.raises(ValueError, match="a constraint of the problem holds for no value of its variables"):
        eliminate(canonical(cp.Problem(cost, [u[0] - u[0] <= -1, u[1] - u[1] <= 1]), [c], u, []))


def test_a_long_horizon_is_condensed_without_loss_of_accuracy(x64):
    """Of the pivots with the least fill some go against time: the hessian of what was left had a condition of 5e8."""
    draws = np.random.default_rng(0)
    states, inputs, horizon = 8, 2, 20
    A, B = draws.standard_normal((states, states)), draws.standard_normal((states, inputs))
    A /= np.abs(np.linalg.eigvals(A)).max()
    x, u = cp.Parameter(states, "x"), cp.Variable(inputs, "u")
    X, U = cp.Variable((states, horizon + 1), "X"), cp.Variable((inputs, horizon), "U")
    moved = [X[:, 0] == x, X[:, 1:] == A @ X[:, :-1] + B @ U, u == U[:, 0]]
    problem = cp.Problem(cp.Minimize(cp.sum_squares(X) + cp.sum_squares(U)), [*moved, cp.abs(U) <= 0.5])
    program = quadratic_family(canonical(problem, [x], u, []), jnp.float64)
    assert program.left == inputs * horizon
    x.value = 0.5 * draws.standard_normal(states)
    problem.solve(cp.CLARABEL, **PRECISE)
    reduced = program.reduced(jnp.zeros(0))
    assert np.linalg.cond(reduced.hessian) < 1e3
    decided = reduced.decision @ by_clarabel(program.at(reduced, jnp.asarray(x.value)))
    np.testing.assert_allclose(decided + affine(reduced.decision_offset, jnp.asarray(x.value)), u.value, atol=1e-7)
