"""The study of a vehicle that follows a road: convex policies of a nonlinear system, and a network."""

from dataclasses import dataclass
from typing import Any

import cvxpy
import jax.numpy as jnp
import numpy as np

from mbdl import control
from mbdl.studies.control.collect import collect
from mbdl.studies.control.policies import network
from mbdl.studies.control.problem import Drawn, Entry, Evaluation, Problem, Training, adam, stochastic_gradient
from mbdl.studies.control.settings import QUICK, ControlSettings
from mbdl.studies.control.stages import problems_of, stages
from mbdl.studies.settings import setting
from mbdl.studies.study import Run, Stage, Study

STEP, LENGTH, MOST_ACCELERATION, MOST_STEERING = 0.2, 2.8, 2.0, 0.68


@dataclass(frozen=True)
class VehicleSettings(ControlSettings):
    """The published setting of the vehicle."""

    steps: int = setting(100, "stages of a run")
    sgd_steps: int = setting(100, "training steps of the convex policy, by clipped gradient descent on one run")
    adam_steps: int = setting(300, "further training steps of the convex policy, by Adam on 32 runs")


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
        parameters={theta: np.eye(4), q: np.zeros(4)},
        features=control.VehicleFeatures(step=STEP, length=LENGTH),
    )


def cost() -> control.Cost:
    """Deviations from the desired speed, the middle of the road and its direction, and effort."""

    def stage(stage: control.Stage) -> Any:
        _, e, heading, v, desired, _ = stage.state
        return (v - desired) ** 2 + e**2 + heading**2 + 10 * jnp.sum(stage.control**2)

    return control.Cost(stage)


def limits() -> control.Constraints:
    """Acceleration and steering."""

    def broken(stage: control.Stage) -> Any:
        steering = stage.control[1] + LENGTH * stage.state[5]
        return jnp.stack([jnp.abs(steering) - MOST_STEERING, jnp.abs(stage.control[0]) - MOST_ACCELERATION])

    return control.Constraints(inequality=broken)


def problems(settings: VehicleSettings) -> tuple[Problem, ...]:
    """The one problem of the study."""
    plant = control.Vehicle(step=STEP, length=LENGTH)
    most = np.array([MOST_ACCELERATION, 0.4])
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
                Entry("first", "convex policy, first guess", "learned optimisation", lambda key: policy()),
                Entry(
                    "sgd",
                    "convex policy, learned",
                    "learned optimisation",
                    None,
                    Training(stochastic_gradient(0.1, 0.1, 1, clip=10.0), settings.sgd_steps, 1),
                    start="first",
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
                    "network",
                    "neural policy",
                    "black box",
                    lambda key: control.Clipped(
                        network(6, 2, settings.width, key=key),
                        control.Constraints(control=(-most, most)),
                    ),
                    Training(adam(settings.network_rate, settings.network_steps), settings.network_steps, 32),
                ),
            ),
            evaluations=(Evaluation("cost", "cost", settings.steps, settings.test_runs),),
            published={"cost": {"first": 4.055, "sgd": 0.912}},
            drawn=Drawn(
                lambda runs: np.concatenate([runs.states[0, 1:, 1:6], runs.controls[0]], axis=1),
                (
                    *("deviation, m", "heading error, rad", "speed, m/s", "desired speed, m/s", "curvature, 1/m"),
                    *("acceleration, m/s²", "steering z"),
                ),
                ("first", "sgd", "network"),
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
        "The neural policy keeps |a| ≤ 2 and |z| ≤ 0.4 by clipping; it may break the bound of the steering in a sharp "
        "bend. See the largest violation.",
        "The published costs are means of 100 runs, with the errors not stated.",
    ]
    return collect(run, "A vehicle on a road, along the spectrum", statements, problems_of(run, problems))


STUDY = Study(
    name="vehicle",
    summary="a vehicle on a winding road: convex policies before and after training, and a network",
    settings=VehicleSettings,
    quick={**QUICK, "sgd_steps": 20, "adam_steps": 20},
    stages=study_stages,
    results=study_results,
)
