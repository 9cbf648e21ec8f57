"""The study of a vehicle that follows a road: convex policies of a nonlinear system, and a network."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import cvxpy
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import mbdl
from mbdl import control
from mbdl.studies.control.collect import collect
from mbdl.studies.control.policies import learned, network, tuned
from mbdl.studies.control.problem import Drawn, Entry, Evaluation, Problem, Training, adam, stochastic_gradient
from mbdl.studies.control.settings import QUICK, ControlSettings
from mbdl.studies.control.stages import problems_of, stages
from mbdl.studies.control.steering import AngleSteering, Steerable
from mbdl.studies.control.training import mean_cost
from mbdl.studies.settings import setting
from mbdl.studies.study import Run, Stage, Study

STEP, LENGTH, MOST_ACCELERATION, MOST_STEERING = 0.2, 2.8, 2.0, 0.68
SHORT = 25
"""Stages of a run in the first training of the neural policy, at most."""


@dataclass(frozen=True)
class VehicleSettings(ControlSettings):
    """The published setting of the vehicle."""

    steps: int = setting(100, "stages of a run")
    sgd_steps: int = setting(100, "training steps of the convex policy, by clipped gradient descent on one run")
    adam_steps: int = setting(300, "further training steps of the convex policy, by Adam on 32 runs")
    tuning_runs: int = setting(200, "runs on which the weights of the first guess are searched")
    plan: int = setting(20, "stages that predictive control plans")


def policy() -> control.ConvexPolicy:
    r"""The policy $\arg\min 10 a^2 + 10 z^2 + \|\theta y\|^2 + q^\top y$ of the deviations $y$ that follow."""
    f, heading = cvxpy.Parameter(4, "f"), cvxpy.Parameter(name="heading")
    deviation, bend = cvxpy.Parameter(name="deviation"), cvxpy.Parameter(name="bend")
    theta, q = cvxpy.Parameter((4, 4), "theta"), cvxpy.Parameter(4, "q")
    u, y = cvxpy.Variable(2, "u"), cvxpy.Variable(4, "y")
    price = 10 * cvxpy.sum_squares(u) + cvxpy.sum_squares(theta @ y) + q @ y
    problem = cvxpy.Problem(
        cvxpy.Minimize(price),
        [
            y[0] == f[0],
            y[1] == f[1] + heading * u[1],
            y[2] == f[2] + STEP * u[0],
            y[3] == f[3] + deviation * u[1],
            cvxpy.abs(u[0]) <= MOST_ACCELERATION,
            cvxpy.abs(u[1] + bend) <= MOST_STEERING,
        ],
    )
    return control.ConvexPolicy(
        problem,
        context=[f, heading, deviation, bend],
        decision=u,
        known={theta: np.eye(4), q: np.zeros(4)},
        features=control.VehicleFeatures(step=STEP, length=LENGTH),
    )


@partial(mbdl.register, name="studies.vehicle.OnRoad")
class OnRoad(mbdl.RecursiveRule):
    r"""A policy of what is seen of the road in units of its usual size, $(e, \Delta\psi, v, v_{des}, \kappa)$, without
    the way, which grows without bound and says nothing."""

    policy: mbdl.RecursiveRule
    middle: Float[Array, "5"]
    size: Float[Array, "5"]

    def init(self) -> Any:
        return self.policy.init()

    def step(self, memory: Any, x: Float[Array, "6"]) -> tuple[Any, Float[Array, "2"]]:
        return self.policy.step(memory, (x[1:] - self.middle) / self.size)


def weighted(policy: control.ConvexPolicy, weights: np.ndarray) -> control.ConvexPolicy:
    """The policy with weights of the squares of the four deviations."""
    return eqx.tree_at(lambda p: p.parameters["theta"], policy, jnp.diag(jnp.sqrt(jnp.asarray(weights))))


def cost() -> control.Cost:
    """Deviations from the desired speed, the middle of the road and its direction, and effort."""
    return control.Cost(stage_cost)


@partial(mbdl.register, name="studies.vehicle.stage_cost")
def stage_cost(stage: control.Stage) -> Any:
    """The cost of a stage."""
    _, e, heading, v, desired, _ = stage.state
    return (v - desired) ** 2 + e**2 + heading**2 + 10 * jnp.sum(stage.control**2)


def limits() -> control.Constraints:
    """Acceleration and steering."""

    def broken(stage: control.Stage) -> Any:
        steering = stage.control[1] + LENGTH * stage.state[5]  # tan δ
        return jnp.stack([jnp.abs(steering) - MOST_STEERING, jnp.abs(stage.control[0]) - MOST_ACCELERATION])

    return control.Constraints(inequality=broken)


def plane(runs: control.Trajectories) -> np.ndarray:
    """The first run in the plane: where the vehicle is, and the middle of the road beside it, `[time 4]`."""
    way, deviation, _, _, _, curvature = np.asarray(runs.states[0], np.float64).T
    ahead = np.diff(way, prepend=way[0])
    heading = np.cumsum(ahead * np.concatenate([curvature[:1], curvature[:-1]]))
    halfway = heading - 0.5 * np.diff(heading, prepend=heading[0])
    road = np.cumsum(ahead[:, None] * np.stack([np.cos(halfway), np.sin(halfway)], axis=1), axis=0)
    left = np.stack([-np.sin(heading), np.cos(heading)], axis=1)
    return np.concatenate([road + deviation[:, None] * left, road], axis=1)


def problems(settings: VehicleSettings) -> tuple[Problem, ...]:
    """The one problem of the study."""
    plant = control.Vehicle(step=STEP, length=LENGTH)
    most, most_planned = np.array([MOST_ACCELERATION, MOST_STEERING]), np.array([MOST_ACCELERATION, 0.4])
    bounds, planned = (control.Constraints(control=(-limit, limit)) for limit in (most, most_planned))

    def search(key: Any) -> control.ConvexPolicy:
        score = mean_cost(plant, cost(), horizon=settings.steps, runs=settings.tuning_runs, key=key)
        return tuned(partial(weighted, policy()), score, (1.0, 1.0, 1.0, 1.0), ("theta",))

    def neural(key: Any) -> AngleSteering:
        middle, size = jnp.array([0.0, 0.0, 4.5, 4.5, 0.0]), jnp.array([0.5, 0.1, 1.0, 1.0, 0.1])
        return AngleSteering(OnRoad(network(5, 2, settings.width, bounds, key=key), middle, size), LENGTH)

    short = max(1, settings.network_steps // 5)
    whole = max(1, settings.network_steps - short)

    def predictive(key: Any) -> Steerable:
        planner = control.IterativeLQR(plant, cost(), horizon=settings.plan, constraints=planned, iterations=2)
        return Steerable(control.PredictiveControl(planner), LENGTH, MOST_STEERING)

    return (
        Problem(
            name="vehicle",
            title="A vehicle on a road",
            system=plant,
            cost=cost(),
            constraints=limits(),
            horizon=settings.steps,
            reference="first",
            entries=(
                Entry("first", "convex policy, first guess", "model-based", lambda key: policy()),
                Entry("tuned", "convex policy, tuned", "model-based", search),
                Entry("predictive", f"predictive control, {settings.plan} stages", "model-based", predictive),
                Entry(
                    "sgd",
                    "convex policy, learned",
                    "learned optimisation",
                    None,
                    Training(stochastic_gradient(0.1, 0.1, 1, clip=10.0), settings.sgd_steps, 1),
                    start="first",
                    change=learned,
                ),
                Entry(
                    "adam",
                    "convex policy, learned further",
                    "learned optimisation",
                    None,
                    Training(adam(0.02, settings.adam_steps), settings.adam_steps, 32),
                    start="sgd",
                ),
                Entry(
                    "network-short",
                    "neural policy, trained on short runs",
                    "black box",
                    neural,
                    Training(adam(settings.network_rate, short), short, 32, horizon=min(SHORT, settings.steps)),
                ),
                Entry(
                    "network",
                    "neural policy, trained further on whole runs",
                    "black box",
                    None,
                    Training(adam(settings.network_rate, whole), whole, 32),
                    start="network-short",
                ),
            ),
            evaluations=(Evaluation("cost", "cost", settings.steps, settings.test_runs),),
            published={"cost": {"first": 4.055, "sgd": 0.912}},
            drawn=(
                Drawn(
                    lambda runs: np.concatenate([runs.states[0, 1:, 1:6], runs.controls[0]], axis=1),
                    (
                        *("deviation, m", "heading error, rad", "speed, m/s", "desired speed, m/s", "curvature, 1/m"),
                        *("acceleration, m/s²", "steering z"),
                    ),
                    ("first", "sgd", "network"),
                ),
                Drawn(plane, ("east, m", "north, m"), ("first", "sgd", "network"), path=True),
            ),
        ),
    )


def study_stages(run: Run) -> list[Stage]:
    """The stages of the study."""
    return stages(run, problems)


def study_results(run: Run) -> dict[str, Any]:
    """The results of the study."""
    statements = [
        "A kinematic vehicle follows a road whose curvature changes, at a desired speed that changes. The setting is "
        "that of “Learning convex optimization control policies” (Agrawal, Barratt, Boyd, Stellato).",
        "The convex policy makes 10a² + 10z² + ‖θy‖² + q'y smallest, y the deviations that follow by the model, within "
        "the bounds of acceleration and steering. It is trained as published, by "
        f"{run.settings.sgd_steps} steps of clipped gradient descent on one run each.",
        f"Tuned: the weights of the four deviations, θ a diagonal, searched together on "
        f"{run.settings.tuning_runs} runs of their own.",
        f"Predictive control plans {run.settings.plan} stages of the whole nonlinear model, whose curvature and "
        "desired speed stay as they are, by two iterations of the iterative regulator from the plan before.",
        "The neural policy decides the acceleration and the tangent of the steering angle, both clipped at their "
        "bounds, from what it sees in units of its usual size. Untrained, it leaves the road, so that a fifth of its "
        f"steps are on runs of at most {SHORT} stages. Predictive control keeps |a| ≤ 2 and |z| ≤ 0.4 itself, and is "
        "clipped to the bound of the steering.",
        "The published costs are means of 100 runs, with the errors not stated.",
        "No lower bound of the cost is known but zero: even for one who knows the road in advance, the problem is not "
        "convex.",
    ]
    return collect(run, "A vehicle on a road, along the spectrum", statements, problems_of(run, problems))


STUDY = Study(
    name="vehicle",
    summary="a vehicle on a winding road: convex policies before and after training, and a network",
    settings=VehicleSettings,
    quick={**QUICK, "sgd_steps": 20, "adam_steps": 20, "tuning_runs": 20, "plan": 8},
    stages=study_stages,
    results=study_results,
)
