"""The cost of predictive control against the time of a decision, in double precision.

The first problem is that of the study ``constrained-lqr``: 8 states, 2 controls within bounds. The policy plans ten
stages, 20 variables, and is stated in CVXPY. At each time its program is solved to the end, or a few iterations of
operator splitting are taken from where the last ones ended: with the penalty and relaxation that cost least on training
runs in a search, or unfolded, with a penalty and a relaxation for each iteration, learned by the gradient of the closed
loop's cost from there.

The second is the pole on a cart of the study ``stochastic-control``, and the iterations are those of the iterative
regulator that plans from what an extended filter estimates: plain, as the study has it; with the regularisation and the
weights of its cost that a search finds; and unfolded from there, with step sizes, a regularisation and cost matrices of
the states for each iteration. Filter and planner have the true model in one table, in the other that of the study,
which is wrong.

Beside the time of one decision is the mean cost over test runs, with paired differences: all policies of a table meet
the same noise. Searches and trainings have other noise.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from itertools import product
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
from mbdl.studies.control.problem import adam

from .timing import Contender, Tables, measure

STAGES, PLAN = 100, 10
DEPTHS = (1, 2, 3, 5, 10)
PENALTIES, RELAXATIONS = tuple(10.0 ** np.arange(-2, 4.1, 0.5)), (0.7, 1.0, 1.3, 1.6, 1.9)

POLE_DEPTHS = (1, 2, 3, 5)
MODELS = {"true": "true", "wrong": "predictive"}
"""What the model of filter and planner is, and the policy of the study that has it."""

REGULARISATIONS = (1e-6, 1e-2, 1e-1)
CONTROL_WEIGHTS, FINAL_WEIGHTS = (0.01, 0.1, 1.0, 10.0), (0.3, 1.0, 3.0)
"""By which the study's cost of the control, and that of the last state, is multiplied in the planner."""


@dataclass
class Loop:
    """A closed loop in which policies are chosen, trained and compared.

    Args:
        system: the system.
        cost: its cost.
        stages: of a run.
        seen: what a policy sees when its decision is timed.
        runs: test runs by the name of the policy, all on the same noise.
    """

    system: Any
    cost: control.AbstractCost
    stages: int
    seen: jax.Array
    runs: dict[str, control.Trajectories] = field(default_factory=dict)

    def risk(self, runs: int, key: jax.Array | None = None) -> control.ClosedLoop:
        return control.closed_loop(self.system, self.cost, horizon=self.stages, runs=runs, key=key)

    @cached_property
    def validation(self) -> control.ClosedLoop:
        """On which a search chooses, and a training its best moment."""
        return self.risk(32, jax.random.key(1))

    def cheapest(self, candidates: Sequence[Any]) -> Any:
        """The policy that costs least."""
        risk = eqx.filter_jit(self.validation.__call__)
        return candidates[int(np.nanargmin([float(risk(policy)) for policy in candidates]))]

    def trained(self, policy: Any, optimiser: optax.GradientTransformation, *, steps: int, runs: int) -> Any:
        """The policy with what is learned in it trained by the cost of some runs a step."""
        found = mbdl.fit(
            policy,
            self.risk(runs),
            optimiser,
            steps=steps,
            key=jax.random.key(2),
            validation=self.validation,
            progress=False,
        )
        return found.rule

    def contender(self, name: str, make: Callable[[], Any], against: Sequence[str] = ()) -> Contender:
        """One decision, timed; its note is the cost, and what it is less that of earlier contenders."""

        def build() -> Callable[[], Any]:
            policy = mbdl.resolve(make())
            found = control.simulate(
                self.system, policy, jax.random.key(0), steps=self.stages, runs=200, cost=self.cost, throw=False
            )
            self.runs[name] = found
            notes = [f"cost {found.cost()}"]
            notes += [f"less that of {other}: {found.difference(self.runs[other])}" for other in dict.fromkeys(against)]
            contender.note = "; ".join(notes)
            step, memory = jax.jit(policy.step), policy.init()
            return lambda: step(memory, self.seen)

        contender = Contender(name, build)
        return contender


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


