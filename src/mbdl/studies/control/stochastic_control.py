"""The study of stochastic control under partial observation, from the model's end of the spectrum to the data's."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

import mbdl
from mbdl import control, tracking
from mbdl.studies.control import cart_pole
from mbdl.studies.control.collect import collect
from mbdl.studies.control.curves import Curve, DataCurve, MismatchCurve
from mbdl.studies.control.problem import Drawn, Entry, Evaluation, Problem, Training, adam
from mbdl.studies.control.recorded import EstimationError
from mbdl.studies.control.settings import QUICK, ControlSettings
from mbdl.studies.control.stages import problems_of, stages
from mbdl.studies.settings import setting
from mbdl.studies.study import Run, Stage, Study


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

    stretch: float = setting(1.6, "how many times longer and heavier the true pole is")
    friction: float = setting(2.0, "friction of the true cart, N s/m")
    pole_steps: int = setting(80, "stages of a run of the pole, 0.05 s each")
    pole_runs: int = setting(300, "test runs of the pole")
    pole_trainings: int = setting(3, "trainings of each policy of the pole, where the model is wrong")
    tuning_runs: int = setting(32, "runs of the pole on which weights are searched")
    plan: int = setting(8, "stages that predictive control plans")
    short_plan: int = setting(2, "stages that it plans with a learned value")
    planner_iterations: int = setting(3, "iterations of the planner at each time")
    planner_steps: int = setting(100, "training steps through the planner")
    recorded_runs: int = setting(100, "recorded runs of the pole, whose states are known")

    curve_runs: tuple[int, ...] = setting((4, 16, 64), "numbers of training runs of the curves")
    curve_angles: tuple[float, ...] = setting((0.0, 10.0, 20.0, 30.0, 40.0), "true rotations of a curve, degrees")
    curve_stretches: tuple[float, ...] = setting((1.0, 1.3, 1.6, 2.0, 2.5), "true stretches of a curve")


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

    def recorded(key: PRNGKeyArray, count: int) -> control.Trajectories:
        return control.simulate(truth, nominal, key, steps=horizon, runs=count, cost=cost, throw=False)

    def estimation(key: PRNGKeyArray, count: int) -> EstimationError:
        return EstimationError.of(recorded(key, count))

    few = Training(adam(0.03, settings.few_steps), settings.few_steps, settings.batch)
    many = Training(adam(settings.network_rate, settings.network_steps), settings.network_steps, settings.batch)
    estimates = Training(
        adam(settings.network_rate, settings.estimation_steps),
        settings.estimation_steps,
        settings.batch,
        estimation,
        settings.estimation_runs,
        "error of the estimates",
    )

    def kalmannet(key: PRNGKeyArray) -> control.LQG:
        return regulator(assumed, tracking.KalmanNet(assumed, key=key))

    def recurrent(key: PRNGKeyArray) -> control.RecurrentPolicy:
        runs = recorded(jax.random.fold_in(key, 1), settings.estimation_runs)
        scales = tracking.Standardisation.of(runs.observations, runs.controls)
        how: dict[str, Any] = {"dtype": jnp.result_type(float), "standardisation": scales, "key": key}
        return control.RecurrentPolicy(2, 1, hidden_size=settings.width, **how)

    entries = [
        Entry("lqg", "LQG", "model-based", lambda key: nominal),
        Entry("kalmannet", "LQG with KalmanNet, by cost", "DNN-aided", kalmannet, many),
    ]
    if angle or whole:
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
        digits=2,
        drawn=(
            Drawn(
                lambda runs: np.concatenate([runs.states[0, 1:], runs.controls[0], runs.costs[0][:, None]], axis=1),
                ("position", "velocity", "control", "cost of the stage"),
                ("true", "lqg", "kalmannet", "recurrent"),
            ),
        )
        if whole and angle
        else (),
    )


def problems(settings: StochasticControlSettings) -> tuple[Problem, ...]:
    """Both systems, with a wrong and the full model; the linear one at every level, at the second with all rules."""
    middle = middle_level(settings)
    whole, *others = [
        problem(settings, level, angle, level == middle)
        for angle in (settings.angle, 0.0)
        for level in (middle, *(level for level in settings.levels if level != middle))
    ]
    pole = cart_pole.stretched(settings, settings.stretch)
    return (whole, pole, cart_pole.full_model(settings), *others)


def curves(settings: StochasticControlSettings) -> tuple[Curve, ...]:
    """By the number of training runs and by mismatch, of both systems."""
    level = middle_level(settings)

    def rotated(settings: StochasticControlSettings, angle: float) -> Problem:
        return dataclasses.replace(problem(settings, level, angle, True), name=f"rotated-{level:g}")

    linear = ("lqg", "model", "kalmannet", "recurrent")
    nonlinear = ("lqg", "predictive", "tuned", "parameters", "residual", "closed", "recurrent")
    return (
        DataCurve(
            f"rotated-{level:g}",
            ("covariances", "model", "kalmannet", "recurrent"),
            ("true", "lqg"),
            settings.curve_runs,
        ),
        MismatchCurve(
            f"rotated-{level:g}",
            linear,
            ("true",),
            settings.curve_angles,
            settings.angle,
            rotated,
            ("rotation", "°"),
        ),
        DataCurve("cart-pole", ("parameters", "residual", "recurrent"), ("true", "tuned"), settings.curve_runs),
        MismatchCurve(
            "cart-pole",
            nonlinear,
            ("true",),
            settings.curve_stretches,
            settings.stretch,
            cart_pole.stretched,
            ("stretch", ""),
        ),
    )


def middle_level(settings: StochasticControlSettings) -> float:
    """The level at which all policies are compared."""
    return settings.levels[min(1, len(settings.levels) - 1)]


def study_stages(run: Run) -> list[Stage]:
    """The stages of the study."""
    return stages(run, problems, curves(run.settings))


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
        "Tuned weights: a search chose the weights of speeds and of forces in the planner's cost, and the process "
        f"noise of its filter, by the cost of {run.settings.tuning_runs} runs of the true system.",
        "Learned costs: the matrices of states in the planner's cost, at the stages and at the end of a plan. "
        "Unfolded: a copy of these, of the step sizes and of the regularisation for each iteration of the planner. "
        "Both by the gradient of the closed loop's cost, as the learned value.",
        "The recurrent network knows no model, sees standardised observations and gives standardised controls.",
        "The pole on a cart is seen by position and angle in noise, for 0.05 s a stage; a force of at most 10 N, the "
        "cost p² + 10φ² + 0.1(ṗ² + φ̇²) + 0.001u². The true pole is "
        f"{run.settings.stretch:g} times longer and heavier than the model's, the true cart has a friction of "
        f"{run.settings.friction:g} N s/m, which the model leaves out. Predictive control plans by the iterative "
        "regulator, and ends its plan with the value of the linearised one. What is learned by the error of "
        f"predictions or estimates is learned on {run.settings.recorded_runs} runs of the true system under predictive "
        "control, whose states are known; the other policies by the gradient of the closed loop's cost.",
    ]
    title = "Stochastic control under partial observation, along the spectrum"
    return collect(run, title, statements, problems_of(run, problems), curves(run.settings))


STUDY = Study(
    name="stochastic-control",
    summary="control under partial observation: LQG, predictive control, learned models, KalmanNet, a black box",
    settings=StochasticControlSettings,
    quick={
        **QUICK,
        "levels": (0.0,),
        "few_steps": 20,
        "estimation_steps": 20,
        "estimation_runs": 32,
        "network_steps": 30,
        "pole_runs": 20,
        "pole_trainings": 1,
        "tuning_runs": 8,
        "plan": 4,
        "planner_steps": 5,
        "recorded_runs": 8,
    },
    stages=study_stages,
    results=study_results,
)
