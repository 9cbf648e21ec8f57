"""A policy around a policy: what that decides, changed."""

import abc
from typing import Any

import equinox as eqx
from jaxtyping import Array, Bool

from mbdl.core import RecursiveRule


class AbstractChangedPolicy(RecursiveRule):
    """A policy whose decision is that of another, changed by what is seen.

    A subclass has a field `policy` and writes `changed`; bounds, other units, another choice of the control are made
    of a policy in this way.
    """

    policy: eqx.AbstractVar[RecursiveRule]

    @abc.abstractmethod
    def changed(self, decision: Any, x: Any) -> Any:
        """The control in the place of what the policy decides at one time, from what is seen then."""

    def init(self) -> Any:
        return self.policy.init()

    def step(self, memory: Any, x: Any) -> tuple[Any, Any]:
        memory, decision = self.policy.step(memory, x)
        return memory, self.changed(decision, x)

    def valid(self, x: Any) -> Bool[Array, ""]:
        return self.policy.valid(x)

    def valid_part(self, x: Any) -> Bool[Array, ""]:
        return self.policy.valid_part(x)

    def why_invalid(self, x: Any) -> str:
        return self.policy.why_invalid(x)

    def why_not_finite(self, x: Any, decision: Any) -> str:
        return self.policy.why_not_finite(x, decision)
