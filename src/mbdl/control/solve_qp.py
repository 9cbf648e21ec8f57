"""Solving a quadratic program to high accuracy, with a status and a derivative for each instance of a batch."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from mbdl.core.leaves import is_concrete

from .active_set import Factor, active_at, solution_on
from .equilibration import Scaling, equilibrate
from .qp_solution import QPSolution, QPStatus
from .quadratic_program import QuadraticProgram
from .splitting import first_split, proximal, split_step, weights
from .standard_form import Point, StandardForm, residual, standard_form

_BLOCK = 50
_ROUNDS = 20
_NEWTON = 5


def solve_qp(
    program: QuadraticProgram,
    warm_start: QPSolution | None = None,
    *,
    tolerance: float | None = None,
    throw: bool = True,
) -> QPSolution:
    """Solve a quadratic program.

    Args:
        program: what to solve, without batch axes; apply `jax.vmap` to a batch.
        warm_start: the solution of a program of the same sizes that lies near, such as the one of the step before.
        tolerance: the largest relative residual of the optimality conditions; by default the precision of the dtype
            to the power 0.6 (4e-10 in float64, 7e-5 in float32).
        throw: raise when it is not solved; otherwise the status says so. Under a transformation nothing raises.

    Returns:
        a `QPSolution`; under `jax.vmap` one status for each instance.
    """
    solution = _solve(program, warm_start, tolerance)
    if throw and is_concrete(solution.residual):
        solution.check()
    return solution


@eqx.filter_jit
def _solve(program: QuadraticProgram, warm_start: QPSolution | None, tolerance: Any) -> QPSolution:
    precision = float(jnp.finfo(program.linear.dtype).eps)
    tolerance = precision**0.6 if tolerance is None else tolerance
    form = standard_form(program)
    constant = jax.lax.stop_gradient(form)
    scaling = equilibrate(constant.hessian, constant.matrix)
    scaled = scaling.form(constant)
    size, rows = form.linear.shape[0], form.lower.shape[0]
    zero = Point(*(jnp.zeros(n, form.linear.dtype) for n in (size, rows, size)))
    if warm_start is not None:
        warm = jax.lax.stop_gradient(warm_start)
        y = jnp.concatenate([warm.equality_multipliers, warm.inequality_multipliers])
        zero = scaling.scaled(Point(warm.x, y, warm.bound_multipliers))
        zero = jax.tree.map(lambda a: jnp.where(jnp.isfinite(a), a, 0.0), zero)
    point, error, k = _search(scaled, zero, jnp.asarray(tolerance, form.linear.dtype), warm_start is not None)
    good = error <= tolerance
    point = jax.tree.map(lambda a: jnp.where(good, a, 0.0), point)
    point = differentiable(form, scaling.point(point), scaling, good)
    degenerate = jnp.zeros((), bool)
    equalities = 0 if program.equality is None else program.equality[1].shape[0]
    status = QPStatus.where(good, QPStatus.solved, QPStatus.maximum_reached)
    return QPSolution(point.x, point.y[:equalities], point.y[equalities:], point.w, status, k, error, degenerate)


def _search(form: StandardForm, point: Point, tolerance: Array, warm: bool) -> tuple[Point, Array, Array]:
    def going(carry):
        _, _, error, k, _ = carry
        return (error > tolerance) & (k < _BLOCK * _ROUNDS)

    def body(carry):
        split, _, _, k, penalty = carry
        rho, rho_bounds = (penalty * weight for weight in weights(form))
        system = form.hessian + form.matrix.T @ (rho[:, None] * form.matrix) + jnp.diag(rho_bounds + proximal(form))
        inverse = jnp.linalg.inv(system)

        def step(split, _):
            return split_step(form, lambda r: inverse @ r, penalty, jnp.asarray(1.6, r_dtype), split), None

        r_dtype = form.linear.dtype
        split, _ = jax.lax.scan(step, split, None, length=_BLOCK)
        point, error = _newton(form, split.point, tolerance)
        return split, point, error, k + _BLOCK, penalty

    dtype = form.linear.dtype
    error = jnp.full((), jnp.inf, dtype)
    split = first_split(form, point)
    start = (split, point, error, jnp.zeros((), jnp.int32), jnp.asarray(0.3, dtype))
    if warm:
        point, error = _newton(form, point, tolerance)
        start = (split, point, error, *start[3:])
    _, point, error, k, _ = jax.lax.while_loop(going, body, start)
    return point, error, k


def _newton(form: StandardForm, point: Point, tolerance: Array) -> tuple[Point, Array]:
    def going(carry):
        _, error, k = carry
        return (error > tolerance) & (k < _NEWTON)

    def body(carry):
        point, _, k = carry
        point = solution_on(form, active_at(form, point), point)
        return point, residual(form, point, tolerance), k + 1

    start = (point, jnp.full((), jnp.inf, point.x.dtype), jnp.zeros((), jnp.int32))
    point, error, _ = jax.lax.while_loop(going, body, start)
    return point, error


@jax.custom_jvp
def differentiable(form: StandardForm, point: Point, scaling: Scaling, good: Array) -> Point:
    """The point, with the derivative of the solution that it is."""
    return point


@differentiable.defjvp
def _(primals, tangents):
    form, point, scaling, good = primals
    moved = tangents[0]
    point = differentiable(form, point, scaling, good)
    scaled, at = scaling.form(form), scaling.scaled(point)
    active = active_at(scaled, at)
    factor = Factor(scaled.hessian, scaled.matrix, active.rows & good, active.fixed | ~good)
    sides = jnp.where(active.lower, moved.lower, moved.upper)
    fixed = jnp.where(active.low, moved.low, moved.high)
    error = Point(
        -(moved.hessian @ point.x + moved.linear + moved.matrix.T @ point.y) * scaling.variables,
        jnp.where(active.rows, (sides - moved.matrix @ point.x) * scaling.rows, 0.0),
        jnp.where(active.fixed, fixed / scaling.variables, 0.0),
    )
    error = jax.tree.map(lambda a: jnp.where(good, a, 0.0), error)
    # One vector: where a part of the right side does not move, the transpose of a solve of a tree is not defined.
    flat, point_of = ravel_pytree(error)
    tangent = jax.lax.custom_linear_solve(
        lambda flat: ravel_pytree(factor.apply(point_of(flat)))[0],
        flat,
        solve=lambda _, flat: ravel_pytree(factor.solve(point_of(flat)))[0],
        symmetric=True,
    )
    tangent = point_of(tangent)
    tangent = jax.tree.map(lambda a: jnp.where(good, a, 0.0), scaling.point(tangent))
    return point, tangent
