"""The one form of a quadratic program that its solvers see: rows with two sides, and bounds."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mbdl.core import all_finite
from mbdl.core.checks import greatest

from .quadratic_program import QuadraticProgram


class StandardForm(eqx.Module):
    r"""$\min_x \tfrac12 x^\top P x + q^\top x$ subject to $l \le C x \le u$ and $\underline x \le x \le \bar x$.

    The rows are the equalities, with equal sides, and the inequalities; sides without a bound are infinite.
    """

    hessian: Float[Array, "variables variables"]
    linear: Float[Array, " variables"]
    matrix: Float[Array, "rows variables"]
    lower: Float[Array, " rows"]
    upper: Float[Array, " rows"]
    low: Float[Array, " variables"]
    high: Float[Array, " variables"]

    @property
    def valid(self) -> Bool[Array, ""]:
        """Whether nothing is NaN, and nothing but sides infinite."""
        sides = jnp.concatenate([self.lower, self.upper, self.low, self.high])
        return all_finite((self.hessian, self.linear, self.matrix)) & ~jnp.any(jnp.isnan(sides))

    @property
    def equalities(self) -> Bool[Array, " rows"]:
        """The rows whose sides are equal."""
        return self.lower == self.upper

    @property
    def fixed(self) -> Bool[Array, " variables"]:
        """The variables whose bounds are equal."""
        return self.low == self.high


class PrimalDual(eqx.Module):
    r"""A primal and dual point of a quadratic program: $P x + q + C^\top y + w = 0$ at a solution.

    Multipliers are positive at an upper side and negative at a lower one.

    Attributes:
        x: the variables.
        y: the multipliers of the rows, those of the equalities before those of the inequalities.
        w: the multipliers of the bounds.
    """

    x: Float[Array, " variables"]
    y: Float[Array, " rows"]
    w: Float[Array, " variables"]


def origin(form: StandardForm) -> PrimalDual:
    """The point of zeros."""
    return PrimalDual(*(jnp.zeros_like(like) for like in (form.linear, form.lower, form.linear)))


def standard_form(program: QuadraticProgram) -> StandardForm:
    """The standard form of a program."""
    size, dtype = program.variables, program.linear.dtype
    blocks = [] if program.equality is None else [(program.equality[0], program.equality[1], program.equality[1])]
    blocks += [] if program.inequality is None else [program.inequality]
    infinite = jnp.full(size, jnp.inf, dtype)
    low, high = (-infinite, infinite) if program.bounds is None else program.bounds
    empty = (jnp.zeros((0, size), dtype), jnp.zeros(0, dtype), jnp.zeros(0, dtype))
    matrix, lower, upper = (jnp.concatenate(parts) for parts in zip(*blocks, strict=True)) if blocks else empty
    hessian = 0.5 * (program.hessian + program.hessian.T)
    (lower, upper), (low, high) = _uncrossed((lower, upper), (low, high))
    return StandardForm(hessian, program.linear, matrix, lower, upper, low, high)


def _uncrossed(*sides: tuple[Array, Array]) -> list[tuple[Array, Array]]:
    """Sides of which a lower one lies above its upper one by rounding, relative to the largest side, made equal.

    Computed sides that should meet do that: a stock that is used up is zero to rounding.
    """
    ends = [jnp.where(jnp.isfinite(side), side, 0.0) for pair in sides for side in pair]
    rounding = 100 * jnp.finfo(ends[0].dtype).eps * largest(*ends)
    met = []
    for lower, upper in sides:
        crossed = (lower > upper) & (lower - upper <= rounding)
        middle = 0.5 * (jnp.where(crossed, lower, 0.0) + jnp.where(crossed, upper, 0.0))
        met.append((jnp.where(crossed, middle, lower), jnp.where(crossed, middle, upper)))
    return met


def residual(form: StandardForm, point: PrimalDual, tolerance: Float[Array, ""]) -> Float[Array, ""]:
    r"""How far a point is from the optimality conditions: the larger of the dual residual, relative to the largest of
    $P x$ and $q$, and the natural residuals $C x - \Pi_{[l, u]}(C x + y)$ and
    $x - \Pi_{[\underline x, \bar x]}(x + w)$, relative to the largest of $C x$ and $x$ (not below what rounding of the
    gradient makes of zero). Not finite for a point that is not, or a form that is not valid."""
    curvature, pull = form.hessian @ point.x, form.matrix.T @ point.y
    values = form.matrix @ point.x
    slope = largest(curvature, form.linear)
    rounding = 100 * jnp.finfo(slope.dtype).eps / tolerance
    size = jnp.maximum(largest(point.x, values), rounding * slope)
    rows = values - jnp.clip(values + point.y, form.lower, form.upper)
    bounds = point.x - jnp.clip(point.x + point.w, form.low, form.high)
    # What is not finite in a form or a point goes through the products and the projections into one of these.
    dual = curvature + form.linear + pull + point.w
    primal = jnp.concatenate([rows, bounds])
    return greatest(jnp.abs(jnp.concatenate([dual / positive(slope), primal / positive(size)])))


def one_sided(multipliers: Array, lower: Array, upper: Array) -> Array:
    """Multipliers of the sides that there are: positive ones of a finite upper side, negative ones of a lower one."""
    above = jnp.where(jnp.isfinite(upper), jnp.maximum(multipliers, 0.0), 0.0)
    return above + jnp.where(jnp.isfinite(lower), jnp.minimum(multipliers, 0.0), 0.0)


def largest(*vectors: Array) -> Array:
    """The largest absolute entry of some vectors."""
    return jnp.max(jnp.abs(jnp.concatenate(vectors)), initial=0.0)


def positive(size: Array) -> Array:
    """A size to divide by: itself, or one where it is zero."""
    return jnp.where(size > 0, size, 1.0)
