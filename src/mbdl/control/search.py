"""The search for a quadratic program's solution: splitting, active sets, and an interior-point method for the rest."""

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from .active_set import active_at, solution_on
from .certificates import crossed
from .found import INFEASIBLE, SEARCHING, STOPPED, Found, judged, while_searching
from .interior_point import InteriorState, first_interior, interior_point, interior_step
from .prepared import inverse
from .splitting import Governing, Penalties, Split, first_split, governing, split_at, split_step
from .standard_form import PrimalDual, StandardForm, largest, positive, residual

BLOCK = 50
"""Steps of the splitting between two looks at what it reached."""

BLOCKS, ALL_BLOCKS = 3, 20
"""Blocks of the splitting before the interior-point method; all of them, for those that it does not solve either."""

ACTIVE_SETS, FIRST_ACTIVE_SETS = 4, 2
"""Active sets that are tried in a row, each from the solution on the one before; before the first block, and after
it."""

LEAST_WIDTH, PARTS = 16, 8
"""The instances of a batch that go on together after the first block: so many, or this part of all."""

INTERIOR_STEPS = 40
RELAXATION = 1.6
INTERIOR_FRACTION = 0.99


class Progress(eqx.Module):
    """How far the splitting came: its iterate, by how much its last block moved that, and its penalties."""

    split: Split
    moved: PrimalDual
    penalties: Penalties


def search(
    form: StandardForm, point: PrimalDual, warm: bool, penalties: Penalties, first_inverse: Array, tolerance: Array
) -> Found:
    """The solution of a scaled program, from a point.

    In a batch all instances take a first block of the splitting together. What that does not solve goes on in smaller
    batches of its own, so that a few instances that are hard do not keep the others.

    Args:
        form: the program.
        point: where to begin.
        warm: whether that is near a solution, so that its active set is tried first.
        penalties: of the first block of the splitting.
        first_inverse: the inverse of its linear system, or of that of a program like it.
        tolerance: the residual at which a point is the solution.
    """
    code = jnp.where(form.valid, jnp.where(crossed(form), INFEASIBLE, SEARCHING), STOPPED)
    found = Found(point, jnp.full((), jnp.inf, point.x.dtype), code, jnp.zeros((), jnp.int32))
    start = first_split(form, point)

    def split(carry: tuple[Progress, Found], form: StandardForm) -> tuple[Progress, Found]:
        return _splitting(form, first_inverse, carry[0]), carry[1].after(BLOCK)

    def attempt(blocks: Array, carry: tuple[Progress, Found]) -> tuple[Progress, Found]:
        progress, found = while_searching(split, carry, blocks, form)
        return progress, _active_sets(form, progress.split.point, found, tolerance, FIRST_ACTIVE_SETS)

    progress = Progress(start, jax.tree.map(jnp.zeros_like, point), penalties)
    progress, found = jax.lax.fori_loop(0 if warm else 1, 2, attempt, (progress, found))
    return _rest(form, tolerance, start, progress, found)


@jax.custom_batching.custom_vmap
def _rest(form: StandardForm, tolerance: Array, start: Split, progress: Progress, found: Found) -> Found:
    """The search after its first block, to its end."""
    # An inverse of another program's system may have led away from the solution.
    both = jax.tree.map(lambda *ends: jnp.stack(ends), progress.split.point, start.point)
    last, first = jax.vmap(lambda point: residual(form, point, tolerance))(both)
    split = jax.tree.map(lambda a, b: jnp.where(last < first, a, b), progress.split, start)
    progress = Progress(split, progress.moved, progress.penalties)

    def block(carry: tuple[Progress, Found, Array], form: StandardForm) -> tuple[Progress, Found, Array]:
        progress, found, count = carry
        point = progress.split.point
        found = found.better(point, residual(form, point, tolerance), tolerance)

        found = judged(form, found, progress.moved)

        def another(carry: tuple[Progress, Found], form: StandardForm) -> tuple[Progress, Found]:
            progress, found = carry
            penalties = progress.penalties.times(_change(form, progress.split))
            progress = Progress(progress.split, progress.moved, penalties)
            return _splitting(form, inverse(form, penalties), progress), found.after(BLOCK)

        progress, found = while_searching(another, (progress, found), 1, form)

        def interior(_: Any, form: StandardForm) -> tuple[Found, PrimalDual]:
            return found, _interior(form, tolerance)

        _, point = while_searching(interior, (found, progress.split.point), count == BLOCKS, form)
        return progress, _active_sets(form, point, found, tolerance, ACTIVE_SETS), count + 1

    carry = (progress, found, jnp.ones((), jnp.int32))
    return while_searching(block, carry, ALL_BLOCKS - 1, form)[1]


