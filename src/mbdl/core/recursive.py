"""Recursive rules: filters, detectors and policies, which consume a sequence and carry a memory."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from .fixed_point import Status
from .loops import loop
from .rule import DecisionRule, all_finite, evaluate


class Course(eqx.Module):
    """How a recursion went; made by `RecursiveRule.run`.

    Attributes:
        output: the outputs, stacked along a leading time axis.
        memory: the memory after the last input, from which `run` and `advance` go on.
        diverged_at: the index of the first input whose output is not finite; -1 where all are.
        status: `Status.complete`, or `Status.diverged` where an output is not finite.
    """

    output: Any
    memory: Any
    diverged_at: Int[Array, ""]
    status: Status

    @property
    def finite(self) -> Array:
        """Whether every output is finite."""
        return self.diverged_at < 0


class RecursiveRule(DecisionRule):
    r"""A rule that consumes a sequence, $(m_t, s_t) = T_\theta(m_{t-1}, x_t)$ from a memory $m_0$.

    A subclass writes `init` and `step`. The same object is run

    - on a whole sequence, `rule(xs)`, where `xs` is a tree of arrays with a leading time axis; the outputs are stacked
      along one;
    - as a stream: `memory = rule.start()`, then `memory, output = rule.advance(memory, x)` for each input;
    - in blocks, `rule.run(xs, memory)`, which also tells where it diverged.

    Differentiable through time. `mbdl.truncated` is a risk that cuts the gradient between windows of a long sequence.

    ```python
    class Average(mbdl.RecursiveRule):
        forgetting: jax.Array

        def init(self):
            return jnp.zeros(())

        def step(self, memory, x):
            memory = self.forgetting * memory + (1 - self.forgetting) * x
            return memory, memory

    Average(0.9)(jnp.ones(50))
    ```
    """

    @abc.abstractmethod
    def init(self) -> Any:
        """The memory before the first input; arrays of the same shapes and dtypes as `step` returns."""

    @abc.abstractmethod
    def step(self, memory: Any, x: Any) -> tuple[Any, Any]:
        """The memory and the output after one more input."""

    def decide(self, xs: Any) -> Any:
        return self.through(self.init(), xs)[1]

    def valid_part(self, x: Any) -> Bool[Array, ""]:
        """Whether one input of a stream, or a block of them, is valid; by default whether all of it is finite."""
        return all_finite(x)

    def through(self, memory: Any, xs: Any) -> tuple[Any, Any]:
        """The last memory and the stacked outputs of a resolved rule; for authors of rules and risks."""
        return loop(self.step, memory, xs, length=time_steps(xs, type(self).__name__))

    def start(self) -> Any:
        """The memory before the first input."""
        return evaluate(self, "_start", None, valid="valid_part")[0]

    def advance(self, memory: Any, x: Any) -> tuple[Any, Any]:
        """One input of a stream, compiled once.

        Args:
            memory: from `start`, or from the call before.
            x: one input, without a time axis.

        Returns:
            The memory for the next call, and the output.

        Raises:
            ValueError: as a call does, for an input that is not valid or an output that is not finite.
        """
        result, flags = evaluate(self, "_advance", x, memory, valid="valid_part")
        self._check(flags, x, None)
        return result

    def run(self, xs: Any, memory: Any = None, *, throw: bool = True) -> Course:
        """A block of a sequence, from the beginning or from where another block ended.

        Args:
            xs: a tree of arrays with a leading time axis.
            memory: from `start`, `advance`, or the `Course` of the block before; by default the first one.
            throw: raise for outputs that are not finite; otherwise `Course.diverged_at` says where they begin. Under a
                transformation nothing raises.

        Returns:
            a `Course`; under `jax.vmap` one `diverged_at` for each instance.

        Raises:
            ValueError: for an input that is not valid, or (with `throw`) an output that is not finite.
        """
        course, flags = evaluate(self, "_run", xs, memory, valid="valid" if memory is None else "valid_part")
        if throw or (flags is not None and not int(flags) & 1):
            self._check(flags, xs, course.output)
        return course

    def _start(self, x: None) -> Any:
        return self.init()

    def _advance(self, x: Any, memory: Any) -> tuple[Any, Any]:
        return self.step(memory, x)

    def _run(self, xs: Any, memory: Any) -> Course:
        memory, output = self.through(self.init() if memory is None else memory, xs)
        bad = ~jax.vmap(all_finite)(output)
        status = Status.where(jnp.any(bad), Status.diverged, Status.complete)
        return Course(output, memory, jnp.where(jnp.any(bad), jnp.argmax(bad), -1), status)

    def why_not_finite(self, x: Any, decision: Any) -> str:
        return f"{first_bad_step(decision)}{super().why_not_finite(x, decision)}"


def first_bad_step(outputs: Any) -> str:
    """At which step outputs are first not finite, as the beginning of a message; nothing where they are."""
    lengths = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(outputs)}
    if len(lengths) != 1 or () in lengths:
        return ""
    bad = ~np.asarray(jax.vmap(all_finite)(outputs))
    if not bad.any():
        return ""
    return f"first at step {int(np.argmax(bad))} of {bad.size}. "


def time_steps(xs: Any, what: str) -> int:
    """The length of the leading time axis that all arrays of a tree share.

    Raises:
        ValueError: where there is none, or it is empty.
    """
    shapes = {jax.tree_util.keystr(path): np.shape(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(xs)}
    lengths = {shape[0] if shape else 0 for shape in shapes.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(
            f"{what}: expected arrays with one leading time axis of at least one step, got the shapes {shapes}. Give "
            "one sequence [time ...] and apply jax.vmap to a batch"
        )
    return lengths.pop()
