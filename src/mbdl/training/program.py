"""The compiled training step, and how many of them one dispatch runs."""

import functools
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from mbdl.core import combine, holds_convolution
from mbdl.training.sharding import check_shared, spread
from mbdl.training.structure import Structure

CAPACITY = 4096


class Carry(eqx.Module):
    """What a step hands to the next one."""

    learned: Any
    optimiser_state: Any
    bad_in_row: Int[Array, ""]
    bad: Int[Array, ""]
    failed: Bool[Array, ""]


class Record(NamedTuple):
    """What a step reports."""

    loss: Any
    gradient_norm: Any
    good: Any


class Inputs(NamedTuple):
    """What every step reads and none changes."""

    rest: list[Any]
    risk: list[Any]
    data: Any
    key: PRNGKeyArray
    bad_in_row_limit: Array
    bad_limit: Array


class Static(NamedTuple):
    """What the programs are compiled for, beside the shapes of the arrays."""

    rest: Structure
    risk: Structure
    optimiser: Any
    batches: Literal["drawn", "whole", "given", "none"]
    batch_size: int
    steps_per_epoch: int
    mesh: Mesh | None


class Plan(NamedTuple):
    """How `fit` dispatches its steps.

    `steps_per_dispatch` is the most that one dispatch of a compiled program runs (1: each step is dispatched by
    itself); `reason` says why.
    """

    steps_per_dispatch: int
    reason: str

    @property
    def scanned(self) -> bool:
        """Whether a compiled loop runs many steps per dispatch."""
        return self.steps_per_dispatch > 1


class Programs(NamedTuple):
    """The compiled functions of one `Static`."""

    batch: Any  # (inputs, orders, first epoch, batch, step number) -> batch; not compiled
    step: Any  # (carry, inputs, batch, step number) -> carry, record; traced once for all programs
    one: Any  # (carry, inputs, orders, first epoch, batch, step number) -> carry, record
    many: Any  # (carry, inputs, orders, first epoch, first step number, count) -> carry, records


@functools.lru_cache(maxsize=16)
def programs(static: Static) -> Programs:
    """The programs for a structure; those of a few recent fits are kept, so that another seed or fold compiles "
    "nothing."""

    @jax.jit
    def step(carry: Carry, inputs: Inputs, batch: Any, number: Array) -> tuple[Carry, Record]:
        risk = static.risk.rebuild(inputs.risk)
        if static.mesh is not None:
            check_shared(risk, static.mesh, batch)
        risk = spread(risk, static.mesh, batch)
        key = jax.random.fold_in(inputs.key, number)

        def objective(learned: Any) -> Array:
            value = risk(combine(learned, static.rest.rebuild(inputs.rest)), batch, key)
            return _checked_scalar(value)

        loss, gradient = jax.value_and_grad(objective)(carry.learned)
        # JAX's gradient of a real function of complex numbers is the conjugate of its direction of ascent.
        gradient = jax.tree.map(lambda g: jnp.conj(g) if jnp.iscomplexobj(g) else g, gradient)
        norm = optax.tree.norm(gradient)
        optimiser = optax.with_extra_args_support(static.optimiser)
        updates, state = optimiser.update(
            gradient, carry.optimiser_state, carry.learned, value=loss, grad=gradient, value_fn=objective
        )
        learned = optax.apply_updates(carry.learned, updates)
        good = jnp.isfinite(loss) & jnp.isfinite(norm) & _all_finite(learned)
        taken = good & ~carry.failed

        def chosen(new: Any, old: Any) -> Any:
            return jax.tree.map(lambda a, b: jax.lax.select(taken, jnp.asarray(a, b.dtype), b), new, old)

        in_row = jnp.where(good, 0, carry.bad_in_row + 1)
        bad = carry.bad + jnp.where(good, 0, 1)
        failed = carry.failed | (in_row >= inputs.bad_in_row_limit) | (bad > inputs.bad_limit)
        carry = Carry(chosen(learned, carry.learned), chosen(state, carry.optimiser_state), in_row, bad, failed)
        return carry, Record(loss, norm, good)

    def fetch(inputs: Inputs, orders: Any, first_epoch: Array, given: Any, number: Array) -> Any:
        if static.batches == "drawn":
            epoch, position = number // static.steps_per_epoch - first_epoch, number % static.steps_per_epoch
            start = (epoch, position * static.batch_size)
            chosen = jax.lax.dynamic_slice(orders, start, (1, static.batch_size))[0]
            return jax.tree.map(lambda leaf: leaf.at[chosen].get(mode="promise_in_bounds"), inputs.data)
        return {"whole": inputs.data, "given": given, "none": None}[static.batches]

    @functools.partial(jax.jit, donate_argnums=0)
    def one(carry: Carry, inputs: Inputs, orders: Any, first_epoch: Array, given: Any, number: Array) -> Any:
        return step(carry, inputs, fetch(inputs, orders, first_epoch, given, number), number)

    @functools.partial(jax.jit, donate_argnums=0)
    def many(carry: Carry, inputs: Inputs, orders: Any, first_epoch: Array, first: Array, count: Array) -> Any:
        # The trip count is an argument: one program serves any number of steps, so that the result does not depend on
        # where a dispatch ended (XLA compiles loops of other lengths to other roundings).
        def body(i: Array, state: tuple[Carry, Record]) -> tuple[Carry, Record]:
            carry, records = state
            carry, record = step(carry, inputs, fetch(inputs, orders, first_epoch, None, first + i), first + i)
            return carry, jax.tree.map(lambda column, value: column.at[i].set(value), records, record)

        _, shapes = jax.eval_shape(step, carry, inputs, fetch(inputs, orders, first_epoch, None, first), first)
        empty = jax.tree.map(lambda leaf: jnp.zeros((CAPACITY,), leaf.dtype), shapes)
        return jax.lax.fori_loop(0, count, body, (carry, empty))

    return Programs(fetch, step, one, many)


def plan(step: Any, carry: Carry, inputs: Inputs, batch: Any, given: bool, steps: int) -> Plan:
    """Chooses between a compiled loop and single steps: single where batches are given one by one, and where the step
    holds convolutions on a CPU, on which XLA runs them many times slower inside a loop."""
    if given:
        return Plan(1, "batches come from an iterable")
    if jax.default_backend() == "cpu" and holds_convolution(step, carry, inputs, batch, jnp.int32(0)):
        return Plan(1, "the step holds convolutions, which XLA on CPU runs slowly inside loops")
    return Plan(min(steps, CAPACITY), "a compiled loop costs the least per step")


def _all_finite(tree: Any) -> Bool[Array, ""]:
    leaves = jax.tree.leaves(tree)
    return functools.reduce(jnp.logical_and, [jnp.all(jnp.isfinite(leaf)) for leaf in leaves])


def _checked_scalar(value: Any) -> Array:
    value = jnp.asarray(value)
    if value.shape != () or not jnp.issubdtype(value.dtype, jnp.floating):
        raise ValueError(
            f"a risk must return a real floating-point scalar, but this one returned shape {value.shape} of "
            f"{value.dtype}; average over the batch (jnp.mean), and take a real loss of complex numbers."
        )
    return value
