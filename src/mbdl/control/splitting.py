"""One step of the operator splitting of a quadratic program, whoever solves its linear system."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .standard_form import Point, StandardForm

EQUALITY_WEIGHT = 1000.0
"""The penalty of a row with equal sides, relative to that of the others."""

FREE_WEIGHT = 0.001
"""That of a row without any side. Its size does not change the solution."""


class Split(eqx.Module):
    """The iterate: a point, and the copies of its rows and variables that lie between their sides."""

    point: Point
    rows: Float[Array, " rows"]
    bounds: Float[Array, " variables"]


class Penalties(eqx.Module):
    """A positive penalty for each row and each bound."""

    rows: Float[Array, " rows"]
    bounds: Float[Array, " variables"]

    def times(self, factor: Array) -> "Penalties":
        return Penalties(factor * self.rows, factor * self.bounds)


def first_split(form: StandardForm, point: Point) -> Split:
    """The iterate that begins at a point."""
    rows = jnp.clip(form.matrix @ point.x, form.lower, form.upper)
    return Split(point, rows, jnp.clip(point.x, form.low, form.high))


def weights(form: StandardForm) -> Penalties:
    """The relative penalties: large for equal sides, small where there is none."""

    def of(lower: Array, upper: Array) -> Array:
        free = jnp.isinf(lower) & jnp.isinf(upper)
        return jnp.where(lower == upper, EQUALITY_WEIGHT, jnp.where(free, FREE_WEIGHT, 1.0)).astype(lower.dtype)

    return Penalties(of(form.lower, form.upper), of(form.low, form.high))


def proximal(form: StandardForm) -> Float[Array, ""]:
    """The weight of the proximal term, small against the hessian."""
    size = jnp.mean(jnp.diagonal(form.hessian))
    return float(jnp.finfo(size.dtype).eps) ** 0.4 * jnp.where(size > 0, size, 1.0)


def system(form: StandardForm, penalties: Penalties) -> Float[Array, "variables variables"]:
    r"""$P + \sigma I + C^\top R C + R_b$."""
    weighted = form.matrix.T @ (penalties.rows[:, None] * form.matrix)
    return form.hessian + weighted + jnp.diag(penalties.bounds + proximal(form))


def split_step(
    form: StandardForm, solve: Callable[[Array], Array], penalties: Penalties, relaxation: Array, state: Split
) -> Split:
    """One over-relaxed step; `solve` applies the inverse of `system`."""
    point, rho = state.point, penalties
    right = proximal(form) * point.x - form.linear + form.matrix.T @ (rho.rows * state.rows - point.y)
    solved = solve(right + rho.bounds * state.bounds - point.w)
    rows, y = _projected(form.matrix @ solved, state.rows, point.y, rho.rows, relaxation, form.lower, form.upper)
    bounds, w = _projected(solved, state.bounds, point.w, rho.bounds, relaxation, form.low, form.high)
    return Split(Point(relaxation * solved + (1 - relaxation) * point.x, y, w), rows, bounds)


def _projected(
    value: Array, copy: Array, multiplier: Array, rho: Array, relaxation: Array, lower: Array, upper: Array
) -> tuple[Array, Array]:
    relaxed = relaxation * value + (1 - relaxation) * copy + multiplier / rho
    projected = jnp.clip(relaxed, lower, upper)
    return projected, rho * (relaxed - projected)
