"""Predictive control: a plan from each state that is seen, of which the first control is applied."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mbdl.core import RecursiveRule, all_finite
from mbdl.core.solver import layers_of

from .iterative_lqr import IterativeLQR
from .situation import FeedbackPlan, Situation


class Planned(NamedTuple):
    """The memory of a `PredictiveControl`: the plan from the next time on, and that time."""

    plan: FeedbackPlan
    time: Int[Array, ""]


class PredictiveControl(RecursiveRule):
    r"""Predictive control of any system: at each time the planner runs from the state that is seen, and the policy
    applies the first control of its plan.

    The plan of the time before, shifted by one stage and its last one repeated, is where the next search begins, so
    that a few iterations suffice. It is followed with its feedback, from the state that is seen. The planner may be
    learned, unfolded or hold learned parts: a residual model, a terminal cost.

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
        system, initial = self.solver.system, self.solver.initial
        now = jnp.zeros((), jnp.int32)
        state = jax.eval_shape(lambda: system.initial(jax.random.key(0), system.nominal_noise(now)))
        states = jnp.zeros((len(initial), *state.shape), initial.dtype)
        gains = jnp.zeros((*initial.shape, *state.shape), initial.dtype)
        return Planned(FeedbackPlan(initial, states, gains), now)

    def step(self, memory: Planned, x: Float[Array, " state"]) -> tuple[Planned, Float[Array, " control"]]:
        situation = Situation(x, memory.time, memory.plan)
        controls = self.solver.decide(situation)
        plan = layers_of(self.solver, -1).with_feedback(controls, situation)
        return Planned(jax.tree.map(_shifted, plan, memory.plan), memory.time + 1), controls[0]

    def valid(self, x: Any) -> Bool[Array, ""]:
        return all_finite(x)

    def why_not_finite(self, x: Any, decision: Any) -> str:
        return self.solver.why_not_finite(x, decision)


def _shifted(new: Array, old: Array) -> Array:
    return jnp.concatenate([new[1:], new[-1:]]).astype(old.dtype)
