"""Operator splitting and the interior-point method as solvers of the core."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from control.programs import SOLVE, draw

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
