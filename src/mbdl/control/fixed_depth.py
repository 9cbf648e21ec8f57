"""A fixed number of iterations of a solver on one program after another."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mbdl.core import IterativeSolver, layers, loop

from .certificates import crossed
from .operator_splitting import OperatorSplitting, SplittingState
from .program_solution import ProgramSolution
from .qp_solution import QPStatus
from .quadratic_program import QuadraticProgram
from .standard_form import standard_form


def first_state(solver: IterativeSolver, program: QuadraticProgram) -> Any:
    """The state of a solver before its first program."""
    values, at = layers.split(solver, solver.iterations)
    return at(layers.take(values, 0)).init(program)


def starting_state(solver: IterativeSolver, program: QuadraticProgram, previous: Any, same_matrices: bool) -> Any:
    """The state from which a solver begins a program, given where it ended the one before.

    Operator splitting goes on from there, with its factor where the matrices are the same. An interior-point method
    begins anew: where it ended there is no interior.
    """
    if not isinstance(solver, OperatorSplitting):
        return first_state(solver, program)
    if same_matrices:
        return previous
    anew: SplittingState = first_state(solver, program)
    return SplittingState(previous.split, anew.basis, anew.eigenvalues)


def iterated(solver: IterativeSolver, state: Any, program: QuadraticProgram) -> tuple[Any, ProgramSolution]:
    """The state after the solver's layers, and the decision of the last one.

    The status says that the program is solved where the residual is as small as `solve_qp` asks for. A program whose
    sides contradict each other is infeasible: the decision is NaN, passes no derivative, and the state stays. Nothing
    else is proven: the certificates of `solve` cost more than many iterations.
    """
    contradictory = crossed(standard_form(program))
    # A program of zeros stands in for it, so that nothing non-finite enters the derivative.
    program = jax.tree.map(lambda leaf: jnp.where(contradictory, 0.0, leaf), program)
    first = state
    values, at = layers.split(solver, solver.iterations)

    def layer(states: tuple[Any, Any], values: Any) -> tuple[tuple[Any, Any], None]:
        return (at(values).advance(states[0], program), states[0]), None

    (state, before), _ = loop(
        layer, (state, state), values, length=solver.iterations, rematerialise=solver.rematerialise
    )
    last = at(layers.take(values, -1))
    residual: Float[Array, ""] = last.residual(before, state, program)
    solved = residual <= float(jnp.finfo(residual.dtype).eps) ** 0.6
    status = QPStatus.where(solved, QPStatus.solved, QPStatus.maximum_reached)
    status = QPStatus.where(contradictory, QPStatus.infeasible, status)
    decision = jnp.where(contradictory, jnp.nan, last.decision(state))
    state = jax.tree.map(lambda old, new: jnp.where(contradictory, old, new), first, state)
    return state, ProgramSolution(decision, status)


def finite_or(tree: Any, otherwise: Any) -> Any:
    """The numbers of a tree where they are finite, else those of another."""
    return jax.tree.map(
        lambda new, old: jnp.where(jnp.isfinite(new), new, old) if eqx.is_inexact_array(new) else new, tree, otherwise
    )
