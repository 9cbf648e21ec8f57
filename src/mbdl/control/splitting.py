"""One step of the operator splitting of a quadratic program, whoever solves its linear system."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .standard_form import Point, StandardForm

EQUALITY_WEIGHT = 1000.0
"""The penalty of a row with equal sides, relative to that of the others."""


class Split(eqx.Module):
    """The iterate: a point, and the copies of its rows and variables that lie between their sides."""

    point: Point
    rows: Float[Array, " rows"]
    bounds: Float[Array, " variables"]


def first_split(form: StandardForm, point: Point) -> Split:
    """The iterate that begins at a point."""
    rows = jnp.clip(form.matrix @ point.x, form.lower, form.upper)
    return Split(point, rows, jnp.clip(point.x, form.low, form.high))


def weights(form: StandardForm) -> tuple[Float[Array, " rows"], Float[Array, " variables"]]:
    """The relative penalties of rows and bounds; zero where neither side has a bound."""

    def of(lower: Array, upper: Array) -> Array:
        free = jnp.isinf(lower) & jnp.isinf(upper)
        return jnp.where(lower == upper, EQUALITY_WEIGHT, jnp.where(free, 0.0, 1.0)).astype(lower.dtype)

    return of(form.lower, form.upper), of(form.low, form.high)


def proximal(form: StandardForm) -> Float[Array, ""]:
    """The weight of the proximal term, small against the hessian."""
    size = jnp.mean(jnp.diagonal(form.hessian))
    return float(jnp.finfo(size.dtype).eps) ** 0.4 * jnp.where(size > 0, size, 1.0)


def split_step(
    form: StandardForm, solve: Callable[[Array], Array], penalty: Array, relaxation: Array, state: Split
) -> Split:
    r"""One over-relaxed step; `solve` applies the inverse of $P + \sigma I + C^\top R C + R_b$."""
    point = state.point
    rho, rho_bounds = (penalty * weight for weight in weights(form))
    right = proximal(form) * point.x - form.linear + form.matrix.T @ (rho * state.rows - point.y)
    solved = solve(right + rho_bounds * state.bounds - point.w)
    rows, y = _projected(form.matrix @ solved, state.rows, point.y, rho, relaxation, form.lower, form.upper)
    bounds, w = _projected(solved, state.bounds, point.w, rho_bounds, relaxation, form.low, form.high)
    return Split(Point(relaxation * solved + (1 - relaxation) * point.x, y, w), rows, bounds)


def _projected(
    value: Array, copy: Array, multiplier: Array, rho: Array, relaxation: Array, lower: Array, upper: Array
) -> tuple[Array, Array]:
    scaled = jnp.where(rho > 0, multiplier / jnp.where(rho > 0, rho, 1.0), 0.0)
    relaxed = relaxation * value + (1 - relaxation) * copy + scaled
    projected = jnp.clip(relaxed, lower, upper)
    return projected, rho * (relaxed - projected)
