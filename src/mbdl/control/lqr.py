"""The linear quadratic regulator."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mbdl import tracking
from mbdl.core import RecursiveRule, loop, resolve
from mbdl.core.checks import concrete

from .cost import QuadraticCost
from .counts import check_counts
from .riccati_recursion import Feedback, Value, backward, last_value, model_matrices, stationary_value

_NONE = "the pair of transition and control cannot be stabilised, or the cost does not see a mode that does not decay"


class Plan(NamedTuple):
    """The memory of an `LQR`: its feedback, one for each stage where there is a horizon, and the stage."""

    feedback: Feedback
    time: Int[Array, ""]


class LQR(RecursiveRule):
    r"""The linear quadratic regulator: the policy $u_t = -K x_t - k$ that makes the cost of a linear system smallest,
    $$K = (R + B^\top P B)^{-1} (N^\top + B^\top P A), \qquad
    P = Q + A^\top P A - (N + A^\top P B) K;$$
    over a finite horizon $P$ and $K$ follow from the terminal cost by the recursion backwards, one for each stage.

    Args:
        system: a linear system, or a `tracking.LinearGaussian` with a control input. With a horizon its matrices may
            depend on the time.
        cost: the quadratic cost. Without a horizon its terminal part is not used.
        horizon: the number of stages; without it the policy is stationary and makes the mean cost over a long time
            smallest.

    Returns:
        from states `[time state]` the controls `[time control]`.

    Raises:
        TypeError: for a system that is not linear, or a cost that is not quadratic.
        ValueError: for sizes that do not agree, or a pair $(A, B)$ that cannot be stabilised.

    Differentiable in: the states, and every matrix of system and cost; through the equation that $P$ fulfils.

    Source: D. P. Bertsekas, "Dynamic programming and optimal control", Athena Scientific, 2017.

    >>> import jax.numpy as jnp
    >>> from mbdl import control
    >>> system = control.LinearSystem(jnp.eye(1), jnp.eye(1), process_noise=jnp.eye(1))
    >>> policy = control.LQR(system, control.QuadraticCost(jnp.eye(1), jnp.eye(1)))
    >>> round(float(policy(jnp.ones((1, 1)))[0, 0]), 3)
    -0.618
    """

    transition: Any
    control: Any
    cost: QuadraticCost
    horizon: int | None = eqx.field(static=True)

    def __init__(self, system: Any, cost: QuadraticCost, *, horizon: int | None = None):
        self.transition, self.control = model_matrices(system, "LQR")
        if not isinstance(cost, QuadraticCost):
            raise TypeError(f"LQR: expected a control.QuadraticCost, got {type(cost).__name__}")
        self.cost, self.horizon = cost, horizon
        if horizon is not None:
            check_counts({"horizon": horizon}, "LQR")
        elif callable(self.transition) or callable(self.control):
            raise ValueError("LQR: a system that depends on the time has no stationary policy; give a horizon")
        else:
            _check_stabilisable(self.transition, self.control)
        _check_sizes(self.transition, self.control, cost)

    def init(self) -> Plan:
        return Plan(self._feedback()[1], jnp.zeros((), jnp.int32))

    def step(self, memory: Plan, x: Float[Array, " state"]) -> tuple[Plan, Float[Array, " control"]]:
        feedback = memory.feedback
        if self.horizon is not None:
            # NaN beyond the horizon, so that a run that is too long cannot pass unnoticed.
            feedback = jax.tree.map(lambda leaf: leaf.at[memory.time].get(mode="fill", fill_value=jnp.nan), feedback)
        return Plan(memory.feedback, memory.time + 1), -feedback.gain @ x - feedback.offset

    def value(self) -> Value:
        """The value function of the first stage, $V(x) = x^T P x + 2 p^T x$ up to a constant.

        Raises:
            ValueError: where there is none.
        """
        value = self._feedback()[0]
        known = concrete(value.matrix)
        if known is not None and not np.all(np.isfinite(known)):
            raise ValueError(f"LQR: there is no value function: {_NONE}")
        return value

    def _feedback(self) -> tuple[Value, Feedback]:
        rule = resolve(self)
        if rule.horizon is None:
            value = stationary_value(rule.transition, rule.control, rule.cost)
            return value, backward(rule.transition, rule.control, rule.cost, value)[1]
        times = jnp.arange(1, rule.horizon + 1)

        def stage(value: Value, time: Array) -> tuple[Value, Feedback]:
            moment = tracking.Moment(time)
            return backward(tracking.at(rule.transition, moment), tracking.at(rule.control, moment), rule.cost, value)

        last = last_value(rule.cost, len(rule.cost.state))
        return loop(stage, last, times, length=rule.horizon, reverse=True)

    def why_not_finite(self, x: Any, decision: Any) -> str:
        if self.horizon is not None:
            return f"its horizon is {self.horizon} stages: a longer run needs a longer horizon, or none"
        return _NONE


def _check_sizes(transition: Any, control: Any, cost: QuadraticCost) -> None:
    shapes = [getattr(leaf, "shape", None) for leaf in (transition, control, cost.state, cost.control)]
    wanted = {0: ("state", shapes[2]), 1: ("control", shapes[3])}
    given = {0: None if shapes[0] is None else shapes[0][0], 1: None if shapes[1] is None else shapes[1][1]}
    for place, (name, shape) in wanted.items():
        if shape is not None and given[place] is not None and shape[0] != given[place]:
            raise ValueError(
                f"LQR: the cost of the {name} is of size {shape[0]}, and the system has a {name} of size {given[place]}"
            )


def _check_stabilisable(transition: Any, control: Any) -> None:
    """Raise for a mode that does not decay and that the control does not move, by the Hautus test."""
    A, B = concrete(transition), concrete(control)
    if A is None or B is None:
        return
    A, B = A.astype(np.float64), B.astype(np.float64)
    precision = np.sqrt(np.finfo(np.float32).eps)
    for mode in np.linalg.eigvals(A):
        if abs(mode) >= 1 - 1e-7:
            pencil = np.concatenate([mode * np.eye(len(A)) - A, B], axis=1)
            scale = np.linalg.norm(pencil, 2)
            if np.linalg.svd(pencil, compute_uv=False)[-1] < precision * scale * 1e-2:
                raise ValueError(
                    f"LQR: the pair (transition, control) cannot be stabilised: the mode of eigenvalue {mode:.4g} does "
                    "not decay and no control moves it"
                )
