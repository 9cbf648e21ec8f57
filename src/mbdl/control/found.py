"""What a search for a quadratic program's solution has found, and what a direction proves about the program."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mbdl.core import Status

from .certificates import crossed, proves_infeasible, proves_unbounded
from .standard_form import PrimalDual, StandardForm

SEARCHING, SOLVED, INFEASIBLE, UNBOUNDED, STOPPED = range(5)


class Found(eqx.Module):
    """The best point so far, its residual, how the search stands, and how many steps it took."""

    point: PrimalDual
    error: Float[Array, ""]
    code: Int[Array, ""]
    steps: Int[Array, ""]

    def better(self, point: PrimalDual, error: Array, tolerance: Array) -> "Found":
        """With another point where that is better."""
        take = error < self.error
        best = jax.tree.map(lambda new, old: jnp.where(take, new, old), point, self.point)
        error = jnp.where(take, error, self.error)
        code = jnp.where((error <= tolerance) & (self.code == SEARCHING), SOLVED, self.code)
        return Found(best, error, code, self.steps)

    def judged(self, proven: Array, code: int) -> "Found":
        """With what was proven, where the search still goes on."""
        return Found(self.point, self.error, jnp.where(proven & (self.code == SEARCHING), code, self.code), self.steps)

    def after(self, steps: int) -> "Found":
        return Found(self.point, self.error, self.code, self.steps + steps)


def judged(form: StandardForm, found: Found, direction: PrimalDual) -> Found:
    """What was found, with what a direction proves, where the search still goes on."""

    # One certificate after the other, in loops of their own: on a processor with few cores two triangular solutions of
    # batches that run at the same time may wait for each other for ever (JAX 0.10).
    def infeasible(carry: tuple[Found], form: StandardForm) -> tuple[Found]:
        return (carry[0].judged(proves_infeasible(form, direction), INFEASIBLE),)

    def unbounded(carry: tuple[Found], form: StandardForm) -> tuple[Found]:
        return (carry[0].judged(proves_unbounded(form, direction.x), UNBOUNDED),)

    if form.lower.shape[0]:  # Bounds alone are crossed, or a point keeps them.
        (found,) = while_searching(infeasible, (found,), 1, form)
    (found,) = while_searching(unbounded, (found,), 1, form)
    return found


def verdict(form: StandardForm, direction: PrimalDual) -> Status:
    """What the sides of a program, and a direction in which a method moves, prove about it.

    Returns:
        `Status.infeasible` or `Status.unbounded`; `Status.maximum_reached` where nothing is proven.
    """
    # A side that is NaN may be one that bounds the program.
    code = jnp.where(crossed(form), INFEASIBLE, jnp.where(form.valid, SEARCHING, STOPPED))
    found = Found(direction, jnp.full((), jnp.inf, direction.x.dtype), code, jnp.zeros((), jnp.int32))
    code = judged(form, found, direction).code
    status = Status.where(code == INFEASIBLE, Status.infeasible, Status.maximum_reached)
    return Status.where(code == UNBOUNDED, Status.unbounded, status)


def while_searching(body: Callable[[Any, StandardForm], Any], carry: Any, most: int | Array, form: StandardForm) -> Any:
    """Repeat while the part of the carry that says what was found says that the search goes on."""

    def going(counted: Any) -> Array:
        carry, count = counted
        (found,) = (part for part in carry if isinstance(part, Found))
        return (found.code == SEARCHING) & (count < most)

    def counted_body(counted: Any) -> Any:
        carry, count = counted
        # XLA computes what does not change from iteration to iteration before the loop, and so also where the loop is
        # not entered. Behind a barrier with the count the program seems to change.
        seen, count = jax.lax.optimization_barrier((form, count))
        return body(carry, seen), count + 1

    return jax.lax.while_loop(going, counted_body, (carry, jnp.zeros((), jnp.int32)))[0]
