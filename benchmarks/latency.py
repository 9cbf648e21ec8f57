"""The cost of predictive control against the time of a decision, in double precision.

The problem is that of the study ``constrained-lqr``: 8 states, 2 controls within bounds. The policy plans ten stages,
20 variables, and is stated in CVXPY. At each time its program is solved to the end, or a few iterations of operator
splitting are taken from where the last ones ended: with the penalty and relaxation that cost least on training runs in
a search, or unfolded, with a penalty for each iteration, learned by the gradient of the closed loop's cost from there.
Beside the time of one decision is the mean cost over test runs, all on the same noise. The planner of the nonlinear
study, an iterative regulator for a pole on a cart, is measured likewise by its iterations.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import cvxpy
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import mbdl
from mbdl import control
from mbdl.core.change import with_fields
from mbdl.studies.control import cart_pole, constrained_lqr, policies, stochastic_control

from .timing import Contender, Tables, measure

STAGES, PLAN = 100, 10
DEPTHS = (1, 2, 3, 5, 10)


def statement(problem: Any) -> policies.Statement:
    """Predictive control as it is stated in CVXPY, with the value of the regulator at the end of a plan."""
    A, B = policies.published_system(8, 2, seed=1)
    value = np.asarray(control.LQR(problem.system, problem.cost).value().matrix)
    x = cvxpy.Parameter(8, "x")
    states, controls = cvxpy.Variable((PLAN + 1, 8), "states"), cvxpy.Variable((PLAN, 2), "controls")
    u = cvxpy.Variable(2, "u")
    cost = cvxpy.sum_squares(states[:-1]) + cvxpy.sum_squares(controls) + cvxpy.quad_form(states[-1], value)
    kept = [
        states[0] == x,
        states[1:] == states[:-1] @ A.T + controls @ B.T,
        cvxpy.abs(controls) <= constrained_lqr.LIMIT,
        u == controls[0],
    ]
    return policies.Statement(cvxpy.Problem(cvxpy.Minimize(cost), kept), [x], u, {})


def run(*, rounds: int = 10, depths: tuple[int, ...] = DEPTHS, steps: int = 60) -> Tables:
    """Measures a decision at every depth.

    Args:
        rounds: repetitions.
        depths: numbers of iterations.
        steps: training steps of the unfolded ones.

    Yields:
        The title of each table with its measurements, once it is measured.
    """
    with jax.enable_x64(True):
        title = f"constrained-lqr: a decision of predictive control, plan of {PLAN} stages, float64"
        yield title, measure(_splitting(depths, steps), rounds=rounds)
        title = "pole on a cart: a decision of EKF and predictive control, plan of 20 stages, float64"
        yield title, measure(_planning(depths), rounds=rounds)


def _splitting(depths: tuple[int, ...], steps: int) -> list[Contender]:
    problem = constrained_lqr.problems(constrained_lqr.ConstrainedLQRSettings())[0]
    state = jnp.linspace(-1.0, 1.0, 8)
    whole = statement(problem).policy()
    closed = partial(control.closed_loop, problem.system, problem.cost, horizon=STAGES)
    risk = eqx.filter_jit(closed(runs=32, key=jax.random.key(1)).__call__)
    base = statement(problem).policy(solver=control.OperatorSplitting())

    def at(depth: int, penalty: float, relaxation: float) -> control.ConvexPolicy:
        solver = control.OperatorSplitting(penalty=penalty, relaxation=relaxation, iterations=depth)
        return eqx.tree_at(lambda p: p.solver, base, solver)

    def searched(depth: int) -> control.ConvexPolicy:
        candidates = [(p, r) for p in 10.0 ** np.arange(-2, 2.1, 0.5) for r in (1.0, 1.6)]
        costs = [float(risk(at(depth, *candidate))) for candidate in candidates]
        return at(depth, *candidates[int(np.nanargmin(costs))])

    def unfolded(depth: int) -> Any:
        first = searched(depth)
        solver = mbdl.unfold(first.solver, depth, untie=lambda s: s.penalty, constraint=mbdl.positive)
        policy = eqx.tree_at(lambda p: p.solver, first, solver)
        found = mbdl.fit(
            policy,
            closed(runs=8),
            optax.adam(0.05),
            steps=steps,
            key=jax.random.key(2),
            validation=closed(runs=32, key=jax.random.key(1)),
            progress=False,
        )
        return found.rule

    def contender(name: str, make: Callable[[], Any]) -> Contender:
        return _contender(name, make, state, problem.system, problem.cost, STAGES)

    contenders = [contender("solved", lambda: whole)]
    contenders += [contender(f"splitting, {k} iterations", partial(searched, k)) for k in depths]
    return contenders + [contender(f"unfolded, {k} iterations", partial(unfolded, k)) for k in depths]


def _planning(depths: tuple[int, ...]) -> list[Contender]:
    settings = stochastic_control.StochasticControlSettings()
    problem = cart_pole.stretched(settings, settings.stretch)
    policy: Any = problem.entry("true").make(jax.random.key(0))  # pyright: ignore[reportOptionalCall]

    def at(depth: int) -> Any:
        return eqx.tree_at(
            lambda p: p.controller.solver, policy, with_fields(policy.controller.solver, iterations=depth)
        )

    return [
        _contender(
            f"{k} iterations", partial(at, k), jnp.array([0.1, 0.2]), problem.system, problem.cost, problem.horizon
        )
        for k in sorted(depths, reverse=True)
    ]


def _contender(
    name: str, make: Callable[[], Any], seen: jax.Array, system: Any, cost: control.AbstractCost, steps: int
) -> Contender:
    """One decision, timed; its note is the cost of the closed loop."""

    def build() -> Callable[[], Any]:
        policy = mbdl.resolve(make())
        found = control.simulate(system, policy, jax.random.key(0), steps=steps, runs=200, cost=cost, throw=False)
        contender.note = f"cost {found.cost()}"
        step, memory = jax.jit(policy.step), policy.init()
        return lambda: step(memory, seen)

    contender = Contender(name, build)
    return contender
