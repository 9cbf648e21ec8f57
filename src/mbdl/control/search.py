"""The search for a quadratic program's solution: splitting, active sets, and an interior-point method for the rest."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .active_set import active_at, solution_on
from .certificates import crossed, proves_infeasible, proves_unbounded
from .interior_point import InteriorState, first_interior, interior_point, interior_step
from .prepared import inverse
from .splitting import Penalties, Split, first_split, split_step
from .standard_form import Point, StandardForm, largest, positive, residual

BLOCK = 50
"""Steps of the splitting between two looks at what it reached."""

BLOCKS, ALL_BLOCKS = 3, 20
"""Blocks of the splitting before the interior-point method; all of them, for those that it does not solve either."""

ACTIVE_SETS = 4
"""Active sets that are tried in a row, each from the solution on the one before."""

INTERIOR_STEPS = 40
RELAXATION = 1.6
INTERIOR_FRACTION = 0.99

SEARCHING, SOLVED, INFEASIBLE, UNBOUNDED, STOPPED = range(5)


class Found(eqx.Module):
    """The best point so far, its residual, how the search stands, and how many steps it took."""

    point: Point
    error: Float[Array, ""]
    code: Int[Array, ""]
    steps: Int[Array, ""]

    def better(self, point: Point, error: Array, tolerance: Array) -> "Found":
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


def search(
    form: StandardForm, point: Point, warm: bool, penalties: Penalties, first_inverse: Array | None, tolerance: Array
) -> Found:
    """The solution of a scaled program, from a point; in a batch each phase runs while an instance needs it.

    Args:
        form: the program.
        point: where to begin.
        warm: whether that is near a solution, so that its active set is tried first.
        penalties: of the first block of the splitting.
        first_inverse: the inverse of its linear system, where that is known.
        tolerance: the residual at which a point is the solution.
    """
    valid = jnp.all(jnp.stack([jnp.all(~jnp.isnan(leaf)) for leaf in jax.tree.leaves(form)]))
    code = jnp.where(valid, jnp.where(crossed(form), INFEASIBLE, SEARCHING), STOPPED)
    found = Found(point, jnp.full((), jnp.inf, point.x.dtype), code, jnp.zeros((), jnp.int32))
    if warm:
        found = _active_sets(form, point, found, tolerance)

    def block(inverse: Array, carry: tuple[Split, Penalties, Found, Array]) -> tuple[Split, Penalties, Found, Array]:
        split, penalties, found, count = carry
        before, split = _splitting(form, inverse, split, penalties)

        def interior(_: Any, form: StandardForm) -> tuple[Found, Point]:
            return found, _interior(form, tolerance)

        _, point = _while_searching(interior, (found, split.point), count == BLOCKS, form)
        found = _active_sets(form, point, found.after(BLOCK), tolerance)

        def unsolved(carry: tuple[Found, Penalties], form: StandardForm) -> tuple[Found, Penalties]:
            found = carry[0].better(point, residual(form, point, tolerance), tolerance)
            return found, carry[1].times(_change(form, split))

        # One certificate after the other, in loops of their own: on a processor with few cores two triangular solutions
        # of batches that run at the same time may wait for each other for ever (JAX 0.10).
        def infeasible(carry: tuple[Found], form: StandardForm) -> tuple[Found]:
            return (carry[0].judged(proves_infeasible(form, direction), INFEASIBLE),)

        def unbounded(carry: tuple[Found], form: StandardForm) -> tuple[Found]:
            return (carry[0].judged(proves_unbounded(form, direction.x), UNBOUNDED),)

        direction = jax.tree.map(jnp.subtract, split.point, before.point)
        found, penalties = _while_searching(unsolved, (found, penalties), 1, form)
        (found,) = _while_searching(infeasible, (found,), 1, form)
        (found,) = _while_searching(unbounded, (found,), 1, form)
        return split, penalties, found, count + 1

    carry, blocks = (first_split(form, point), penalties, found, jnp.zeros((), jnp.int32)), ALL_BLOCKS
    if first_inverse is not None:
        start = carry[0]
        carry, blocks = _while_searching(lambda carry, _: block(first_inverse, carry), carry, 1, form), blocks - 1
        # An inverse of another program's system may have led away from the solution.
        nearer = residual(form, carry[0].point, tolerance) < residual(form, start.point, tolerance)
        split, penalties = jax.tree.map(lambda a, b: jnp.where(nearer, a, b), carry[:2], (start, penalties))
        carry = (split, penalties, *carry[2:])
    return _while_searching(lambda carry, form: block(inverse(form, carry[1]), carry), carry, blocks, form)[2]


def _while_searching(
    body: Callable[[Any, StandardForm], Any], carry: Any, most: int | Array, form: StandardForm
) -> Any:
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


def _splitting(form: StandardForm, inverse: Array, split: Split, penalties: Penalties) -> tuple[Split, Split]:
    """The last two iterates of a block of the splitting."""
    relaxation = jnp.asarray(RELAXATION, inverse.dtype)

    def step(split: Split, _: None) -> tuple[Split, None]:
        return split_step(form, lambda right: inverse @ right, penalties, relaxation, split), None

    before, _ = jax.lax.scan(step, split, None, length=BLOCK - 1)
    return before, step(before, None)[0]


def _change(form: StandardForm, split: Split) -> Float[Array, ""]:
    """The factor of the penalties that balances the primal and the dual residual, each relative to its terms."""
    point = split.point
    values = form.matrix @ point.x
    primal = largest(values - split.rows, point.x - split.bounds) / positive(largest(values, point.x))
    curvature, pull = form.hessian @ point.x, form.matrix.T @ point.y + point.w
    dual = largest(curvature + form.linear + pull) / positive(largest(curvature, form.linear, pull))
    return jnp.clip(jnp.sqrt(primal / positive(dual)), 0.1, 10.0)


def _active_sets(form: StandardForm, point: Point, found: Found, tolerance: Array) -> Found:
    """Solutions on active sets, each told by the one before; the first by a point."""

    def body(carry: tuple[Point, Found], form: StandardForm) -> tuple[Point, Found]:
        point, found = carry
        point = solution_on(form, active_at(form, point), point)
        return point, found.better(point, residual(form, point, tolerance), tolerance).after(1)

    return _while_searching(body, (point, found), ACTIVE_SETS, form)[-1]


def _interior(form: StandardForm, tolerance: Array) -> Point:
    """Where the interior-point method ends."""
    fraction = jnp.asarray(INTERIOR_FRACTION, tolerance.dtype)

    def going(carry: tuple[InteriorState, Array, Array]) -> Array:
        _, error, count = carry
        return (error > tolerance) & (count < INTERIOR_STEPS)

    def body(carry: tuple[InteriorState, Array, Array]) -> tuple[InteriorState, Array, Array]:
        state, _, count = carry
        state = interior_step(form, fraction, state)
        return state, residual(form, interior_point(form, state), tolerance), count + 1

    start = (first_interior(form), jnp.full((), jnp.inf, tolerance.dtype), jnp.zeros((), jnp.int32))
    return interior_point(form, jax.lax.while_loop(going, body, start)[0])
