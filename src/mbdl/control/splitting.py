"""One step of the operator splitting of a quadratic program, whoever solves its linear system."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .standard_form import PrimalDual, StandardForm

EQUALITY_WEIGHT = 1000.0
"""The penalty of a row with equal sides, relative to that of the others."""

FREE_WEIGHT = 0.001
"""That of a row without any side. Its size does not change the solution."""


class Split(eqx.Module):
    """The iterate: a point, and the copies of its rows and variables that lie between their sides."""

    point: PrimalDual
    rows: Float[Array, " rows"]
    bounds: Float[Array, " variables"]


class Governing(eqx.Module):
    """The iterate as a step sees it: of each row and bound the copy plus its multiplier over its penalty.

    The projection gives both back. For steps with the same penalties this is half of the arithmetic.
    """

    x: Float[Array, " variables"]
    rows: Float[Array, " rows"]
    bounds: Float[Array, " variables"]


class Penalties(eqx.Module):
    """A positive penalty for each row and each bound."""

    rows: Float[Array, " rows"]
    bounds: Float[Array, " variables"]

    def times(self, factor: Array) -> "Penalties":
        return Penalties(factor * self.rows, factor * self.bounds)


def first_split(form: StandardForm, point: PrimalDual) -> Split:
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


def governing(split: Split, penalties: Penalties) -> Governing:
    """The iterate as a step with these penalties sees it."""
    point = split.point
    return Governing(point.x, split.rows + point.y / penalties.rows, split.bounds + point.w / penalties.bounds)


def split_at(form: StandardForm, penalties: Penalties, state: Governing) -> Split:
    """The iterate after steps with these penalties."""
    rows, bounds = _projected(form, state)
    y, w = penalties.rows * (state.rows - rows), penalties.bounds * (state.bounds - bounds)
    return Split(PrimalDual(state.x, y, w), rows, bounds)


def split_step(
    form: StandardForm, solve: Callable[[Array], Array], penalties: Penalties, relaxation: Array, state: Governing
) -> Governing:
    """One over-relaxed step; `solve` applies the inverse of `system`."""
    rows, bounds = _projected(form, state)
    right = proximal(form) * state.x - form.linear + penalties.bounds * (2 * bounds - state.bounds)
    solved = solve(right + form.matrix.T @ (penalties.rows * (2 * rows - state.rows)))
    return Governing(
        state.x + relaxation * (solved - state.x),
        state.rows + relaxation * (form.matrix @ solved - rows),
        state.bounds + relaxation * (solved - bounds),
    )


def _projected(form: StandardForm, state: Governing) -> tuple[Array, Array]:
    """The copies, between their sides."""
    return jnp.clip(state.rows, form.lower, form.upper), jnp.clip(state.bounds, form.low, form.high)
