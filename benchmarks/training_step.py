"""A step of training as a user writes it: value and gradient of the risk, then optax; and through `fit`."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mbdl import core, training

LEARNING_RATE = 1e-3


def step(rule: Any, xs: jax.Array, targets: jax.Array, loss: Callable = training.losses.mse) -> Callable[[], jax.Array]:
    """A program that takes one Adam step a call, and returns the loss."""
    learned, rest = core.partition(rule)
    optimiser = optax.adam(LEARNING_RATE)
    risk = training.supervised((xs, targets), loss)

    @partial(jax.jit, donate_argnums=(0, 1))
    def update(learned: Any, state: Any, batch: Any) -> tuple[Any, Any, jax.Array]:
        value, gradient = jax.value_and_grad(lambda part: risk(core.combine(part, rest), batch))(learned)
        updates, state = optimiser.update(gradient, state, learned)
        return optax.apply_updates(learned, updates), state, value

    # The first state is donated: a copy keeps the rule's own arrays alive.
    learned = jax.tree.map(lambda leaf: leaf.copy(), learned)
    held = [learned, optimiser.init(learned)]

    def run() -> jax.Array:
        held[0], held[1], value = update(*held, (xs, targets))
        return jax.block_until_ready(value)

    return run


def fit(rule: Any, xs: jax.Array, targets: jax.Array, steps: int) -> Callable[[], Any]:
    """A program that trains for some steps a call through `mbdl.fit`, on ten times the batch."""
    risk = training.supervised(
        (jnp.tile(xs, (10,) + (1,) * (xs.ndim - 1)), jnp.tile(targets, (10,) + (1,) * (targets.ndim - 1))),
        training.losses.mse,
    )
    optimiser = optax.adam(LEARNING_RATE)
    return lambda: training.fit(
        rule, risk, optimiser, steps=steps, batch_size=xs.shape[0], key=jax.random.key(0), progress=False
    )
