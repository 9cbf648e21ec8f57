"""The iterative linear quadratic regulator: the plan of a nonlinear system, by linear quadratic problems around it."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mbdl.core import IterativeSolver, all_finite, as_leaf, dtype_of, loop
from mbdl.core.checks import finite, floating, positive

from .constraints import Constraints
from .cost import AbstractCost
from .counts import check_counts
from .expansion import Correction, backward_step, expand, last_curve, nominal_move, planned_cost
from .situation import FeedbackPlan, Situation, as_situation
from .system import AbstractSystem, as_system

LARGEST = 20
"""The damping is at most 10 to this power times the regularisation."""


class PlanState(eqx.Module):
    """The plan $u_0, \\dots, u_{T-1}$, how often the damping is ten times the regularisation, and the relative size of
    the last full step."""

    controls: Float[Array, "horizon control"]
    level: Int[Array, ""]
    remaining: Float[Array, ""]


class IterativeLQR(IterativeSolver):
    r"""The controls that make the cost of a system over a horizon smallest, from the state that is seen,
    $$\min_{u_0, \dots, u_{T-1}} \sum_{t=0}^{T-1} \ell(x_t, u_t, x_{t+1}, t) + \ell_T(x_T), \qquad
    x_{t+1} = f(x_t, u_t, \bar w_{t+1}), \quad l \le u_t \le h,$$
    with the noise $\bar w$ that a planner assumes (`nominal_noise`).

    Each iteration linearises the system along the plan (the second derivatives of $f$ in the value are left out), takes
    the exact curvature of a stage cost as a function of state and control, its positive semidefinite part, and goes
    backwards through the linear quadratic problem for $\delta u_t = \alpha k_t + K_t \delta x_t$, with $\mu\,\bar q I$
    added to the curvature $Q_{uu}$ of the controls ($\bar q$ the mean of its diagonal). The system then runs forwards
    under all step sizes $\alpha$ at once, and the cheapest is taken. Where none lowers the cost, the plan stays and
    $\mu$ grows tenfold; after a step that does it falls tenfold, never below the regularisation.

    Bounds of the control are kept exactly, as in control-limited differential dynamic programming: $k_t$ is the
    minimiser within the bounds, the components that they clamp have no feedback $K_t$, and the controls of the forward
    pass are clipped. Other constraints are not kept: put a penalty into the cost.

    A context is a state, or a `Situation` with a time and a plan to begin from, which is the warm start of predictive
    control: controls, or a `FeedbackPlan` (`with_feedback`), which stays near its states where the controls alone would
    lead an unstable system away. A few iterations, unfolded (`mbdl.unfold`) and learned, control at a fixed latency.

    Args:
        system: a system, or a model of `mbdl.tracking` with a control input, twice differentiable where the cost
            depends on the state that follows, else once.
        cost: what a stage and the last state cost, twice differentiable.
        horizon: $T$, the number of stages of the plan.
        constraints: bounds of the control.
        iterations: the depth of `solver(x)`.
        regularisation: the least $\mu > 0$, relative to the curvature of the controls.
        step_sizes: the $\alpha$ that are tried, `[candidates]`; by default $1, 1/2, \dots, 1/128$.
        initial: the plan to begin from where the context has none, `[horizon control]`; zero by default, brought
            within the bounds.

    Returns:
        from a state the controls `[horizon control]`.

    Raises:
        TypeError: for what is no system or no cost.
        ValueError: for constraints other than bounds of the control, sizes that do not agree, or a regularisation or
            step size that is not positive; when it is used, for a plan along which the system diverges.

    Differentiable in: everything through a fixed depth, with the chosen step size and the clamped components held (they
    have no derivative); through `solve` in all but the regularisation, the step sizes and the first plan.

    Source: W. Li and E. Todorov, "Iterative linear quadratic regulator design for nonlinear biological movement
    systems", ICINCO 2004; Y. Tassa, N. Mansard and E. Todorov, "Control-limited differential dynamic programming",
    ICRA 2014. Here the step sizes are tried at once, the regularisation is relative, and negative curvature is removed.

    >>> import jax.numpy as jnp
    >>> from mbdl import control
    >>> def swing(state, torque, noise, time):
    ...     angle, speed = state
    ...     return jnp.stack([angle + 0.1 * speed, speed + 0.1 * (jnp.sin(angle) + torque[0])])
    >>> pendulum = control.System(swing, noise=lambda key, time: 0.0, initial=jnp.zeros(2), control_size=1)
    >>> cost = control.QuadraticCost(jnp.eye(2), 0.1 * jnp.eye(1))
    >>> planner = control.IterativeLQR(pendulum, cost, horizon=20, constraints=control.Constraints(control=(-2.0, 2.0)))
    >>> planner(jnp.array([1.0, 0.0])).shape
    (20, 1)
    """

    system: AbstractSystem
    cost: AbstractCost
    constraints: Constraints
    regularisation: Float[Array, ""]
    step_sizes: Float[Array, " candidates"]
    initial: Float[Array, "horizon control"]
    horizon: int = eqx.field(static=True)

    def __init__(
        self,
        system: Any,
        cost: AbstractCost,
        *,
        horizon: int,
        constraints: Constraints | None = None,
        iterations: int = 20,
        regularisation: Any = 1e-6,
        step_sizes: Any = None,
        initial: Any = None,
    ):
        check_counts({"horizon": horizon}, "IterativeLQR")
        self.system = as_system(system, "IterativeLQR")
        if not isinstance(cost, AbstractCost):
            raise TypeError(
                f"IterativeLQR: expected a control.Cost or control.QuadraticCost, got {type(cost).__name__}"
            )
        self.cost, self.horizon, self.iterations = cost, horizon, iterations
        self.constraints = Constraints() if constraints is None else constraints
        if self.constraints.state is not None or self.constraints.inequality is not None:
            raise ValueError(
                "IterativeLQR: it keeps bounds of the control only. Put a penalty on other constraints into the cost; "
                "control.LinearPredictiveControl keeps bounds of the state of a linear system"
            )
        for bound in self.constraints.control or ():
            if getattr(bound, "shape", ()) not in ((), (self.system.control_size,)):
                raise ValueError(
                    f"IterativeLQR: the bounds of the control have shape {bound.shape}; expected a number or "
                    f"{(self.system.control_size,)}, one for each control of the system"
                )
        dtype = dtype_of((self.system, cost))
        if step_sizes is None:
            step_sizes = 0.5 ** jnp.arange(8, dtype=dtype)
        self.regularisation = positive(as_leaf(regularisation), "IterativeLQR: the regularisation")
        self.step_sizes = positive(floating(as_leaf(step_sizes)), "IterativeLQR: a step size")
        shape = (horizon, self.system.control_size)
        self.initial = (
            jnp.zeros(shape, dtype)
            if initial is None
            else finite(floating(as_leaf(initial)), "IterativeLQR: the first plan")
        )
        for name, leaf, wanted in (("step_sizes", self.step_sizes, None), ("initial", self.initial, shape)):
            given = getattr(leaf, "shape", None)
            if given is not None and (len(given) != 1 if wanted is None else given != wanted):
                raise ValueError(f"IterativeLQR: {name} has shape {given}; expected {wanted or '[candidates]'}")

    def init(self, x: Any) -> PlanState:
        situation = as_situation(x)
        plan = self.initial if situation.plan is None else situation.plan
        controls = plan.controls if isinstance(plan, FeedbackPlan) else plan
        if controls.shape != self.initial.shape:
            raise ValueError(
                f"IterativeLQR: the plan of a situation has shape {controls.shape}; expected {self.initial.shape}"
            )
        if isinstance(plan, FeedbackPlan):
            controls = self._followed(plan, situation)
        controls = controls.astype(jnp.result_type(controls, situation.state))
        return PlanState(self.constraints.clipped(controls), jnp.asarray(0), jnp.asarray(jnp.inf, controls.dtype))

    def step(self, state: PlanState, x: Any) -> PlanState:
        situation, controls = as_situation(x), state.controls
        states = self.states(controls, situation)
        correction = self._correction(states, controls, state.level, situation)
        usable = all_finite(correction)
        correction = jax.tree.map(lambda leaf: jnp.where(usable, leaf, 0.0), correction)

        def price(size: Array) -> Array:
            return self._forwards(states, controls, correction, size, situation)[1]

        prices = jax.vmap(price)(jnp.concatenate([jnp.zeros_like(self.step_sizes[:1]), self.step_sizes]))
        now, tried = prices[0], jnp.where(jnp.isnan(prices[1:]), jnp.inf, prices[1:])
        best = jnp.argmin(tried)
        # Near the optimum a step lowers the cost by less than its rounding.
        better = usable & (tried[best] <= now + 8 * jnp.finfo(now.dtype).eps * jnp.abs(now))
        size = jnp.where(better, self.step_sizes[best], 0.0)
        following = self._forwards(states, controls, correction, size, situation)[0]
        return PlanState(
            jnp.where(jnp.isfinite(now), following, jnp.nan),
            jnp.clip(jnp.where(better, state.level - 1, state.level + 1), 0, LARGEST),
            jnp.where(usable, _relative(correction.step, controls), jnp.inf) * self._growth(state.level),
        )

    def fixed_point(self, state: PlanState, x: Any) -> PlanState:
        """The full step, whatever it costs: it is zero exactly where the plan is optimal."""
        situation = as_situation(x)
        states = self.states(state.controls, situation)
        correction = self._correction(states, state.controls, state.level, situation)
        following, _ = self._forwards(states, state.controls, correction, jnp.ones_like(state.remaining), situation)
        return PlanState(following, state.level, jax.lax.stop_gradient(state.remaining))

    def decision(self, state: PlanState) -> Float[Array, "horizon control"]:
        return state.controls

    def shift(self, state: PlanState, delta: Array) -> PlanState:
        return PlanState(self.constraints.clipped(state.controls + delta), state.level, state.remaining)

    def hyperparameters(self) -> tuple[Any, ...]:
        return self.regularisation, self.step_sizes

    def residual(self, previous: PlanState, current: PlanState, x: Any) -> Float[Array, ""]:
        """The size of the full step from the plan before, relative to that plan, times how much it was damped."""
        return current.remaining

    def states(self, controls: Float[Array, "horizon control"], x: Any) -> Float[Array, "times state"]:
        """The states that a plan leads through, the first one included; of a resolved solver."""
        situation = as_situation(x)
        first = situation.state.astype(controls.dtype)

        def move(state: Array, stage: tuple[Array, Array]) -> tuple[Array, Array]:
            following = nominal_move(self.system, state, *stage)
            return following, following

        states = loop(move, first, (controls, self._times(situation)), length=self.horizon)[1]
        return jnp.concatenate([first[None], states])

    def with_feedback(self, controls: Float[Array, "horizon control"], x: Any) -> FeedbackPlan:
        """A plan with the feedback around it that the linear quadratic problem along it has; of a resolved solver.

        Args:
            controls: the plan, `[horizon control]`.
            x: the state, or the situation, that it begins from.
        """
        situation = as_situation(x)
        states = self.states(controls, situation)
        correction = self._correction(states, controls, jnp.asarray(0), situation)
        gains = jnp.where(all_finite(correction), correction.gain, 0.0)
        return FeedbackPlan(controls, states[:-1], gains)

    def _followed(self, plan: FeedbackPlan, situation: Situation) -> Float[Array, "horizon control"]:
        """The controls of a plan with feedback from a state that need not be its first."""

        def move(state: Array, stage: tuple[FeedbackPlan, Array]) -> tuple[Array, Array]:
            near, time = stage
            control = self.constraints.clipped(near.controls + near.gains @ (state - near.states))
            return nominal_move(self.system, state, control, time), control

        first = situation.state.astype(jnp.result_type(plan.controls, situation.state))
        return loop(move, first, (plan, self._times(situation)), length=self.horizon)[1]

    def _correction(self, states: Array, controls: Array, level: Array, situation: Situation) -> Correction:
        """The backward pass."""
        stages = jax.vmap(lambda *stage: expand(self.system, self.cost, *stage))(
            states[:-1], controls, self._times(situation)
        )
        bounds = self.constraints.control
        if bounds is not None:
            lower, upper = (jnp.broadcast_to(bound, controls.shape) - controls for bound in bounds)
            bounds = (lower, upper)
        damping = self.regularisation * self._growth(level)

        def stage(curve: Any, inputs: Any) -> Any:
            return backward_step(curve, inputs[0], damping, inputs[1])

        last = last_curve(self.cost, states[-1])
        return loop(stage, last, (stages, bounds), length=self.horizon, reverse=True)[1]

    def _forwards(
        self, states: Array, controls: Array, correction: Correction, size: Array, situation: Situation
    ) -> tuple[Float[Array, "horizon control"], Float[Array, ""]]:
        """The controls of a forward pass with a step size, and what they cost."""

        def stage(state: Array, inputs: Any) -> tuple[Array, tuple[Array, Array]]:
            near, control, (step, gain), time = inputs
            control = self.constraints.clipped(control + size * step + gain @ (state - near))
            value, following = planned_cost(self.system, self.cost, state, control, time)
            return following, (control, value)

        inputs = (states[:-1], controls, correction, self._times(situation))
        last, (controls, values) = loop(stage, states[0], inputs, length=self.horizon)
        return controls, jnp.sum(values) + self.cost.terminal(last)

    def _times(self, situation: Situation) -> Int[Array, " horizon"]:
        return situation.time + jnp.arange(self.horizon)

    def _growth(self, level: Array) -> Float[Array, ""]:
        return 10.0 ** level.astype(self.regularisation.dtype)

    def valid(self, x: Any) -> Bool[Array, ""]:
        return all_finite(as_situation(x))

    def why_not_finite(self, x: Any, decision: Any) -> str:
        return (
            "the system diverges along the first plan, so that there is no cost to lower. Take a shorter horizon, or "
            "an initial plan along which the states stay finite"
        )


def _relative(step: Array, controls: Array) -> Float[Array, ""]:
    """The size of a step relative to that of the controls; the step itself where they are below one."""
    size = jnp.sum(step**2)
    length = jnp.sqrt(jnp.where(size > 0, size, 1.0))
    return jnp.where(size > 0, length, 0.0) / jnp.maximum(jnp.sqrt(jnp.maximum(jnp.sum(controls**2), 1e-30)), 1.0)
