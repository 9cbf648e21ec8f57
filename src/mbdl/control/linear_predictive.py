"""Predictive control of a linear system with bounds: a quadratic program at each time."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mbdl.core import RecursiveRule, as_leaf, first_bad_step
from mbdl.core.checks import concrete, positive

from .condensed import Condensed, condense
from .constraints import Constraints
from .cost import QuadraticCost
from .counts import check_counts
from .lqr import LQR
from .prepared import Prepared, prepare
from .qp_solution import QPSolution, QPStatus
from .quadratic_program import QuadraticProgram
from .riccati_recursion import Value, model_matrices
from .solve_qp import solve_qp


class Programmed(NamedTuple):
    """The memory of a `LinearPredictiveControl`: what depends on the model alone, and the solution to begin from."""

    condensed: Condensed
    prepared: Prepared
    near: QPSolution


class LinearPredictiveControl(RecursiveRule):
    r"""Predictive control of a linear system with bounds on controls and states: at each time the policy applies the
    first control of
    $$\min_{u_0, \dots, u_{T-1}} \sum_{t=0}^{T-1} \ell(x_t, u_t) + x_T^\top P x_T + 2 p^\top x_T \quad \text{subject to}
    \quad x_{t+1} = A x_t + B u_t, \; l \le u_t \le h, \; l' \le x_{t+1} \le h'.$$

    The states are eliminated, and what depends on the model alone is computed and factored once, in `init`. Each
    program begins from the shifted solution of the one before.

    With a softness $\rho$ the bounds of the states may be broken by $s \ge 0$, one number for each state and stage, at
    the price $\rho \sum (s + s^2)$. Its linear part is an exact penalty: where $\rho$ is larger than the multipliers of
    the bounds, they are kept whenever they can be.

    Args:
        system: a linear system, or a `tracking.LinearGaussian` with a control input, that does not depend on the time.
        cost: the quadratic cost of a stage. Its terminal part is not used.
        constraints: bounds of controls and states.
        horizon: $T$, the number of stages of the plan.
        terminal: $P$ and $p$, a `Value`, or the matrix $P$ alone; by default the value function of the LQR, with which
            the policy is the LQR where no bound is active.
        softness: $\rho > 0$; without it the bounds of the states are hard.

    Returns:
        from states `[time state]` the controls `[time control]`. From a state from which the bounds cannot be kept the
        control is NaN; where the program's solver stops short of its tolerance, it is the best that was found.

    Raises:
        TypeError: for a system that is not linear, or a cost that is not quadratic.
        ValueError: for constraints other than bounds, sizes that do not agree, a softness that is not positive, or (by
            default) a system that has no stationary value function; when it is used, for an infeasible program.

    Differentiable in: the states, every matrix of system and cost, the terminal value, the bounds and the softness; by
    the optimality conditions on the active set.

    Source: J. B. Rawlings, D. Q. Mayne and M. M. Diehl, "Model predictive control: theory, computation, and design",
    2nd edition, Nob Hill, 2017.

    >>> import jax.numpy as jnp
    >>> from mbdl import control
    >>> system = control.LinearSystem(jnp.eye(1), jnp.eye(1), process_noise=jnp.eye(1))
    >>> cost = control.QuadraticCost(jnp.eye(1), jnp.eye(1))
    >>> limits = control.Constraints(control=(-0.5, 0.5))
    >>> policy = control.LinearPredictiveControl(system, cost, limits, horizon=5)
    >>> print(policy(jnp.array([[0.1], [2.0]]))[:, 0].round(3))
    [-0.062 -0.5  ]
    """

    transition: Float[Array, "state state"]
    control: Float[Array, "state control"]
    cost: QuadraticCost
    constraints: Constraints
    terminal: Value
    softness: Float[Array, ""] | None
    horizon: int = eqx.field(static=True)
    bounded: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        system: Any,
        cost: QuadraticCost,
        constraints: Constraints,
        *,
        horizon: int,
        terminal: Any = None,
        softness: Any = None,
    ):
        check_counts({"horizon": horizon}, "LinearPredictiveControl")
        self.transition, self.control = model_matrices(system, "LinearPredictiveControl")
        if callable(self.transition) or callable(self.control):
            raise ValueError("LinearPredictiveControl: the system depends on the time; use PredictiveControl")
        if constraints.inequality is not None:
            raise ValueError(
                "LinearPredictiveControl: it keeps bounds of controls and states; for other constraints write a "
                "control.ConvexPolicy"
            )
        regulator = LQR(system, cost)
        size = jnp.shape(self.transition)[0]
        if terminal is None:
            terminal = regulator.value()
        self.terminal = terminal if isinstance(terminal, Value) else Value(as_leaf(terminal), jnp.zeros(size))
        if jnp.shape(self.terminal.matrix) != (size, size):
            raise ValueError(
                f"LinearPredictiveControl: the terminal matrix has shape {jnp.shape(self.terminal.matrix)}; expected "
                f"{(size, size)}"
            )
        self.cost, self.constraints, self.horizon = cost, constraints, horizon
        self.softness = None if softness is None else positive(as_leaf(softness), "LinearPredictiveControl: softness")
        self.bounded = _bounded(constraints, size)

    def init(self) -> Programmed:
        condensed = condense(self.transition, self.control, self.cost, self.terminal, self.horizon)
        program = self.program(condensed, jnp.zeros_like(self.transition[0]))
        return Programmed(condensed, prepare(program), _nothing_yet(program))

    def step(self, memory: Programmed, x: Float[Array, " state"]) -> tuple[Programmed, Float[Array, " control"]]:
        program = self.program(memory.condensed, x.astype(self.transition.dtype))
        solution = solve_qp(program, memory.near, prepared=memory.prepared, throw=False)
        control = self.constraints.clipped(solution.x[: self.control.shape[1]])
        return Programmed(memory.condensed, memory.prepared, self._shifted(solution)), control

    def program(self, condensed: Condensed, state: Float[Array, " state"]) -> QuadraticProgram:
        """The quadratic program of a state: in all controls of the plan and, with a softness, by how much each bound of
        a state is broken."""
        controls = len(condensed.constant)
        hessian, linear = condensed.hessian, condensed.mixed @ state + condensed.constant
        lower, upper = (
            jnp.broadcast_to(bound, (self.horizon, self.control.shape[1])).ravel().astype(linear.dtype)
            for bound in self.constraints.control or (-jnp.inf, jnp.inf)
        )
        if self.constraints.state is None or not self.bounded:
            return QuadraticProgram(hessian, linear, bounds=(lower, upper))
        at = np.asarray(self.bounded)
        drift = (condensed.free @ state)[:, at].ravel()
        forced = condensed.forced[:, at].reshape(-1, controls)
        low, high = (
            jnp.broadcast_to(jnp.broadcast_to(bound, state.shape)[at], (self.horizon, len(at))).ravel() - drift
            for bound in self.constraints.state
        )
        if self.softness is None:
            return QuadraticProgram(hessian, linear, inequality=(forced, low, high), bounds=(lower, upper))
        broken = jnp.eye(len(drift), dtype=linear.dtype)
        price = self.softness * jnp.ones_like(drift)
        unbounded = jnp.full_like(drift, jnp.inf)
        rows = jnp.block([[forced, broken], [forced, -broken]])
        return QuadraticProgram(
            jax.scipy.linalg.block_diag(hessian, jnp.diag(2 * price)),
            jnp.concatenate([linear, price]),
            inequality=(rows, jnp.concatenate([low, -unbounded]), jnp.concatenate([unbounded, high])),
            bounds=(jnp.concatenate([lower, 0 * price]), jnp.concatenate([upper, unbounded])),
        )

    def price_of_breaking(self, state: Float[Array, " state"]) -> Float[Array, ""]:
        r"""$\rho \sum (s + s^2)$ of a state that breaks its bounds by $s$; zero where they are hard."""
        if self.softness is None or self.constraints.state is None:
            return jnp.zeros((), state.dtype)
        low, high = self.constraints.state
        broken = jnp.maximum(jnp.maximum(low - state, state - high), 0.0)
        return self.softness * jnp.sum(broken + broken**2)

    def _shifted(self, solution: QPSolution) -> QPSolution:
        """The solution one stage later, as a guess."""
        controls = self.horizon * self.control.shape[1]

        def later(values: Array, blocks: int) -> Array:
            stages = values.reshape(blocks, self.horizon, -1)
            return jnp.concatenate([stages[:, 1:], stages[:, -1:]], axis=1).ravel()

        def variables(values: Array) -> Array:
            return jnp.concatenate([later(values[:controls], 1), later(values[controls:], 1)])

        return eqx.tree_at(
            lambda s: (s.x, s.inequality_multipliers, s.bound_multipliers),
            solution,
            (
                variables(solution.x),
                later(solution.inequality_multipliers, 1 if self.softness is None else 2),
                variables(solution.bound_multipliers),
            ),
        )

    def why_not_finite(self, x: Any, decision: Any) -> str:
        return (
            f"{first_bad_step(decision)}The program is infeasible: from this state no controls within their bounds "
            f"keep the states within theirs over {self.horizon} stages; soften the state bounds (softness=...)"
        )


def _bounded(constraints: Constraints, size: int) -> tuple[int, ...]:
    """The states that have a bound; all of them where that is not known yet."""
    if constraints.state is None:
        return ()
    known = [concrete(bound) for bound in constraints.state]
    for bound in known:
        if bound is not None and bound.shape not in ((), (size,)):
            raise ValueError(
                f"LinearPredictiveControl: the bounds of the state have shape {bound.shape}; expected a number or "
                f"{(size,)}"
            )
    shown = [np.broadcast_to(np.isfinite(bound), (size,)) for bound in known if bound is not None]
    if len(shown) < len(known):
        return tuple(range(size))
    finite = np.any(shown, axis=0)
    return tuple(int(k) for k in np.flatnonzero(finite))


def _nothing_yet(program: QuadraticProgram) -> QPSolution:
    """Zeros in the place of a solution."""
    zero = jnp.zeros_like(program.linear)
    rows = 0 if program.inequality is None else len(program.inequality[1])
    return QPSolution(
        zero,
        zero[:0],
        jnp.zeros(rows, zero.dtype),
        zero,
        QPStatus.maximum_reached,
        jnp.zeros((), jnp.int32),
        jnp.full((), jnp.inf, zero.dtype),
        jnp.asarray(False),
    )
