"""The derivative of a quadratic program's solution, from its optimality conditions on the active set."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool

from .active_set import ActiveSet, Factor
from .equilibration import Scaling
from .standard_form import PrimalDual, StandardForm


@jax.custom_jvp
def implicit(
    form: StandardForm, point: PrimalDual, scaling: Scaling, active: ActiveSet, solved: Bool[Array, ""]
) -> PrimalDual:
    """The point, with the derivative that the solution has in the program; none where it is not solved.

    Args:
        form: the program.
        point: its solution, finite also where it is none.
        scaling: in which the linear system is solved.
        active: the sides that hold.
        solved: whether the point is the solution.
    """
    return point


@implicit.defjvp
def _(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[PrimalDual, PrimalDual]:
    form, point, scaling, active, solved = primals
    moved = tangents[0]
    # Through this function once more, so that a derivative of the derivative sees that the point moves.
    point = implicit(form, point, scaling, active, solved)
    scaled = scaling.form(form)
    factor = Factor(scaled.hessian, scaled.matrix, active.rows & solved, active.fixed | ~solved)
    sides, bounds = jnp.where(active.lower, moved.lower, moved.upper), jnp.where(active.low, moved.low, moved.high)
    right = PrimalDual(
        -scaling.variables * (moved.hessian @ point.x + moved.linear + moved.matrix.T @ point.y),
        jnp.where(active.rows, scaling.rows * (sides - moved.matrix @ point.x), 0.0),
        jnp.where(active.fixed, bounds / scaling.variables, 0.0),
    )
    # One vector: the transpose of a solve is not defined for a tree of which a part does not move.
    flat, point_of = ravel_pytree(_where(solved, right))
    tangent = jax.lax.custom_linear_solve(
        lambda flat: ravel_pytree(factor.apply(point_of(flat)))[0],
        flat,
        solve=lambda _, flat: ravel_pytree(factor.solve(point_of(flat)))[0],
        symmetric=True,
    )
    # Masked on both sides of the solve, so that neither direction of differentiation meets what is not finite.
    return point, _where(solved, scaling.point(point_of(tangent)))


def _where(solved: Array, point: PrimalDual) -> PrimalDual:
    return jax.tree.map(lambda a: jnp.where(solved, a, 0.0), point)