@_rest.def_vmap
def _(size: int, batched: Any, *arguments: Any) -> tuple[Found, Any]:
    """Of a batch the instances that are not solved, some at a time."""
    program, state = arguments[:2], arguments[2:]
    state = jax.tree.map(lambda a, b: a if b else jnp.broadcast_to(a, (size, *a.shape)), state, tuple(batched[2:]))
    found = _rest_of_batch(size, tuple(jax.tree.leaves(batched[:2])), program, state)
    return found, jax.tree.map(lambda _: True, found)


@partial(jax.jit, static_argnums=(0, 1))
def _rest_of_batch(size: int, batched: tuple[bool, ...], program: Any, state: Any) -> Found:
    """The rest of a batch, traced once, however often JAX looks through the loops around it.

    Args:
        size: of the batch.
        batched: which arrays of the program are.
        program: the form, and the tolerance.
        state: the start, the progress and what was found, all batched.
    """
    found = state[-1]
    batches = (jax.tree.structure(program).unflatten(batched), jax.tree.map(lambda _: True, state))
    many, shared = eqx.partition((program, state), batches)

    def rest_of(many: Any) -> Found:
        program, state = eqx.combine(many, shared)
        return _rest.fun(*program, *state)

    rest = jax.vmap(rest_of)
    if size <= (width := max(LEAST_WIDTH, size // PARTS)):
        return rest(many)
    # One array of each: XLA takes long to compile one that gathers from many.
    many, many_of = _packed(many)
    ended, found_of = _packed(found)

    def some(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        left, ended = carry
        (places,) = jnp.nonzero(left, size=width, fill_value=size)
        taken = many_of(many.at[places].get(mode="clip"))
        code = jnp.where(places < size, taken[1][-1].code, STOPPED)
        taken = eqx.tree_at(lambda t: t[1][-1].code, taken, code)
        ended = ended.at[places].set(_packed(rest(taken))[0], mode="drop")
        return left.at[places].set(False, mode="drop"), ended

    carry = (found.code == SEARCHING, ended)
    return found_of(jax.lax.while_loop(lambda carry: jnp.any(carry[0]), some, carry)[1])


def _packed(tree: Any) -> tuple[Float[Array, "batch numbers"], Callable[[Array], Any]]:
    """A batch of trees as one array, and the way back."""
    _, back = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], tree))
    return jax.vmap(lambda one: ravel_pytree(one)[0])(tree), jax.vmap(back)


def _splitting(form: StandardForm, inverse: Array, progress: Progress) -> Progress:
    """A block of the splitting."""
    penalties, relaxation = progress.penalties, jnp.asarray(RELAXATION, inverse.dtype)

    def step(state: Governing, _: None) -> tuple[Governing, None]:
        return split_step(form, lambda right: inverse @ right, penalties, relaxation, state), None

    state, _ = jax.lax.scan(step, governing(progress.split, penalties), None, length=BLOCK)
    split = split_at(form, penalties, state)
    return Progress(split, jax.tree.map(jnp.subtract, split.point, progress.split.point), penalties)


def _change(form: StandardForm, split: Split) -> Float[Array, ""]:
    """The factor of the penalties that balances the primal and the dual residual, each relative to its terms."""
    point = split.point
    values = form.matrix @ point.x
    primal = largest(values - split.rows, point.x - split.bounds) / positive(largest(values, point.x))
    curvature, pull = form.hessian @ point.x, form.matrix.T @ point.y + point.w
    dual = largest(curvature + form.linear + pull) / positive(largest(curvature, form.linear, pull))
    return jnp.clip(jnp.sqrt(primal / positive(dual)), 0.1, 10.0)


def _active_sets(form: StandardForm, point: PrimalDual, found: Found, tolerance: Array, most: int) -> Found:
    """Solutions on active sets, each told by the one before; the first by a point."""

    def body(carry: tuple[PrimalDual, Found], form: StandardForm) -> tuple[PrimalDual, Found]:
        point, found = carry
        point = solution_on(form, active_at(form, point), point)
        return point, found.better(point, residual(form, point, tolerance), tolerance).after(1)

    return while_searching(body, (point, found), most, form)[-1]


def _interior(form: StandardForm, tolerance: Array) -> PrimalDual:
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
