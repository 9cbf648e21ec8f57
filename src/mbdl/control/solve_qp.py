"""Solving a quadratic program to high accuracy, with a status and a derivative for each instance of a batch."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from mbdl.core.leaves import is_concrete

from .active_set import active_at
from .degenerate import is_degenerate
from .found import INFEASIBLE, SOLVED, UNBOUNDED
from .implicit import implicit
from .prepared import Prepared, prepare
from .qp_solution import QPSolution, QPStatus
from .quadratic_program import QuadraticProgram
from .search import search
from .standard_form import PrimalDual, origin, standard_form


def solve_qp(
    program: QuadraticProgram,
    warm_start: QPSolution | None = None,
    *,
    prepared: Prepared | None = None,
    tolerance: float | None = None,
    throw: bool = True,
) -> QPSolution:
    r"""Solve a quadratic program, alone or, under `jax.vmap`, in a batch that is as fast as its instances allow.

    The program is equilibrated. A block of over-relaxed operator splitting finds the active set, on which the
    optimality conditions are solved exactly; that is repeated, with balanced penalties, where the set was not right,
    and what is left after three blocks goes to an interior-point method. Of a batch, only what the first block leaves
    goes on, in smaller batches of its own: a few hard instances do not keep the others. An instance that is infeasible,
    unbounded or not finite leaves the others as they are.

    Args:
        program: what to solve, without batch axes; apply `jax.vmap` to a batch.
        warm_start: the solution of a program of the same sizes that is near, such as that of the step before; its
            active set is tried first.
        prepared: from `prepare`, where programs share their matrices.
        tolerance: the largest relative residual of the optimality conditions; by default the precision of the dtype
            to the power 0.6 (4e-10 in float64, 7e-5 in float32). Solutions on an active set are exact to rounding.
        throw: raise when it is not solved; otherwise the status says so. Under a transformation nothing raises.

    Returns:
        a `QPSolution`; under `jax.vmap` one status for each instance.

    Raises:
        ConvergenceError: (with `throw`) for a program that is infeasible, unbounded or not solved.
        ValueError: for values that are not finite.

    Differentiable in: the program, forwards and backwards and more than once, by the optimality conditions on the
    active set. Where the solution has no derivative (`degenerate`) it is that of one of the active sets that hold,
    of least norm where the conditions are singular. An instance that is not solved passes no derivative: zero.

    Source: operator splitting and polishing as in B. Stellato et al., "OSQP: an operator splitting solver for
    quadratic programs", Math. Prog. Comp. 12, 2020; implicit derivatives as in B. Amos and J. Z. Kolter, "OptNet",
    ICML 2017.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from mbdl import control
    >>> def closest(target):  # in the unit box
    ...     program = control.QuadraticProgram(jnp.eye(2), -target, bounds=(-1.0, 1.0))
    ...     return control.solve_qp(program).x
    >>> target = jnp.array([0.5, 3.0])
    >>> closest(target).tolist()
    [0.5, 1.0]
    >>> jax.jacobian(closest)(target).round(4).tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    solution, valid = _solve(program, warm_start, prepared, tolerance)
    if all(map(is_concrete, jax.tree.leaves((program, solution)))):
        if not bool(valid):
            raise ValueError("solve_qp: some values of the program are not finite; only sides may be infinite")
        if throw:
            solution.check()
    return solution


@eqx.filter_jit
def _solve(
    program: QuadraticProgram, warm_start: QPSolution | None, prepared: Prepared | None, tolerance: Any
) -> tuple[QPSolution, Array]:
    dtype = program.linear.dtype
    tolerance = jnp.asarray(float(jnp.finfo(dtype).eps) ** 0.6 if tolerance is None else tolerance, dtype)
    form = standard_form(program)
    prepared = jax.lax.stop_gradient(prepare(program) if prepared is None else prepared)
    scaling = prepared.scaling
    scaled = scaling.form(jax.lax.stop_gradient(form))
    start = scaling.scaled(_start(program, warm_start))
    found = search(scaled, start, warm_start is not None, prepared.penalties, prepared.inverse, tolerance)
    solved = found.code == SOLVED
    active = active_at(scaled, found.point)
    point = scaling.point(found.point)
    point = implicit(form, jax.tree.map(lambda a: jnp.where(solved, a, 0.0), point), scaling, active, solved)
    exists = (found.code != INFEASIBLE) & (found.code != UNBOUNDED) & program.valid()
    point = jax.tree.map(
        lambda kept, best: jnp.where(solved, kept, jnp.where(exists, best, jnp.nan)),
        point,
        jax.lax.stop_gradient(scaling.point(found.point)),
    )
    status = QPStatus.where(solved, QPStatus.solved, QPStatus.maximum_reached)
    status = QPStatus.where(found.code == INFEASIBLE, QPStatus.infeasible, status)
    status = QPStatus.where(found.code == UNBOUNDED, QPStatus.unbounded, status)
    equalities = 0 if program.equality is None else program.equality[1].shape[0]
    solution = QPSolution(
        point.x,
        point.y[:equalities],
        point.y[equalities:],
        point.w,
        status,
        found.steps,
        found.error,
        solved & is_degenerate(scaled, active, found.point, found.error),
    )
    return solution, program.valid()


def _start(program: QuadraticProgram, warm_start: QPSolution | None) -> PrimalDual:
    """The point of a warm start, where that is finite, else zero."""
    if warm_start is None:
        return origin(standard_form(program))
    point = jax.lax.stop_gradient(warm_start.point)
    return jax.tree.map(lambda a: jnp.where(jnp.isfinite(a), a, 0.0), point)
