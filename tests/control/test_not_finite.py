"""What is not a number in some instances of a batch: they say so, and spoil no other.

The sizes are those at which XLA's maximum over the entries of a batch, on a processor, leaves NaN out.
"""

import cvxpy
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from control.programs import stack

import mbdl
from mbdl import control, tracking
from mbdl.control.standard_form import PrimalDual, residual, standard_form

SIZE, COUNT = 60, 85
BAD = np.arange(COUNT) % 7 == 3


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def draw(seed):
    """A feasible program with every kind of constraint, whose condition is some ten."""
    rng = np.random.default_rng(seed)
    root, inside = rng.standard_normal((SIZE, SIZE)), 0.3 * rng.standard_normal(SIZE)
    A, G = rng.standard_normal((2, SIZE)), rng.standard_normal((4, SIZE))
    return control.QuadraticProgram(
        np.eye(SIZE) + root @ root.T / SIZE,
        rng.standard_normal(SIZE),
        equality=(A, A @ inside),
        inequality=(G, G @ inside - 1.0, G @ inside + 0.1),
        bounds=(inside - 1.0, inside + 0.5),
    )


def spoilt(program, part):
    """A program with one NaN in one of its matrices or vectors."""
    leaves, structure = jax.tree.flatten(program)
    leaves[part] = leaves[part].at[(1,) * leaves[part].ndim].set(jnp.nan)
    return structure.unflatten(leaves)


SOLVERS = {
    "InteriorPoint": lambda program: control.InteriorPoint().solve(program, maximum=100, throw=False),
    "OperatorSplitting": lambda program: control.OperatorSplitting().solve(program, maximum=1000, throw=False),
    "solve_qp": lambda program: control.solve_qp(program, throw=False),
}


@pytest.mark.parametrize("name", SOLVERS)
def test_a_program_that_is_not_finite_in_any_part_is_not_solved_and_spoils_no_other(name):
    solve = SOLVERS[name]
    clean = [draw(seed) for seed in range(COUNT)]
    parts = len(jax.tree.leaves(clean[0]))
    spoilers = dict(zip(np.flatnonzero(BAD), np.arange(BAD.sum()) % parts, strict=True))
    assert set(spoilers.values()) == set(range(parts))
    batch = stack([spoilt(p, spoilers[k]) if k in spoilers else p for k, p in enumerate(clean)])
    found = jax.jit(jax.vmap(solve))(batch)
    if name == "solve_qp":
        x, solved, bad = found.x, found.status == control.QPStatus.solved, control.QPStatus.maximum_reached
    else:
        x, solved, bad = found.decision, found.status == mbdl.Status.converged, mbdl.Status.diverged
    np.testing.assert_array_equal(solved, ~BAD)
    assert np.all((found.status == bad)[BAD])
    assert np.all(np.isnan(x[BAD]))
    for k in (0, 4, COUNT - 1):
        alone = solve(clean[k])
        # To rounding, which a thousand steps gather.
        np.testing.assert_allclose(x[k], alone.x if name == "solve_qp" else alone.decision, rtol=0, atol=1e-9)
        assert found.iterations[k] == alone.iterations


@pytest.mark.parametrize("part", ["linear", "side"])
def test_no_residual_is_told_of_a_form_that_is_not_finite(part):
    program = control.QuadraticProgram(np.eye(SIZE), np.ones(SIZE), bounds=(-np.ones(SIZE), np.ones(SIZE)))
    solution = PrimalDual(-jnp.ones(SIZE), jnp.zeros(0), jnp.zeros(SIZE))

    def found(value):
        form, spoil = standard_form(program), jnp.full(SIZE, value)
        linear, high = (form.linear + spoil, form.high) if part == "linear" else (form.linear, form.high + spoil)
        form = type(form)(form.hessian, linear, form.matrix, form.lower, form.upper, form.low, high)
        return residual(form, solution, jnp.asarray(1e-8))

    errors = jax.jit(jax.vmap(found))(jnp.where(BAD, jnp.nan, 0.0))
    np.testing.assert_array_equal(np.isnan(errors), BAD)
    np.testing.assert_allclose(errors[~BAD], 0.0, atol=1e-12)


def test_a_side_that_is_not_a_number_proves_nothing():
    """The objective falls for ever without the bound that is NaN."""

    def status(side):
        program = control.QuadraticProgram(jnp.zeros((2, 2)), jnp.array([-1.0, 0.0]), bounds=(-1.0, jnp.full(2, side)))
        return control.InteriorPoint().solve(program, maximum=50, throw=False).status

    told = jax.jit(jax.vmap(status))(jnp.array([jnp.nan, jnp.inf]))
    assert bool((told == mbdl.Status.diverged)[0])
    assert bool((told == mbdl.Status.unbounded)[1])


def test_a_policy_does_not_overlook_a_limit_that_is_not_a_number():
    """All limits on its control are given by the context."""
    most, u = cvxpy.Parameter(SIZE, "most"), cvxpy.Variable(1, "u")
    problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(u - 3.0)), [u <= most])
    policy = control.ConvexPolicy(problem, context=[most], decision=u)
    limits = np.linspace(1.0, 2.0, SIZE) * np.ones((COUNT, 1))
    limits[BAD, 1] = np.nan
    controls = jax.jit(jax.vmap(lambda most: policy(most[None])[0]))(limits)
    np.testing.assert_array_equal(np.isnan(controls[:, 0]), BAD)
    np.testing.assert_allclose(controls[~BAD], 1.0, atol=1e-9)


@pytest.mark.parametrize("interval", ["state", "control"])
def test_a_stage_that_is_not_a_number_has_no_violation(interval):
    limits = control.Constraints(**{interval: (-1.0, 1.0)})
    values = jnp.where(BAD[:, None], jnp.nan, 1.5 * jnp.ones((COUNT, SIZE)))
    time = jnp.asarray(0)

    def violation(value):
        return limits.violation(control.Stage(jnp.zeros(SIZE), value, value, time))

    broken = jax.jit(jax.vmap(violation))(values)
    np.testing.assert_array_equal(np.isnan(broken), BAD)
    np.testing.assert_allclose(broken[~BAD], 0.5)
    assert np.isnan(control.Constraints().violation(control.Stage(values[3], values[0], values[0], time)))


@pytest.mark.parametrize("which", ["transition", "seen", "noise", "observation noise"])
def test_a_riccati_equation_that_is_not_a_number_has_no_solution(which):
    size = 8
    parts = [jnp.zeros((size, size)), jnp.eye(size)[:2], jnp.eye(size), jnp.eye(2)]
    spoil = ["transition", "seen", "noise", "observation noise"].index(which)

    def solution(value):
        spoilt = [part + value if k == spoil else part for k, part in enumerate(parts)]
        return tracking.stabilising_solution(*spoilt)

    found = jax.jit(jax.vmap(solution))(jnp.where(BAD, jnp.nan, 0.0))
    np.testing.assert_array_equal(np.isnan(found).all(axis=(1, 2)), BAD)
    np.testing.assert_allclose(found[~BAD], np.broadcast_to(np.eye(size), (np.sum(~BAD), size, size)), atol=1e-12)
