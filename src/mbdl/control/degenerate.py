"""Whether the derivative of a quadratic program's solution is one of several."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .active_set import ActiveSet, Factor, active_at
from .equilibration import equilibrate
from .standard_form import PrimalDual, StandardForm, largest, residual


def is_degenerate(form: StandardForm, active: ActiveSet, point: PrimalDual, error: Float[Array, ""]) -> Bool[Array, ""]:
    """Whether the derivative at a solution is one of several: a side holds to rounding with a multiplier of zero, the
    sides that hold are dependent, or the solution is not unique.

    Args:
        form: the program, equilibrated.
        active: the sides that hold.
        point: its solution.
        error: the residual of that. A tie is told to some thousand times the error, as well as to rounding: so far from
            the solution may a point be that has it.
    """
    rounding = 1e3 * jnp.maximum(error, float(jnp.finfo(point.x.dtype).eps))
    values = form.matrix @ point.x
    length = rounding * jnp.maximum(largest(point.x, values), rounding)
    slope = rounding * largest(form.hessian @ point.x, form.linear, point.y, point.w)

    def weak(value: Array, multiplier: Array, lower: Array, upper: Array) -> Array:
        holds = (value - lower <= length) | (upper - value <= length)
        return jnp.any(holds & (jnp.abs(multiplier) <= slope) & (lower < upper))

    factor = Factor(form.hessian, form.matrix, active.rows, active.fixed)
    either = weak(values, point.y, form.lower, form.upper) | weak(point.x, point.w, form.low, form.high)
    return either | factor.singular


def degenerate_at(form: StandardForm, point: PrimalDual) -> Bool[Array, ""]:
    """The same for a program that is not equilibrated, at a solution in its own units."""
    scaling = equilibrate(form.hessian, form.matrix)
    form, point = scaling.form(form), scaling.scaled(point)
    error = residual(form, point, jnp.asarray(1e-6, point.x.dtype))
    return is_degenerate(form, active_at(form, point), point, error)
