"""The study of a supply chain: what to buy, ship and sell, under random prices and demand."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import cvxpy
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mbdl import control
from mbdl.studies.control.collect import collect
from mbdl.studies.control.policies import Statement, learned, network, tuned
from mbdl.studies.control.problem import Drawn, Entry, Evaluation, Problem, Training, adam, stochastic_gradient
from mbdl.studies.control.settings import QUICK, ControlSettings
from mbdl.studies.control.stages import problems_of, stages
from mbdl.studies.control.training import mean_cost
from mbdl.studies.settings import setting
from mbdl.studies.study import Run, Stage, Study

LINKS = ((None, 0), (None, 1), (0, 2), (0, 3), (1, 3), (3, 2), (2, None), (3, None))
"""The links, from node to node: two that supply, four between nodes, two that sell."""

SHIPPING, RETAIL, STORAGE, CAPACITY, MOST = 0.05, 1.3, 0.01, 3.0, 2.0
"""Costs of shipping, revenue of selling, costs of storage (of a unit and of its square), the most a node holds, the
most a link carries."""


@dataclass(frozen=True)
class SupplyChainSettings(ControlSettings):
    """The published setting of the supply chain."""

    steps: int = setting(20, "stages of a run")
    batch: int = setting(5, "runs of a training step of the convex policy")
    sgd_steps: int = setting(200, "training steps of the convex policy, by plain gradient descent")
    adam_steps: int = setting(300, "further training steps of the convex policy, by Adam on 32 runs")
    tuning_runs: int = setting(200, "runs on which two numbers of the value are searched")


def flows() -> tuple[np.ndarray, np.ndarray]:
    """What of each link flows into and out of each node."""
    inflow, outflow = np.zeros((4, 8)), np.zeros((4, 8))
    for link, (source, target) in enumerate(LINKS):
        if target is not None:
            inflow[target, link] = 1
        if source is not None:
            outflow[source, link] = 1
    return inflow, outflow


def system() -> control.System:
    """The stock of the nodes, the prices of the suppliers and the demand of the customers."""
    inflow, outflow = (jnp.asarray(part) for part in flows())

    def market(key: Any, time: Any) -> jax.Array:
        return jnp.exp(jnp.array([0.0, 0.1, 0.0, 0.4]) + 0.2 * jax.random.normal(key, (4,)))

    def begins(key: Any) -> jax.Array:
        stock, prices = jax.random.split(key)
        return jnp.concatenate([jax.random.uniform(stock, (4,), maxval=CAPACITY), market(prices, 0)])

    def moves(state: Any, control: Any, noise: Any, time: Any) -> jax.Array:
        return jnp.concatenate([state[:4] + (inflow - outflow) @ control, noise])

    return control.System(moves, noise=market, initial=begins, control_size=8, nominal=jnp.ones(4))


def cost(pays_next_price: bool) -> control.Cost:
    """What a stage costs: buying, shipping and storage, less what is sold."""

    def stage(stage: control.Stage) -> Any:
        stock, prices = stage.state[:4], (stage.following if pays_next_price else stage.state)[4:6]
        traded = (
            prices @ stage.control[:2] + SHIPPING * jnp.sum(stage.control[2:6]) - RETAIL * jnp.sum(stage.control[6:])
        )
        return traded + STORAGE * jnp.sum(stock + stock**2)

    return control.Cost(stage)


def limits() -> control.Constraints:
    """What links carry and nodes hold, that nothing leaves a node that it does not hold, and demand."""
    _, outflow = (jnp.asarray(part) for part in flows())

    def broken(stage: control.Stage) -> Any:
        over = outflow @ stage.control - stage.state[:4]
        return jnp.concatenate([over, stage.control[6:] - stage.state[6:], stage.following[:4] - CAPACITY])

    return control.Constraints(control=(0.0, MOST), inequality=broken)


def foresight(runs: control.Trajectories, pays_next_price: bool) -> np.ndarray:
    """The least cost of each run for one who knows its prices and its demand in advance: one quadratic program of all
    stages, from the stock that the run begins with."""
    inflow, outflow = flows()
    states, steps = np.asarray(runs.states), runs.controls.shape[1]
    begin, prices = cvxpy.Parameter(4, "begin"), cvxpy.Parameter((steps, 2), "prices")
    demand = cvxpy.Parameter((steps, 2), "demand")
    u, stock = cvxpy.Variable((steps, 8), "u"), cvxpy.Variable((steps + 1, 4), "stock")
    held = stock[:-1]
    traded = (
        cvxpy.sum(cvxpy.multiply(prices, u[:, :2])) + SHIPPING * cvxpy.sum(u[:, 2:6]) - RETAIL * cvxpy.sum(u[:, 6:])
    )
    problem = cvxpy.Problem(
        cvxpy.Minimize(traded + STORAGE * (cvxpy.sum(held) + cvxpy.sum_squares(held))),
        [
            stock[0] == begin,
            stock[1:] == held + u @ (inflow - outflow).T,
            stock[1:] <= CAPACITY,
            u >= 0,
            u <= MOST,
            u @ outflow.T <= held,
            u[:, 6:] <= demand,
        ],
    )
    costs = []
    for run in states:
        begin.value, demand.value = run[0, :4], run[:-1, 6:]
        prices.value = (run[1:] if pays_next_price else run[:-1])[:, 4:6]
        problem.solve(solver=cvxpy.CLARABEL)
        costs.append(problem.value)
    return np.asarray(costs, float) / steps


PROXIMAL = 1e-4
"""The weight of a cost that makes the control unique."""


def statement() -> Statement:
    r"""The policy that makes the cost of the stage and $\|\theta h^+\|^2 + q^\top h^+$ smallest."""
    inflow, outflow = flows()
    h, p, d = cvxpy.Parameter(4, "h"), cvxpy.Parameter(2, "p"), cvxpy.Parameter(2, "d")
    theta, q = cvxpy.Parameter((4, 4), "theta"), cvxpy.Parameter(4, "q")
    u, following = cvxpy.Variable(8, "u"), cvxpy.Variable(4, "following")
    price = p @ u[:2] + SHIPPING * cvxpy.sum(u[2:6]) - RETAIL * cvxpy.sum(u[6:])
    price += cvxpy.sum_squares(theta @ following) + q @ following
    problem = cvxpy.Problem(
        cvxpy.Minimize(price),
        [
            following == h + (inflow - outflow) @ u,
            following <= CAPACITY,
            u >= 0,
            u <= MOST,
            outflow @ u <= h,
            u[6:] <= d,
        ],
    )
    values = {theta: np.eye(4), q: -3.0 * np.ones(4)}
    return Statement(problem, [h, p, d], u, values)


def policy() -> control.ConvexPolicy:
    """The policy with a unique control."""
    return statement().policy(proximal=PROXIMAL)


def weighted(policy: control.ConvexPolicy, numbers: np.ndarray) -> control.ConvexPolicy:
    r"""The policy with the value $a \|h^+\|^2 - b \mathbf 1^\top h^+$ of the next stock."""
    a, b = (jnp.asarray(number) for number in numbers)
    values = [jnp.sqrt(a) * jnp.eye(4), -b * jnp.ones(4)]
    return eqx.tree_at(lambda p: [p.parameters["theta"], p.parameters["q"]], policy, values)


def problems(settings: SupplyChainSettings) -> tuple[Problem, ...]:
    """The problem at the price that the policy sees, and as published, at the next one."""
    sgd = Training(stochastic_gradient(0.05, 0.05, 1), settings.sgd_steps, settings.batch)
    further = Training(adam(0.02, settings.adam_steps), settings.adam_steps, 32)
    many = Training(adam(settings.network_rate, settings.network_steps), settings.network_steps, 32)
    make: Callable[..., Problem] = partial(
        Problem,
        system=system(),
        constraints=limits(),
        horizon=settings.steps,
        reference="first",
        evaluations=(Evaluation("cost", "cost", settings.steps, settings.test_runs),),
        drawn=(
            Drawn(
                lambda runs: np.concatenate([runs.states[0, 1:, :4], runs.controls[0][:, [0, 6]]], axis=1),
                (*(f"stock of node {i}" for i in range(1, 5)), "bought, link 1", "sold, link 7"),
                ("first", "sgd"),
            ),
        ),
    )
    convex = (
        Entry("first", "convex policy, first guess", "model-based", lambda key: policy()),
        Entry("sgd", "convex policy, learned", "learned optimisation", None, sgd, start="first", change=learned),
        Entry("adam", "convex policy, learned further", "learned optimisation", None, further, start="sgd"),
    )

    def search(key: Any) -> control.ConvexPolicy:
        score = mean_cost(system(), cost(False), horizon=settings.steps, runs=settings.tuning_runs, key=key)
        return tuned(partial(weighted, policy()), score, (1.0, 3.0), ("theta", "q"))

    black_box = Entry(
        "network",
        "neural policy, bounded by links alone",
        "black box",
        lambda key: network(8, 8, settings.width, control.Constraints(control=(0.0, MOST)), key=key),
        many,
    )
    return (
        make(
            name="seen",
            title="Supply chain, at the price that is seen",
            cost=cost(False),
            foresight=partial(foresight, pays_next_price=False),
            entries=(convex[0], Entry("tuned", "convex policy, tuned", "model-based", search), *convex[1:], black_box),
        ),
        make(
            name="next",
            title="Supply chain, at the next price",
            cost=cost(True),
            foresight=partial(foresight, pays_next_price=True),
            entries=convex[:2],
            published={"cost": {"first": -0.2786, "sgd": -0.3409}},
        ),
    )


def study_stages(run: Run) -> list[Stage]:
    """The stages of the study."""
    return stages(run, problems)


def study_results(run: Run) -> dict[str, Any]:
    """The results of the study."""
    statements = [
        "Four nodes hold stock, two links supply them at random prices, four ship between them, two sell to random "
        "demand: eight controls. The setting is that of “Learning convex optimization control policies” (Agrawal, "
        "Barratt, Boyd, Stellato).",
        "The convex policy makes the cost of the stage and an unknown value ‖θh⁺‖² + q'h⁺ of the next stock smallest, "
        "within all constraints. A proximal term of 10⁻⁴ makes its control unique, where the programme has several.",
        "Tuned: the two numbers a and b of the value a‖h⁺‖² − b1'h⁺ that cost least on "
        f"{run.settings.tuning_runs} runs of their own. The first guess is a = 1, b = 3.",
        "The published study pays the next price, which the policy does not see; the first table pays the price that "
        "is seen, the second one is as published. The published costs are of one run of 20 stages.",
        "Lower bound, foresight: the least cost of the same runs for one who knows all their prices and demand in "
        "advance, by one quadratic program of all stages of a run. Within the constraints no policy costs less in any "
        "run. The bound may be loose: no policy knows the future, and these do not know when a run ends.",
        "The neural policy keeps what links carry, and breaks the other constraints: its cost is of a problem without "
        "them. See the largest violation.",
    ]
    return collect(run, "A supply chain, along the spectrum", statements, problems_of(run, problems))


STUDY = Study(
    name="supply-chain",
    summary="a supply chain under random prices and demand: convex policies before and after training",
    settings=SupplyChainSettings,
    quick={**QUICK, "sgd_steps": 20, "adam_steps": 20, "tuning_runs": 20},
    stages=study_stages,
    results=study_results,
)
