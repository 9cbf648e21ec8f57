"""A recursive rule that begins where it stood, not at its first memory."""

from typing import Any

from jaxtyping import Array, Bool

from mbdl.core import RecursiveRule


class Resumed(RecursiveRule):
    """A recursive rule from a given memory; to a risk it is the rule, as if sequences began there.

    Args:
        rule: the rule.
        memory: from its `start`, `advance` or `run`; held fixed.
    """

    rule: RecursiveRule
    memory: Any

    def init(self) -> Any:
        return self.memory

    def step(self, memory: Any, x: Any) -> tuple[Any, Any]:
        return self.rule.step(memory, x)

    def through(self, memory: Any, xs: Any) -> tuple[Any, Any]:
        return self.rule.through(memory, xs)

    def valid(self, x: Any) -> Bool[Array, ""]:
        return self.rule.valid_part(x)

    def valid_part(self, x: Any) -> Bool[Array, ""]:
        return self.rule.valid_part(x)
