"""Predictive control: a plan from each state that is seen, of which the first control is applied."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mbdl.core import RecursiveRule, all_finite

from .iterative_lqr import IterativeLQR
from .situation import Situation


class Planned(NamedTuple):
    """The memory of a `PredictiveControl`: the plan from the next time on, and that time."""

    plan: Float[Array, "horizon control"]
    time: Int[Array, ""]


class PredictiveControl(RecursiveRule):
    r"""Predictive control of any system: at each time the planner runs from the state that is seen, and the policy
    applies the first control of its plan.

    The plan of the time before, shifted by one stage and its last control repeated, is where the next search begins, so
    that a few iterations suffice. The planner may be learned, unfolded or hold learned parts: a residual model, a
    terminal cost.

    Args:
        solver: a planner, an `IterativeLQR`; its `iterations` are those of each time.

    Returns:
        from states `[time state]` the controls `[time control]`.

    Raises:
        TypeError: for what is no planner.

    Differentiable in: the states and what the planner is differentiable in, through time and the warm starts.

    Source: J. B. Rawlings, D. Q. Mayne and M. M. Diehl, "Model predictive control: theory, computation, and design",
    2nd edition, Nob Hill, 2017.

    >>> import jax.numpy as jnp
    >>> from mbdl import control
    >>> system = control.LinearSystem(jnp.eye(1), jnp.eye(1), process_noise=jnp.eye(1))
    >>> cost = control.QuadraticCost(jnp.eye(1), jnp.eye(1))
    >>> policy = control.PredictiveControl(control.IterativeLQR(system, cost, horizon=20, iterations=2))
    >>> round(float(policy(jnp.ones((1, 1)))[0, 0]), 3)  # that of the linear quadratic regulator
    -0.618
    """

    solver: IterativeLQR

    def __init__(self, solver: IterativeLQR):
        if not isinstance(solver, IterativeLQR):
            raise TypeError(
                f"PredictiveControl: expected a planner (control.IterativeLQR), got {type(solver).__name__}. For a "
                "linear system with bounds there is control.LinearPredictiveControl"
            )
        self.solver = solver

    def init(self) -> Planned:
        return Planned(self.solver.initial, jnp.zeros((), jnp.int32))

    def step(self, memory: Planned, x: Float[Array, " state"]) -> tuple[Planned, Float[Array, " control"]]:
        plan = self.solver.decide(Situation(x, memory.time, memory.plan))
        shifted = jnp.concatenate([plan[1:], plan[-1:]]).astype(memory.plan.dtype)
        return Planned(shifted, memory.time + 1), plan[0]

    def valid(self, x: Any) -> Bool[Array, ""]:
        return all_finite(x)

    def why_not_finite(self, x: Any, decision: Any) -> str:
        return self.solver.why_not_finite(x, decision)
