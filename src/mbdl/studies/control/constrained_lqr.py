"""The study of the regulator whose controls are bounded: no optimum is known, a lower bound is."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
import scipy.linalg
from jaxtyping import PRNGKeyArray

from mbdl import control
from mbdl.studies.control.collect import collect
from mbdl.studies.control.policies import learned, network, published_system, regulator
from mbdl.studies.control.problem import Drawn, Entry, Evaluation, Problem, Training, adam, stochastic_gradient
from mbdl.studies.control.settings import QUICK, ControlSettings
from mbdl.studies.control.stages import problems_of, stages
from mbdl.studies.settings import setting
from mbdl.studies.study import Run, Stage, Study

LIMIT = 0.1


@dataclass(frozen=True)
class ConstrainedLQRSettings(ControlSettings):
    """The published setting of the regulator with bounded controls."""

    steps: int = setting(100, "stages of a run")
    batch: int = setting(6, "runs of a training step of the convex policy")
    sgd_steps: int = setting(100, "training steps of the convex policy, by plain gradient descent")
    adam_steps: int = setting(500, "further training steps of the convex policy, by Adam on 64 runs")
    long_steps: int = setting(1800, "stages of a long run")
    long_runs: int = setting(256, "long runs")
    plan: int = setting(10, "stages that predictive control plans")
    fit_runs: int = setting(16, "runs on whose states a value function is fitted")
    fits: int = setting(4, "times that the value function is fitted, each on the states that the last one led to")


def _fitted(
    settings: ConstrainedLQRSettings,
    system: Any,
    cost: control.QuadraticCost,
    limits: control.Constraints,
    start: control.Value,
    A: np.ndarray,
    B: np.ndarray,
    key: PRNGKeyArray,
) -> control.ConvexPolicy:
    """The policy of a value function that is fitted to Bellman's equation on the states that it visits itself."""
    value = start
    for number in range(settings.fits):
        policy = control.LinearPredictiveControl(system, cost, limits, horizon=1, terminal=value)
        steps = max(settings.steps, settings.long_steps // 4)
        number_key = jax.random.fold_in(key, number)
        runs = control.simulate(system, policy, number_key, steps=steps, runs=settings.fit_runs, cost=cost)
        states = runs.states.reshape(-1, len(A))
        value = control.fitted_value_iteration(system, cost, limits, states=states, start=value).value
    root = np.real(scipy.linalg.sqrtm(np.asarray(value.matrix)))
    return regulator(A, B, root, limit=LIMIT, slope=2 * np.asarray(value.linear)).policy()


PUBLISHED = {0: 16.940, 1: 14.258, 2: 14.035, 3: 13.795, 10: 13.231, 50: 13.149, 100: 13.014}
"""Published costs by training step."""

PUBLISHED_BOUND = 12.975
"""That of the policy of the bound on the same runs."""


def problems(settings: ConstrainedLQRSettings) -> tuple[Problem, ...]:
    """The one problem of the study."""
    A, B = published_system(8, 2, seed=1)
    noise = 0.25 * np.eye(8)
    system = control.LinearSystem(A, B, process_noise=noise, initial_covariance=noise)
    cost = control.QuadraticCost(np.eye(8), np.eye(2))
    limits = control.Constraints(control=(-LIMIT, LIMIT))
    unbounded = np.asarray(control.LQR(system, cost).value().matrix)
    bound = control.quadratic_lower_bound(system, cost, limits)
    root, bound_root = (np.real(scipy.linalg.sqrtm(np.asarray(P))) for P in (unbounded, bound.value.matrix))
    many = Training(adam(settings.network_rate, settings.network_steps), settings.network_steps, 32)
    zero = np.zeros(8)
    return (
        Problem(
            name="constrained-lqr",
            title="Regulator with bounded controls",
            system=system,
            cost=cost,
            constraints=limits,
            horizon=settings.steps,
            reference="bound",
            entries=(
                Entry(
                    "clipped",
                    "LQR, clipped",
                    "model-based",
                    lambda key: control.Clipped(control.LQR(system, cost), limits),
                ),
                Entry(
                    "bound",
                    "convex policy, P of the bound",
                    "model-based",
                    lambda key: regulator(A, B, bound_root, limit=LIMIT, slope=zero).policy(),
                ),
                Entry(
                    "predictive",
                    f"predictive control, {settings.plan} stages",
                    "model-based",
                    lambda key: control.LinearPredictiveControl(system, cost, limits, horizon=settings.plan),
                ),
                Entry(
                    "fitted",
                    "convex policy, fitted P",
                    "model-based",
                    partial(_fitted, settings, system, cost, limits, bound.value, A, B),
                ),
                Entry(
                    "first",
                    "convex policy, P of LQR",
                    "model-based",
                    lambda key: regulator(A, B, root, limit=LIMIT, slope=zero).policy(),
                ),
                Entry(
                    "sgd",
                    "convex policy, learned",
                    "learned optimisation",
                    None,
                    Training(
                        stochastic_gradient(0.1, 0.01, 50),
                        settings.sgd_steps,
                        settings.batch,
                        validations=settings.sgd_steps,
                        published={step: cost - PUBLISHED_BOUND for step, cost in PUBLISHED.items()},
                    ),
                    start="first",
                    change=learned,
                ),
                Entry(
                    "adam",
                    "convex policy, learned further",
                    "learned optimisation",
                    None,
                    Training(adam(0.02, settings.adam_steps), settings.adam_steps, 64),
                    start="sgd",
                ),
                Entry(
                    "network",
                    "neural policy, clipped",
                    "black box",
                    lambda key: network(8, 2, settings.width, limits, key=key),
                    many,
                ),
            ),
            evaluations=(
                Evaluation("cost", f"cost of {settings.steps} stages", settings.steps, settings.test_runs),
                Evaluation("long", "cost of long runs", settings.long_steps, settings.long_runs),
            ),
            bounds={
                "long": {
                    "lower bound": bound.bound,
                    "LQR without bounds": float(np.trace(unbounded @ noise)),
                }
            },
            published={
                "cost": {"first": PUBLISHED[0], "bound": PUBLISHED_BOUND, "sgd": PUBLISHED[100], "network": 13.142},
                "long": {"lower bound": 10.7947, "LQR without bounds": 6.0375},
            },
            drawn=(
                Drawn(
                    lambda runs: np.concatenate([runs.states[0, 1:, :2], runs.controls[0]], axis=1),
                    ("state 1", "state 2", "control 1", "control 2"),
                    ("clipped", "predictive", "adam", "network"),
                ),
            ),
        ),
    )


def study_stages(run: Run) -> list[Stage]:
    """The stages of the study."""
    return stages(run, problems)


def study_results(run: Run) -> dict[str, Any]:
    """The results of the study."""
    statements = [
        "The system: eight states, two controls |u| ≤ 0.1, a random A of spectral radius one and a random B, process "
        "noise and x₀ of covariance I/4; the cost x'x + u'u. The setting is that of “Learning convex optimization "
        "control policies” (Agrawal, Barratt, Boyd, Stellato).",
        "The convex policy decides by argmin u'u + ‖θx⁺‖² + q'x⁺ within the bounds. It begins from the value function "
        f"of LQR and is trained as published, by {run.settings.sgd_steps} steps of plain gradient descent on "
        f"{run.settings.batch} runs; then by {run.settings.adam_steps} steps of Adam on 64 runs.",
        "The fitted value function fulfils Bellman's equation as well as a convex quadratic can (fitted value "
        f"iteration), on the states that its own policy visits, {run.settings.fits} times.",
        "The lower bound holds for every policy over a long time; it is the optimum of a semidefinite program. The "
        "published value of it, 10.795, is not the optimum of that program: two solvers give 10.697.",
        "Published costs are of six runs of 100 stages, which begin near zero; the published network's training "
        "was interrupted at step 204.",
    ]
    return collect(run, "A regulator with bounded controls, along the spectrum", statements, problems_of(run, problems))


STUDY = Study(
    name="constrained-lqr",
    summary="a regulator with bounded controls: convex policies, predictive control and a network against a bound",
    settings=ConstrainedLQRSettings,
    quick={**QUICK, "sgd_steps": 20, "adam_steps": 30, "fits": 2, "long_steps": 200, "long_runs": 8},
    stages=study_stages,
    results=study_results,
)
