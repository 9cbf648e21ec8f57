"""The study of the linear quadratic regulator: what a learned policy finds of the optimum, which is known."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

import mbdl
from mbdl import control
from mbdl.studies.control.collect import collect
from mbdl.studies.control.policies import learned, network, published_system, regulator
from mbdl.studies.control.problem import Drawn, Entry, Evaluation, Problem, Training, adam, stochastic_gradient
from mbdl.studies.control.settings import QUICK, ControlSettings
from mbdl.studies.control.stages import problems_of, stages
from mbdl.studies.settings import setting
from mbdl.studies.study import Run, Stage, Study


@dataclass(frozen=True)
class LQRSettings(ControlSettings):
    """The published setting of the linear quadratic regulator."""

    steps: int = setting(100, "stages of a run")
    batch: int = setting(6, "runs of a training step of the convex policy")
    sgd_steps: int = setting(50, "training steps of the convex policy")
    few_steps: int = setting(200, "training steps of the other rules with few numbers")
    long_steps: int = setting(2000, "stages of a long run")
    long_runs: int = setting(50, "long runs")


def problems(settings: LQRSettings) -> tuple[Problem, ...]:
    """The one problem of the study."""
    A, B = published_system(4, 2, seed=0)
    system = control.LinearSystem(A, B, process_noise=0.25 * np.eye(4), initial_covariance=np.eye(4))
    cost = control.QuadraticCost(np.eye(4), np.eye(2))
    optimum = 0.25 * float(jnp.trace(control.LQR(system, cost).value().matrix))
    sgd = Training(
        stochastic_gradient(0.5, 0.1, 25),
        settings.sgd_steps,
        settings.batch,
        validations=settings.sgd_steps,
        published={0: 0.389, 1: 0.173, 2: 0.066, 3: 0.032, 5: 0.010, 23: 0.001, 49: 0.001},
    )
    few = Training(adam(0.05, settings.few_steps), settings.few_steps, 32)
    many = Training(adam(settings.network_rate, settings.network_steps), settings.network_steps, 32)
    heavy = control.LQR(system, control.QuadraticCost(9 * np.eye(4), np.eye(2)))
    return (
        Problem(
            name="lqr",
            title="Linear quadratic regulator",
            system=system,
            cost=cost,
            horizon=settings.steps,
            reference="lqr",
            entries=(
                Entry("lqr", "LQR", "model-based", lambda key: control.LQR(system, cost)),
                Entry("heavy", "LQR, weights Q = 9I", "model-based", lambda key: heavy),
                Entry(
                    "weights",
                    "LQR, weights learned from Q = 9I",
                    "learned optimisation",
                    lambda key: mbdl.learn(
                        heavy, lambda p: (p.cost.state, p.cost.control), constraint=mbdl.positive_definite
                    ),
                    few,
                ),
                Entry(
                    "convex-first",
                    "convex policy, θ = I",
                    "model-based",
                    lambda key: regulator(A, B, np.eye(4)).policy(),
                ),
                Entry(
                    "convex",
                    "convex policy, learned θ",
                    "learned optimisation",
                    None,
                    sgd,
                    start="convex-first",
                    change=learned,
                ),
                Entry(
                    "gain",
                    "linear feedback, learned gain",
                    "learned optimisation",
                    lambda key: mbdl.learn(control.LinearFeedback(np.zeros((2, 4))), lambda p: p.gain),
                    few,
                ),
                Entry(
                    "network", "neural policy", "black box", lambda key: network(4, 2, settings.width, key=key), many
                ),
            ),
            evaluations=(
                Evaluation("cost", "cost", settings.steps, settings.test_runs),
                Evaluation("long", "cost of long runs", settings.long_steps, settings.long_runs),
            ),
            bounds={"long": {"optimum, tr(PW)": optimum}},
            published={"long": {"optimum, tr(PW)": 1.80312}},
            drawn=(
                Drawn(
                    lambda runs: np.concatenate([runs.states[0, 1:, :2], runs.controls[0]], axis=1),
                    ("state 1", "state 2", "control 1", "control 2"),
                    ("lqr", "convex-first", "convex", "network"),
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
        "The system: four states, two controls, a random A of spectral radius one and a random B, process noise of "
        "covariance W = I/4, x₀ of covariance I; the cost x'x + u'u. The setting is that of “Learning convex "
        "optimization control policies” (Agrawal, Barratt, Boyd, Stellato).",
        "The convex policy decides by argmin u'u + ‖θx⁺‖², the value function θ'θ unknown. It is trained as published: "
        f"{run.settings.sgd_steps} steps of plain gradient descent on {run.settings.batch} runs. Published: within "
        "0.032 of LQR's cost after 3 steps, 0.001 after 23.",
        "θ'θ is not identified by the cost: judge the policy or its cost, not its parameters.",
    ]
    return collect(run, "The linear quadratic regulator, along the spectrum", statements, problems_of(run, problems))


STUDY = Study(
    name="lqr",
    summary="the linear quadratic regulator: policies of every kind against the optimum that is known",
    settings=LQRSettings,
    quick={**QUICK, "sgd_steps": 20, "few_steps": 30, "long_steps": 200, "long_runs": 5},
    stages=study_stages,
    results=study_results,
)
