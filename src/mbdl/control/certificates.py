"""Certificates that a quadratic program has no solution, from directions in which a method diverges."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .active_set import inverse_root, small_of
from .standard_form import PrimalDual, StandardForm, one_sided

NEGLIGIBLE = 1e-2
"""Relative to the largest, the multipliers of a diverging method that are taken for zero in its limit."""


def proves_infeasible(form: StandardForm, direction: PrimalDual) -> Bool[Array, ""]:
    r"""Whether the multipliers of a direction prove that no point is feasible, as they are or in the limit they tell.

    By Farkas: for every feasible $x$, $\|x\|_1 \|C^\top y\|_\infty \ge -(u^\top y_+ - l^\top y_-)$. It is a proof
    when the right side is positive and this least size is beyond the largest finite side by the square root of the
    precision.
    """
    lower, upper = jnp.concatenate([form.lower, form.low]), jnp.concatenate([form.upper, form.high])
    matrix = jnp.concatenate([form.matrix, jnp.eye(form.linear.shape[0], dtype=form.linear.dtype)])
    size = jnp.max(jnp.abs(jnp.concatenate([_finite(lower), _finite(upper)])))

    def proves(multipliers: Array) -> Array:
        support = jnp.sum(jnp.where(multipliers > 0, _finite(upper), _finite(lower)) * multipliers)
        return (support < 0) & (jnp.max(jnp.abs(matrix.T @ multipliers)) * size < -small_of(support) * support)

    raw = one_sided(jnp.concatenate([direction.y, direction.w]), lower, upper)
    pressed = jnp.abs(raw) > NEGLIGIBLE * jnp.max(jnp.abs(raw))
    kept = jnp.where(pressed[:, None], matrix, 0.0)
    limit = jnp.where(pressed, raw, 0.0)
    solve = _solver(kept.T @ kept)
    for _ in range(2):
        limit = limit - kept @ solve(kept.T @ limit)
    return proves(raw) | proves(one_sided(limit, lower, upper))


def proves_unbounded(form: StandardForm, direction: Float[Array, " variables"]) -> Bool[Array, ""]:
    r"""Whether a direction proves that the objective falls for ever where the program is feasible, as it is or in the
    limit it tells: $P d = 0$, $q^\top d < 0$, and $C d$ leaves no finite side."""
    lower, upper = jnp.concatenate([form.lower, form.low]), jnp.concatenate([form.upper, form.high])
    matrix = jnp.concatenate([form.matrix, jnp.eye(form.linear.shape[0], dtype=form.linear.dtype)])

    def leaves(moved: Array) -> Array:
        above = jnp.where(jnp.isfinite(upper), jnp.maximum(moved, 0.0), 0.0)
        return above + jnp.where(jnp.isfinite(lower), jnp.maximum(-moved, 0.0), 0.0)

    def proves(d: Array) -> Array:
        violation = jnp.maximum(jnp.max(leaves(matrix @ d)), jnp.max(jnp.abs(form.hessian @ d)))
        descent = -form.linear @ d
        return (descent > 0) & (violation * jnp.max(jnp.abs(form.linear)) < small_of(descent) * descent)

    moved = matrix @ direction
    bounded = jnp.isfinite(lower) | jnp.isfinite(upper)
    along = bounded & ((leaves(moved) > 0) | (jnp.abs(moved) <= NEGLIGIBLE * jnp.max(jnp.abs(moved))))
    kept = jnp.where(along[:, None], matrix, 0.0)
    system = form.hessian + kept.T @ kept
    solve, limit = _solver(system), direction
    for _ in range(2):
        limit = limit - solve(system @ limit)
    return proves(direction) | proves(limit)


def crossed(form: StandardForm) -> Bool[Array, ""]:
    """Whether a lower side lies above its upper one."""
    return jnp.any(form.lower > form.upper) | jnp.any(form.low > form.high)


def _solver(matrix: Array) -> Callable[[Array], Array]:
    """Solves a semidefinite system, regularised."""
    root = inverse_root(matrix + small_of(matrix) * jnp.eye(len(matrix), dtype=matrix.dtype))
    return lambda right: root.T @ (root @ right)


def _finite(side: Array) -> Array:
    return jnp.where(jnp.isfinite(side), side, 0.0)
