"""The study of stochastic control under partial observation, from the model's end of the spectrum to the data's."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

import mbdl
from mbdl import control, tracking
from mbdl.studies.control.collect import collect
from mbdl.studies.control.problem import Drawn, Entry, Evaluation, Problem, Training, adam
from mbdl.studies.control.settings import QUICK, ControlSettings
from mbdl.studies.control.stages import problems_of, stages
from mbdl.studies.settings import setting
from mbdl.studies.study import Run, Stage, Study
from mbdl.training.risk import AbstractExampleRisk


@dataclass(frozen=True)
class StochasticControlSettings(ControlSettings):
    """The published setting of the regulator with a learned gain."""

    levels: tuple[float, ...] = setting((-10.0, 0.0, 10.0, 20.0), "levels r² of both noises, dB")
    angle: float = setting(20.0, "by which the true transition is rotated, degrees")
    steps: int = setting(100, "stages of a run")
    batch: int = setting(16, "runs of a training step")
    few_steps: int = setting(300, "training steps of rules of which a few numbers are learned")
    estimation_steps: int = setting(500, "training steps of KalmanNet by the error of its estimates")
    estimation_runs: int = setting(500, "runs that these are made of")
    test_runs: int = setting(1000, "test runs")


class EstimationError(AbstractExampleRisk):
    """The squared error of the filter inside a policy, on runs of another policy."""

    data: Any

    def values(self, rule: Any, batch: Any, key: PRNGKeyArray | None) -> Float[Array, " batch"]:
        inputs, states = batch
        return jax.vmap(lambda x, s: tracking.state_error(rule.filter(x), s))(inputs, states)


def model(level: float, angle: float = 0.0) -> tracking.LinearGaussian:
    """The published system, its transition rotated by an angle."""
    r2 = 10 ** (level / 10)
    rotation = tracking.plane_rotation(2, angle)
    return tracking.LinearGaussian(
        transition=rotation @ jnp.array([[1.0, 1.0], [0.0, 1.0]]),
        observation=jnp.eye(2),
        control=jnp.array([[0.0], [1.0]]),
        process_noise=r2 * jnp.eye(2),
        observation_noise=r2 * jnp.eye(2),
        initial_mean=jnp.array([10.0, 0.0]),
        initial_covariance=jnp.zeros((2, 2)),
        starts="at",
    )


PUBLISHED = {
    -10.0: {"matched": {"lqg": 5.74, "kalmannet": 5.75}, "rotated": {"lqg": 17.35, "kalmannet": 6.70}},
    0.0: {"matched": {"lqg": 11.22, "kalmannet": 11.23}, "rotated": {"lqg": 21.47, "kalmannet": 11.94}},
    10.0: {"matched": {"lqg": 20.36, "kalmannet": 20.37}, "rotated": {"lqg": 29.77, "kalmannet": 20.81}},
    20.0: {"matched": {"lqg": 30.36, "kalmannet": 30.42}, "rotated": {"lqg": 39.39, "kalmannet": 30.78}},
}
"""Published costs, dB, by the level of the noises (S. Goldenberg and others, "LQGNet", ICASSP 2023)."""


def runs_of_regulator(
    truth: tracking.LinearGaussian, policy: control.LQG, cost: control.QuadraticCost, settings: Any, key: PRNGKeyArray
) -> control.Trajectories:
    """Runs of the true system under the regulator of the assumed one."""
    return control.simulate(
        truth, policy, key, steps=settings.steps, runs=settings.estimation_runs, cost=cost, throw=False
    )


def estimation_risk(
    truth: tracking.LinearGaussian, policy: control.LQG, cost: control.QuadraticCost, settings: Any, key: PRNGKeyArray
) -> EstimationError:
    """The error of estimates on runs of the regulator."""
    runs = runs_of_regulator(truth, policy, cost, settings, key)
    before = jnp.concatenate([jnp.zeros_like(runs.controls[:, :1]), runs.controls[:, :-1]], axis=1)
    return EstimationError((tracking.Inputs(runs.observations, before), runs.states[:, :-1]))


def problem(settings: StochasticControlSettings, level: float, angle: float, whole: bool) -> Problem:
    """One level of the noises and one rotation; with all rules, or with the published ones."""
    truth, assumed = model(level, angle), model(level)
    cost = control.QuadraticCost(jnp.eye(2), 0.1 * jnp.eye(1), terminal=jnp.eye(2))
    horizon = settings.steps

    def regulator(plant: tracking.LinearGaussian, filter: Any = None) -> control.LQG:
        return control.LQG(
            tracking.KalmanFilter(plant) if filter is None else filter, control.LQR(plant, cost, horizon=horizon)
        )

    nominal = regulator(assumed)
    few = Training(adam(0.03, settings.few_steps), settings.few_steps, settings.batch)
    many = Training(adam(settings.network_rate, settings.network_steps), settings.network_steps, settings.batch)
    estimates = Training(
        adam(settings.network_rate, settings.estimation_steps),
        settings.estimation_steps,
        settings.batch,
        partial(estimation_risk, truth, nominal, cost, settings),
    )

    def kalmannet(key: PRNGKeyArray) -> control.LQG:
        return regulator(assumed, tracking.KalmanNet(assumed, key=key))

    def recurrent(key: PRNGKeyArray) -> control.RecurrentPolicy:
        runs = runs_of_regulator(truth, nominal, cost, settings, jax.random.fold_in(key, 1))
        scales = tracking.Standardisation.of(runs.observations, runs.controls)
        how: dict[str, Any] = {"dtype": jnp.result_type(float), "standardisation": scales, "key": key}
        return control.RecurrentPolicy(2, 1, hidden_size=settings.width, **how)

    entries = [
        Entry("lqg", "LQG", "model-based", lambda key: nominal),
        Entry("kalmannet", "LQG with KalmanNet, by cost", "DNN-aided", kalmannet, many),
    ]
    if angle:
        entries.insert(0, Entry("true", "LQG, true model", "model-based", lambda key: regulator(truth)))
    if whole:
        entries += [
            Entry(
                "covariances",
                "LQG, learned covariances",
                "learned optimisation",
                lambda key: mbdl.learn(
                    nominal,
                    lambda p: (p.filter.model.process_noise, p.filter.model.observation_noise),
                    constraint=mbdl.positive_definite,
                ),
                few,
            ),
            Entry(
                "model",
                "LQG, learned transition",
                "learned optimisation",
                lambda key: mbdl.learn(nominal, lambda p: (p.filter.model.transition, p.controller.transition)),
                few,
            ),
            Entry("estimation", "LQG with KalmanNet, by the error of estimates", "DNN-aided", kalmannet, estimates),
            Entry("both", "LQG with KalmanNet, by both in turn", "DNN-aided", None, many, start="estimation"),
            Entry("recurrent", "recurrent network", "black box", recurrent, many),
        ]
    kind = "rotated" if angle else "matched"
    usual = angle in (0.0, 20.0) and settings.steps == 100
    title = f"r² = {level:g} dB, " + (f"transition rotated by {angle:g}°" if angle else "full model")
    return Problem(
        name=f"{kind}-{level:g}",
        title=title,
        system=truth,
        cost=cost,
        horizon=settings.steps,
        reference="lqg",
        entries=tuple(entries),
        evaluations=(Evaluation("cost", "cost", settings.steps, settings.test_runs),),
        published={"cost": PUBLISHED.get(level, {}).get(kind, {})} if usual else {},
        unit="dB",
        drawn=Drawn(
            lambda runs: np.concatenate([runs.states[0, 1:], runs.controls[0]], axis=1),
            ("position", "velocity", "control"),
            ("true", "lqg", "kalmannet", "recurrent"),
        )
        if whole
        else None,
    )


def problems(settings: StochasticControlSettings) -> tuple[Problem, ...]:
    """All rules at the second level under rotation, the published ones at every level with and without it."""
    middle = settings.levels[min(1, len(settings.levels) - 1)]
    whole = problem(settings, middle, settings.angle, True)
    others = [
        problem(settings, level, angle, False)
        for angle in (settings.angle, 0.0)
        for level in settings.levels
        if (level, angle) != (middle, settings.angle)
    ]
    return (whole, *others)


def study_stages(run: Run) -> list[Stage]:
    """The stages of the study."""
    return stages(run, problems)


def study_results(run: Run) -> dict[str, Any]:
    """The results of the study."""
    statements = [
        "The system: a position and a velocity, the control acts on the velocity, both are observed in noise; process "
        "and observation noise of variance r², x₀ = (10, 0); the cost x'x + 0.1u² and x'x at the end, in dB. The "
        "setting is that of “LQGNet” (Goldenberg, Revach, Shlezinger).",
        f"Under mismatch the true transition is rotated by {run.settings.angle:g}°; policies are given the one that is "
        "not. “True model” is given the rotated one: a bound.",
        "KalmanNet stands in the place of the Kalman filter, and begins as the steady-state filter of the assumed "
        "model. By cost: the gradient of the closed loop's cost. By the error of estimates: on "
        f"{run.settings.estimation_runs} runs of the true system under LQG, whose states are known.",
        "The controller is the regulator of the assumed model, except where the transition is learned.",
        "The recurrent network knows no model, sees standardised observations and gives standardised controls.",
    ]
    title = "Stochastic control under partial observation, along the spectrum"
    return collect(run, title, statements, problems_of(run, problems))


STUDY = Study(
    name="stochastic-control",
    summary="control under partial observation: LQG, learned models, KalmanNet in the loop, a recurrent network",
    settings=StochasticControlSettings,
    quick={
        **QUICK,
        "levels": (0.0,),
        "few_steps": 20,
        "estimation_steps": 20,
        "estimation_runs": 32,
        "network_steps": 30,
    },
    stages=study_stages,
    results=study_results,
)
