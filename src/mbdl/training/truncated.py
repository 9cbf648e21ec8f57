"""Truncated backpropagation through time: the risk of a recursive rule on sequences that are long."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from mbdl.core import RecursiveRule, loop, time_steps
from mbdl.training.risk import AbstractExampleRisk, checked_function, checked_pairs, pair


class Truncated(AbstractExampleRisk):
    """The mean loss over the windows of long sequences, the gradient cut between them; made by `truncated`."""

    data: Any
    loss: Callable[[Any, Any], Array]
    window: int = eqx.field(static=True)
    rematerialise: bool = eqx.field(static=True)

    def values(self, rule: Any, batch: Any, key: PRNGKeyArray | None) -> Float[Array, " batch"]:
        if not isinstance(rule, RecursiveRule):
            raise TypeError(
                f"truncated: expected a recursive rule, which carries a memory from window to window, got "
                f"{type(rule).__name__}. Train it with mbdl.supervised"
            )
        xs, targets = pair(batch)
        return jax.vmap(lambda x, target: self._value(rule, x, target))(xs, targets)

    def _value(self, rule: RecursiveRule, x: Any, target: Any) -> Array:
        steps = time_steps((x, target), "truncated")
        window = min(self.window, steps)
        whole, rest = divmod(steps, window)

        def part(memory: Any, block: tuple[Any, Any]) -> tuple[Any, Array]:
            course = rule.run(block[0], memory)
            return _cut(course.memory), self.loss(course.output, block[1])

        windows = jax.tree.map(lambda leaf: leaf[: whole * window].reshape(whole, window, *leaf.shape[1:]), (x, target))
        memory, losses = loop(part, rule.start(), windows, length=whole, rematerialise=self.rematerialise)
        total = window * jnp.sum(losses)
        if rest:
            total += rest * part(memory, jax.tree.map(lambda leaf: leaf[whole * window :], (x, target)))[1]
        return total / steps


def truncated(data: Any, loss: Callable[[Any, Any], Array], *, window: int, rematerialise: bool = True) -> Truncated:
    r"""The empirical risk of a recursive rule with its gradient truncated: each sequence is cut into windows $W_1,
    W_2, \dots$, the memory goes on from window to window, and its gradient does not,
    $$\frac1N \sum_i \sum_j \frac{|W_j|}{T} \, \mathrm{loss}\bigl(s_{i, W_j}, t_{i, W_j}\bigr).$$

    For a loss that is a mean over time the value is that of `supervised`, whatever the window: the last one, which may
    be shorter, has the weight of its length. The gradient is that of the windows alone, so that it neither vanishes
    nor explodes over a long sequence; with a window of the whole sequence it is that of `supervised`. Nothing is
    assumed of the state at the beginning of a window, as cutting sequences into independent ones would.

    Args:
        data: `(xs, targets)`, two trees of arrays `[example time ...]`; or an iterable of such pairs; or None if `fit`
            is given the data.
        loss: a function `(outputs, targets) -> scalar` of one window of one sequence, both `[time ...]`.
        window: the number of steps of a window, at least 1.
        rematerialise: compute the steps of each window again in the backward pass: memory for one window instead of
            the whole sequence, at the cost of a second forward pass.

    Returns:
        A risk, a pytree whose leaves are the data.

    Raises:
        ValueError: for a window below 1, or data whose leading axes differ.
        TypeError: if the loss is not callable, or (when it is used) if the rule is not recursive.

    Differentiable in: what is learned in the rule, but for the paths through the memory at the beginning of a window.

    >>> import jax.numpy as jnp, mbdl
    >>> class Average(mbdl.RecursiveRule):
    ...     forgetting: jax.Array
    ...     def init(self):
    ...         return jnp.zeros(())
    ...     def step(self, memory, x):
    ...         memory = self.forgetting * memory + (1 - self.forgetting) * x
    ...         return memory, memory
    >>> data = (jnp.ones((4, 50)), jnp.ones((4, 50)))
    >>> short = truncated(data, mbdl.losses.mse, window=8)(Average(0.9))
    >>> bool(jnp.allclose(short, mbdl.supervised(data, mbdl.losses.mse)(Average(0.9))))
    True
    """
    if isinstance(window, bool) or not isinstance(window, int | np.integer) or window < 1:
        raise ValueError(f"truncated: expected a window of at least one step, got window={window!r}")
    checked_function(loss, "truncated", "loss(outputs, targets)")
    checked_pairs(data, "truncated")
    return Truncated(data, loss, int(window), bool(rematerialise))


def _cut(memory: Any) -> Any:
    """The same memory without its gradient."""
    return jax.tree.map(lambda leaf: jax.lax.stop_gradient(leaf) if eqx.is_inexact_array(leaf) else leaf, memory)
