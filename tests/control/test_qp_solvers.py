"""Operator splitting and the interior-point method as solvers of the core."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from control.programs import SOLVE, batch, draw

import mbdl
from mbdl import control


def test_both_converge_to_the_solution(x64):
    for seed in range(3):
        program = draw(seed)
        exact = SOLVE(program).x
        interior = control.InteriorPoint(iterations=20)(program, trace=True)
        # Quadratic at the end: from a few digits to nearly all in a few steps.
        assert np.max(np.abs(interior[1] - exact)) > 1e-5
        np.testing.assert_allclose(interior[-1], exact, atol=1e-9)
        splitting = control.OperatorSplitting(iterations=500)(program, trace=True)
        assert np.max(np.abs(splitting[5] - exact)) > 1e-5
        np.testing.assert_allclose(splitting[-1], exact, atol=1e-6)


@pytest.mark.parametrize(
    "solver", [control.OperatorSplitting(), control.InteriorPoint()], ids=lambda s: type(s).__name__
)
def test_solve_has_the_implicit_derivative(solver, x64):
    program = draw(0)

    def by(solve):
        return jax.grad(lambda p: jnp.sum(solve(p) ** 2))(program)

    solution = solver.solve(program, tolerance=1e-9)
    np.testing.assert_allclose(solution.decision, SOLVE(program).x, atol=1e-7)
    ours = by(lambda p: solver.solve(p, tolerance=1e-9).decision)
    exact = by(lambda p: control.solve_qp(p).x)
    # As near as the points are: a tolerance of 1e-9, and a condition of some ten.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-7), ours, exact)


def test_an_unfolded_splitting_learns_its_penalties(x64):
    solver = control.OperatorSplitting(penalty=20.0)
    unfolded = mbdl.unfold(solver, iterations=6, untie=lambda s: (s.penalty, s.relaxation), constraint=mbdl.positive)
    assert mbdl.spectrum(unfolded).learned == 12
    programs = [draw(seed) for seed in range(3)]

    def risk(learned, rest):
        rule = mbdl.core.combine(learned, rest)
        return sum(jnp.sum((rule(program) - exact) ** 2) for program, exact in zip(programs, targets, strict=True))

    targets = [SOLVE(program).x for program in programs]
    learned, rest = mbdl.core.partition(unfolded)
    optimiser = optax.adam(0.2)

    @jax.jit
    def step(learned, state):
        value, slope = jax.value_and_grad(risk)(learned, rest)
        moves, state = optimiser.update(slope, state, learned)
        return optax.apply_updates(learned, moves), state, value

    state = optimiser.init(learned)
    first = risk(learned, rest)
    for _ in range(100):
        learned, state, value = step(learned, state)
    assert float(value) < 0.3 * float(first)


def family(shift):
    """Programs that differ in where they pull."""
    program = draw(0)
    return eqx.tree_at(lambda p: p.linear, program, program.linear + shift)


def test_begins_at_a_given_point(x64):
    program = draw(0)
    exact = SOLVE(program)
    given = control.OperatorSplitting(initial=exact.point, iterations=1)
    np.testing.assert_allclose(given(program), exact.x, atol=1e-9)
    assert np.max(np.abs(control.OperatorSplitting(iterations=1)(program) - exact.x)) > 1e-3


def test_learns_where_to_begin(x64):
    """Of a family of programs, three iterations from the learned point are nearer than three from zero."""
    size = draw(0).variables
    shifts = 0.1 * jax.random.normal(jax.random.key(0), (24, size))
    programs = jax.vmap(family)(shifts)
    exact = jax.vmap(SOLVE)(programs).x
    nothing = jax.tree.map(jnp.zeros_like, SOLVE(draw(0)).point)
    plain = control.OperatorSplitting(initial=nothing, iterations=3)
    learning = mbdl.learn(plain, lambda s: (s.initial.x, s.initial.y, s.initial.w))
    data = jax.tree.map(lambda leaf: leaf[:16], (programs, exact))
    held = jax.tree.map(lambda leaf: leaf[16:], (programs, exact))
    fitted = mbdl.fit(
        learning, mbdl.supervised(data, mbdl.losses.mse), optax.adam(0.05), steps=200, key=jax.random.key(1)
    )

    def error(rule):
        return float(jnp.mean((jax.vmap(rule)(held[0]) - held[1]) ** 2))

    assert error(learning) == pytest.approx(error(control.OperatorSplitting(iterations=3)), rel=1e-9)
    assert error(fitted.rule) < 0.2 * error(learning)


@mbdl.register
class Guess(eqx.Module):
    """A map from what a program pulls at to where its search begins."""

    matrix: jax.Array
    rows: int = eqx.field(static=True)

    def __call__(self, program):
        zeros = jnp.zeros_like(program.linear)
        return control.PrimalDual(self.matrix @ program.linear, jnp.zeros(self.rows, zeros.dtype), zeros)


def test_a_function_of_the_program_says_where_to_begin(x64, tmp_path):
    program = draw(0)
    rows = len(SOLVE(program).point.y)
    solver = control.OperatorSplitting(initial=Guess(jnp.zeros((program.variables,) * 2), rows), iterations=2)
    np.testing.assert_array_equal(solver(program), control.OperatorSplitting(iterations=2)(program))
    learning = mbdl.learn(solver, lambda s: s.initial.matrix)
    slope = jax.grad(lambda rule: jnp.sum(rule(program) ** 2), allow_int=True)(learning)
    assert np.any(np.asarray(slope.initial.matrix.value) != 0)
    mbdl.save(tmp_path / "solver.mbdl", learning)
    np.testing.assert_array_equal(mbdl.load(tmp_path / "solver.mbdl")(program), solver(program))


def test_the_solution_does_not_depend_on_where_it_begins(x64):
    program = draw(0)
    exact = SOLVE(program)
    learning = mbdl.learn(control.OperatorSplitting(initial=exact.point), lambda s: s.initial.x)
    found = learning.solve(program, tolerance=1e-9)
    np.testing.assert_allclose(found.decision, exact.x, atol=1e-7)
    assert found.iterations < control.OperatorSplitting().solve(program, tolerance=1e-9).iterations
    with pytest.raises(Exception, match="run a fixed depth"):
        jax.grad(lambda rule: jnp.sum(rule.solve(program).decision), allow_int=True)(learning)


def test_a_multiplier_of_a_side_that_is_not_there_counts_as_zero(x64):
    """Its penalty is tiny, so that it would throw the first iterations far off."""
    free = control.QuadraticProgram(jnp.eye(2), jnp.array([-1.0, 2.0]), bounds=(-jnp.inf, jnp.array([jnp.inf, 5.0])))
    x = jnp.array([1.0, -2.0])
    for w in (jnp.array([1.0, -1.0]), jnp.array([-1.0, 0.0])):
        given = control.OperatorSplitting(initial=control.PrimalDual(x, jnp.zeros(0), w), iterations=1)
        np.testing.assert_allclose(given(free), x, atol=1e-6)


def test_a_first_point_that_does_not_fit_raises():
    program = draw(0)
    point = SOLVE(program).point
    with pytest.raises(ValueError, match="OperatorSplitting: x of the first point must be finite"):
        control.OperatorSplitting(initial=control.PrimalDual(jnp.nan * point.x, point.y, point.w))
    with pytest.raises(TypeError, match=r"expected initial to be a control.PrimalDual.*got float"):
        control.OperatorSplitting(initial=0.5)
    with pytest.raises(ValueError, match=r"x of the first point has shape \(2,\); the program's has"):
        control.OperatorSplitting(initial=control.PrimalDual(jnp.zeros(2), point.y, point.w))(program)
    with pytest.raises(TypeError, match=r"expected the function `initial` to return a control.PrimalDual, got"):
        control.OperatorSplitting(initial=lambda program: program.linear)(program)


def test_the_iterates_stay_within_the_bounds(x64):
    program = draw(1)
    low, high = program.bounds
    for x in control.OperatorSplitting(iterations=3)(program, trace=True):
        assert np.all((x >= low) & (x <= high))


def test_bad_settings_raise():
    with pytest.raises(ValueError, match="the penalty must be positive"):
        control.OperatorSplitting(penalty=0.0)
    with pytest.raises(ValueError, match="expected a relaxation between 0 and 2, got 2"):
        control.OperatorSplitting(relaxation=2.0)
    with pytest.raises(ValueError, match="expected a fraction between 0 and 1, got 1"):
        control.InteriorPoint(fraction=1.0)


BOTH = pytest.mark.parametrize(
    "solver", [control.OperatorSplitting(), control.InteriorPoint()], ids=lambda s: type(s).__name__
)


@BOTH
@pytest.mark.parametrize("precise", [True, False], ids=["float64", "float32"])
def test_solve_has_a_status_for_each_instance_and_no_derivative_without_a_solution(solver, precise):
    with jax.enable_x64(precise):
        tolerance = 1e-8 if precise else 3e-4

        def solve(program):
            return solver.solve(program, tolerance=tolerance, maximum=2000, throw=False)

        def loss(programs):
            found = jax.vmap(solve)(programs)
            return jnp.sum(found.decision**2), found

        slopes, found = jax.jit(jax.grad(loss, has_aux=True))(batch())
        names = ("converged", "infeasible", "infeasible", "unbounded", "diverged", "converged")
        for k, name in enumerate(names):
            assert bool((found.status == getattr(mbdl.Status, name))[k]), k
        assert np.all(np.isnan(found.decision[1:4]))
        # Not after the two thousand iterations that there may be.
        assert np.all(found.iterations[1:4] <= 64)
        for k in (0, 5):
            np.testing.assert_allclose(found.decision[k], SOLVE(draw(0)).x, atol=10 * tolerance)
        for leaf in jax.tree.leaves(slopes):
            np.testing.assert_array_equal(leaf[1:4], 0.0)
            assert np.all(np.isfinite(leaf[jnp.array([0, 5])]))
        assert np.any(slopes.linear[0] != 0)


@BOTH
def test_a_program_without_a_solution_raises_what_it_is(solver, x64):
    for k, message in ((1, "the problem is infeasible: no decision"), (3, "the problem is unbounded: its objective")):
        program = jax.tree.map(lambda leaf, k=k: leaf[k], batch())
        with pytest.raises(mbdl.ConvergenceError, match=rf"{type(solver).__name__}\.solve: {message}") as caught:
            solver.solve(program)
        assert np.all(np.isnan(caught.value.solution.decision))


@BOTH
@pytest.mark.parametrize("precise", [True, False], ids=["float64", "float32"])
def test_a_derivative_that_is_one_of_several_is_told(solver, precise):
    # x = clip(-2 q, ., 1): at q = -0.5 the derivatives from the two sides are -2 and 0.
    with jax.enable_x64(precise):

        def degenerate(q):
            program = control.QuadraticProgram(jnp.diag(jnp.array([0.5, 1.0])), jnp.array([q, 0.2]), bounds=(-5.0, 1.0))
            found = solver.solve(program, tolerance=1e-6 if precise else 1e-4, throw=False)
            assert found.degenerate is not None
            return found.degenerate & (found.status == mbdl.Status.converged)

        told = jax.jit(jax.vmap(degenerate))(jnp.array([-0.5, -0.6, -0.4]))
        assert told.tolist() == [True, False, False]
