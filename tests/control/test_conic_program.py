"""Policies that are cone programs, against CVXPY with Clarabel, and central differences."""

import cvxpy as cp
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mbdl
from mbdl import control, core
from mbdl.control.conic_program import ConicProgram

PRECISE = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), 1e-10)


def second_order():
    u, c = cp.Variable(3, "u"), cp.Parameter(3, "c")
    root, radius = cp.Parameter((3, 3), "root"), cp.Parameter(name="radius", nonneg=True)
    problem = cp.Problem(cp.Minimize(cp.sum_squares(root @ u - c)), [cp.norm(u) <= radius])
    return problem, c, u, {root: np.eye(3) + 0.3 * np.ones((3, 3)), radius: 0.5}


def exponential():
    u, c, scale = cp.Variable(3, "u"), cp.Parameter(3, "c"), cp.Parameter((2, 3), "scale")
    problem = cp.Problem(cp.Minimize(cp.sum_squares(u - c) + cp.log_sum_exp(scale @ u)), [u >= -0.4])
    return problem, c, u, {scale: np.array([[1.0, -0.5, 0.3], [0.2, 1.0, -1.0]])}


def semidefinite():
    u, c, price = cp.Variable((2, 2), "u", PSD=True), cp.Parameter(3, "c"), cp.Parameter(name="price", nonneg=True)
    target = cp.bmat([[c[0], c[1]], [c[1], c[2]]])
    problem = cp.Problem(cp.Minimize(cp.sum_squares(u - target) + price * cp.trace(u)), [u[0, 0] <= 1])
    return problem, c, u, {price: 0.2}


@pytest.mark.parametrize("make", [second_order, exponential, semidefinite])
def test_decisions_are_those_of_cvxpy_and_gradients_those_of_central_differences(make, x64):
    problem, c, decision, values = make()
    policy = control.ConvexPolicy(problem, context=[c], decision=decision, parameters=values)
    assert isinstance(policy.program, ConicProgram)
    xs = jnp.asarray([[1.3, 0.5, -0.7], [0.4, -0.9, 0.8]])
    learned, rest = core.partition(policy)
    weights = jax.random.normal(jax.random.key(0), (len(xs), *decision.shape))

    def total(learned, xs):
        rule = core.resolve(core.combine(learned, rest))
        decided = jax.vmap(lambda x: rule.step(rule.init(), x)[1])(xs)
        return jnp.sum(weights * decided), decided

    total_and_slopes = jax.jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True))
    (_, decided), slopes = total_and_slopes(learned, xs)
    for parameter, value in values.items():
        parameter.value = value
    for x, found in zip(xs, decided, strict=True):
        c.value = np.asarray(x)
        problem.solve(cp.CLARABEL, **PRECISE)
        # Both stop at a gap of 1e-10: the norm in the place of a square leaves its root of the minimiser.
        np.testing.assert_allclose(found, decision.value, atol=1e-5)
    leaves, structure = jax.tree.flatten((learned, xs))
    direction = [jnp.asarray(np.random.default_rng(1).standard_normal(leaf.shape)) for leaf in leaves]
    step = 1e-3

    def along(t):
        return total_and_slopes(*structure.unflatten([a + t * d for a, d in zip(leaves, direction, strict=True)]))[0][0]

    exact = sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(slopes), direction, strict=True))
    # The minimisers' errors, some 1e-6, over 2e-3.
    np.testing.assert_allclose(exact, (along(step) - along(-step)) / (2 * step), atol=2e-3)


def test_a_cone_program_has_a_status_for_each_instance_and_runs_over_time(tmp_path):
    u, c = cp.Variable(2, "u"), cp.Parameter(2, "c")
    problem = cp.Problem(cp.Minimize(cp.sum_squares(u - c)), [cp.norm(u) <= 1, cp.sum(u) >= c[0]])
    policy = control.ConvexPolicy(problem, context=[c], decision=u)
    xs = jnp.asarray([[0.5, 0.2], [3.0, 0.0], [1.0, 1.0]])
    solved = jax.vmap(lambda x: policy.solve(x, throw=False))(xs)
    assert (solved.status == control.QPStatus.solved).tolist() == [True, False, True]
    assert (solved.status == control.QPStatus.infeasible).tolist() == [False, True, False]
    assert jnp.isnan(solved.decision[1]).all()
    assert solved.decision.dtype == jnp.float32
    np.testing.assert_allclose(solved.decision[::2], [[0.5, 0.2], [0.5**0.5, 0.5**0.5]], atol=1e-4)
    slopes = jax.vmap(jax.grad(lambda x: policy.solve(x).decision.sum()))(xs)
    assert jnp.isfinite(slopes).all()
    assert not slopes[1].any()
    with pytest.raises(mbdl.ConvergenceError, match="the program is not solved: no point fulfils the constraints"):
        policy.solve(xs[1])
    with pytest.raises(ValueError, match="first at step 1 of 3. The problem of that context is infeasible"):
        policy(xs)
    assert bool(policy.solve(jnp.full(2, 0.0)).status == control.QPStatus.solved)
    mbdl.save(tmp_path / "policy.mbdl", policy)
    np.testing.assert_array_equal(mbdl.load(tmp_path / "policy.mbdl")(xs[::2]), policy(xs[::2]))
