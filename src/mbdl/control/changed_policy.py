"""A policy around a policy: what that decides, changed."""

import abc
from typing import Any

import equinox as eqx
from jaxtyping import Array, Bool

from mbdl.core import RecursiveRule


class AbstractChangedPolicy(RecursiveRule):
    r"""A policy whose decision is that of another, changed by what is seen, $u_t = c(\pi(y_t), y_t)$.

    A subclass has a field `policy`, $\pi$, and writes `changed`, $c$: bounds of the control, other units, another
    choice of the control. What it refuses and says of errors is what the policy does.

    Returns:
        from what the policy takes, `[time observation]`, the controls `[time control]`.

    Differentiable in: what the policy and `changed` are differentiable in.

    >>> import jax.numpy as jnp
    >>> from mbdl import control
    >>> class Rounded(control.AbstractChangedPolicy):
    ...     policy: control.LinearFeedback
    ...     def changed(self, decision, x):
    ...         return jnp.round(decision)
    >>> Rounded(control.LinearFeedback(jnp.eye(1)))(jnp.array([[0.4], [1.7]])).tolist()
    [[-0.0], [-2.0]]
    """

    policy: eqx.AbstractVar[RecursiveRule]

    @abc.abstractmethod
    def changed(self, decision: Any, x: Any) -> Any:
        """The control `[control]` in the place of what the policy decides at one time, from what is seen then."""

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
