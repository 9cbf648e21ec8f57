"""Policies without a plan: a linear map, and any other rule, from what is seen to the control."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Array, Float

from mbdl.core import DecisionRule, Learned, RecursiveRule, as_leaf, unconstrained
from mbdl.core.checks import finite, floating

from .constraints import Constraints


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
    r"""A map from what is seen to the control as a policy, $u_t = \Pi(\mu(y_t))$: a network is the black box among
    policies; $\Pi$ keeps the bounds of the control.

    Args:
        rule: $\mu$, a network (which is learned), a decision rule, or any function `[observation] -> [control]` that is
            a pytree.
        constraints: bounds of the control, at which it is clipped; none by default.

    Returns:
        from observations `[time observation]` the controls `[time control]`.

    Raises:
        TypeError: for what cannot be called.

    Differentiable in: the observations and what `rule` is differentiable in; where a bound clips, the derivative is
    zero.

    >>> import jax, jax.numpy as jnp, mbdl
    >>> from mbdl import control, networks
    >>> network = networks.MLP(2, 1, width=8, depth=1, key=jax.random.key(0))
    >>> policy = control.StateFeedback(network, control.Constraints(control=(-0.1, 0.1)))
    >>> policy(jnp.ones((5, 2))).shape, mbdl.spectrum(policy).strategy
    ((5, 1), 'black box')
    """

    rule: Any
    constraints: Constraints

    def __init__(self, rule: Callable[[Array], Array], constraints: Constraints | None = None):
        if not callable(rule) and not isinstance(rule, Learned):
            raise TypeError(f"StateFeedback: expected a network or a map from states to controls, got {rule!r}")
        self.rule = rule if isinstance(rule, Learned | DecisionRule) else Learned(rule, unconstrained, ("network",))
        self.constraints = Constraints() if constraints is None else constraints

    def init(self) -> None:
        return None

    def step(self, memory: None, x: Float[Array, " observation"]) -> tuple[None, Float[Array, " control"]]:
        return None, self.constraints.clipped(self.rule(x))