def run(
    *,
    rounds: int = 10,
    depths: tuple[int, ...] = DEPTHS,
    steps: int = 60,
    pole_depths: tuple[int, ...] = POLE_DEPTHS,
    pole_steps: int = 60,
) -> Tables:
    """Measures a decision at every depth.

    Args:
        rounds: repetitions.
        depths: numbers of iterations of the splitting.
        steps: training steps of the unfolded ones.
        pole_depths: numbers of iterations of the planner of the pole on a cart.
        pole_steps: training steps of the unfolded ones.

    Yields:
        The title of each table with its measurements, once it is measured.
    """
    with jax.enable_x64(True):
        title = f"constrained-lqr: a decision of predictive control, plan of {PLAN} stages, float64"
        yield title, measure(_splitting(depths, steps), rounds=rounds)
        settings = stochastic_control.StochasticControlSettings()
        for model, entry in MODELS.items():
            title = f"pole on a cart, {model} model: a decision of EKF and predictive control, "
            title += f"plan of {settings.plan} stages, float64"
            yield title, measure(_planning(settings, entry, pole_depths, pole_steps), rounds=rounds)


def _splitting(depths: tuple[int, ...], steps: int) -> list[Contender]:
    problem = constrained_lqr.problems(constrained_lqr.ConstrainedLQRSettings())[0]
    loop = Loop(problem.system, problem.cost, STAGES, jnp.linspace(-1.0, 1.0, 8))
    whole = statement(problem).policy()
    base = statement(problem).policy(solver=control.OperatorSplitting())

    def at(depth: int, penalty: float, relaxation: float) -> control.ConvexPolicy:
        solver = control.OperatorSplitting(penalty=penalty, relaxation=relaxation, iterations=depth)
        return eqx.tree_at(lambda p: p.solver, base, solver)

    @cache
    def searched(depth: int) -> Any:
        return loop.cheapest([at(depth, *candidate) for candidate in product(PENALTIES, RELAXATIONS)])

    def unfolded(depth: int) -> Any:
        first = searched(depth)
        solver = mbdl.unfold(first.solver, depth, untie=lambda s: s.penalty, constraint=mbdl.positive)
        solver = mbdl.unfold(solver, depth, untie=lambda s: s.relaxation, constraint=mbdl.interval(0.0, 2.0))
        policy = eqx.tree_at(lambda p: p.solver, first, solver)
        return loop.trained(policy, optax.adam(0.05), steps=steps, runs=8)

    contenders = [loop.contender("solved", lambda: whole)]
    contenders += [loop.contender(f"splitting, {k} iterations", partial(searched, k), ["solved"]) for k in depths]
    return contenders + [
        loop.contender(f"unfolded, {k} iterations", partial(unfolded, k), ["solved", f"splitting, {k} iterations"])
        for k in depths
    ]


def _planning(
    settings: stochastic_control.StochasticControlSettings, entry: str, depths: tuple[int, ...], steps: int
) -> list[Contender]:
    problem = cart_pole.stretched(settings, settings.stretch)
    loop = Loop(problem.system, problem.cost, problem.horizon, jnp.array([0.1, 0.2]))
    policy: Any = problem.entry(entry).make(jax.random.key(0))  # pyright: ignore[reportOptionalCall]
    planner = policy.controller.solver

    def planning(changed: Any) -> Any:
        return eqx.tree_at(lambda p: p.controller.solver, policy, changed)

    def plain(depth: int) -> Any:
        return planning(with_fields(planner, iterations=depth))

    def at(depth: int, regularisation: float, control_weight: float, final_weight: float) -> Any:
        price = with_fields(
            planner.cost, control=control_weight * planner.cost.control, final=final_weight * planner.cost.final
        )
        return planning(with_fields(planner, iterations=depth, regularisation=jnp.asarray(regularisation), cost=price))

    @cache
    def searched(depth: int) -> Any:
        candidates = product(REGULARISATIONS, CONTROL_WEIGHTS, FINAL_WEIGHTS)
        return loop.cheapest([at(depth, *candidate) for candidate in candidates])

    def unfolded(depth: int) -> Any:
        first = searched(depth).controller.solver
        layers = mbdl.unfold(
            first, depth, untie=lambda s: (s.cost.state, s.cost.final), constraint=mbdl.positive_definite
        )
        layers = mbdl.unfold(layers, depth, untie=lambda s: (s.step_sizes, s.regularisation), constraint=mbdl.positive)
        return loop.trained(planning(layers), adam(0.03, steps), steps=steps, runs=settings.batch)

    def name(kind: str, depth: int) -> str:
        return f"{kind}, {depth} iterations"

    most, *fewer = sorted(depths, reverse=True)
    deepest = name("plain", most)
    contenders = [loop.contender(deepest, partial(plain, most))]
    contenders += [loop.contender(name("plain", k), partial(plain, k), [deepest]) for k in fewer]
    for kind, make, earlier in (("searched", searched, "plain"), ("unfolded", unfolded, "searched")):
        contenders += [
            loop.contender(name(kind, k), partial(make, k), [deepest, name(earlier, k)]) for k in sorted(depths)
        ]
    return contenders
