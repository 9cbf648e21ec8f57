"""Policies without a plan: a linear map, any other rule from what is seen to the control, and bounds on a control."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Array, Float

from mbdl.core import DecisionRule, Learned, RecursiveRule, as_leaf, unconstrained
from mbdl.core.checks import finite, floating

from .changed_policy import AbstractChangedPolicy
from .constraints import Constraints
from .simulate import check_policy


class LinearFeedback(RecursiveRule):
    r"""The linear policy $u_t = -K x_t$.

    Args:
        gain: $K$, `[control state]`.

    Returns:
        from states `[time state]` the controls `[time control]`.

    Raises:
        ValueError: for what is no matrix or not finite.

    Differentiable in: the states and the gain.

    >>> import jax.numpy as jnp
    >>> from mbdl import control
    >>> control.LinearFeedback(jnp.array([[0.5, 1.0]]))(jnp.ones((1, 2))).tolist()
    [[-1.5]]
    """

    gain: Float[Array, "control state"]

    def __init__(self, gain: Any):
        self.gain = finite(floating(as_leaf(gain)), "LinearFeedback: the gain")
        shape = getattr(self.gain, "shape", (0, 0))
        if len(shape) != 2:
            raise ValueError(f"LinearFeedback: expected a gain [control state], got shape {shape}")

    def init(self) -> None:
        return None

    def step(self, memory: None, x: Float[Array, " state"]) -> tuple[None, Float[Array, " control"]]:
        return None, -self.gain @ x


class StateFeedback(RecursiveRule):
    r"""A map from what is seen to the control as a policy, $u_t = \mu(y_t)$: with a network, the black box among
    policies.

    Args:
        rule: $\mu$, a network (which is learned), or a decision rule, `[observation] -> [control]`.

    Returns:
        from observations `[time observation]` the controls `[time control]`.

    Raises:
        TypeError: for what cannot be called.

    Differentiable in: the observations and what `rule` is differentiable in.

    >>> import jax, jax.numpy as jnp, mbdl
    >>> from mbdl import control, networks
    >>> policy = control.StateFeedback(networks.MLP(2, 1, width=8, depth=1, key=jax.random.key(0)))
    >>> policy(jnp.ones((5, 2))).shape, mbdl.spectrum(policy).strategy
    ((5, 1), 'black box')
    """

    rule: Any

    def __init__(self, rule: Callable[[Array], Array]):
        if not callable(rule) and not isinstance(rule, Learned):
            raise TypeError(f"StateFeedback: expected a network or a map from states to controls, got {rule!r}")
        self.rule = rule if isinstance(rule, Learned | DecisionRule) else Learned(rule, unconstrained, ("network",))

    def init(self) -> None:
        return None

    def step(self, memory: None, x: Float[Array, " observation"]) -> tuple[None, Float[Array, " control"]]:
        return None, self.rule(x)


class Clipped(AbstractChangedPolicy):
    r"""A policy whose control is clipped at its bounds, $u_t = \Pi(\pi(y_t))$.

    Args:
        policy: $\pi$, any policy.
        constraints: the bounds of the control; others are not kept.

    Returns:
        from what the policy takes the controls `[time control]`.

    Raises:
        TypeError: for what is no policy.
        ValueError: for constraints without bounds of the control.

    Differentiable in: what the policy is differentiable in, and the bounds; where a bound clips, the derivative with
    respect to the policy is zero.

    >>> import jax.numpy as jnp
    >>> from mbdl import control
    >>> policy = control.Clipped(control.LinearFeedback(jnp.eye(1)), control.Constraints(control=(-0.5, 0.5)))
    >>> policy(jnp.array([[0.25], [2.0]])).tolist()
    [[-0.25], [-0.5]]
    """

    policy: RecursiveRule
    constraints: Constraints

    def __init__(self, policy: RecursiveRule, constraints: Constraints):
        check_policy(policy, "Clipped")
        if constraints.control is None:
            raise ValueError(
                "Clipped: the constraints have no bounds of the control: Constraints(control=(lower, upper))"
            )
        self.policy, self.constraints = policy, constraints

    def changed(self, decision: Float[Array, " control"], x: Any) -> Float[Array, " control"]:
        return self.constraints.clipped(decision)
