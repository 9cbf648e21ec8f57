"""The study of a linear system: a full model at several noise levels, and two wrong ones."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from mbdl import tracking
from mbdl.studies.settings import setting
from mbdl.studies.study import Run, Stage, Study
from mbdl.studies.tracking.case import Case
from mbdl.studies.tracking.collect import collect
from mbdl.studies.tracking.settings import QUICK, TrackingSettings
from mbdl.studies.tracking.stages import Curve, stages


@dataclass(frozen=True)
class LinearSettings(TrackingSettings):
    """The conditions of the linear system."""

    levels: tuple[float, ...] = setting((-10.0, 0.0, 10.0, 20.0, 30.0), "levels 1/r² of the full model, dB")
    ratio: float = setting(0.0, "ratio q²/r² of the full model at these levels, dB")
    wrong_ratio: float = setting(-20.0, "ratio q²/r² where the model is wrong, dB")
    angle: float = setting(10.0, "by which the true transition or observation is rotated, degrees")
    size: int = setting(2, "states of the system")
    steps: int = setting(100, "observations of a trajectory")
    iterations: int = setting(10, "iterations of the messages that a graph network corrects")
    features: int = setting(48, "hidden features of each state in this network")
    turned_steps: int = setting(20, "observations of a trajectory where the transition is rotated")
    sizes: tuple[int, ...] = setting((5, 10, 20), "states of larger systems, with the full model")
    networks_up_to: int = setting(5, "states up to which gains are learned there")
    sizes_steps: int = setting(20, "observations of a trajectory there")
    sampling: float = setting(0.01, "time between the observations of a constant acceleration")


ALL = (
    *("filter-true", "filter", "filter-tuned", "filter-identified", "filter-noise", "filter-model"),
    *("kalmannet", "kalmannet-split", "recurrent"),
    *("smoother-true", "smoother", "smoother-tuned", "smoother-identified", "smoother-model"),
    *("rtsnet", "augmented", "bidirectional"),
)
"""The rules that are compared where the model is wrong."""

ACCELERATED = (
    *("observations", "filter-true", "filter", "filter-tuned", "filter-noise", "filter-model"),
    *("kalmannet", "kalmannet-split", "recurrent"),
    *("smoother-true", "smoother", "smoother-tuned", "smoother-model", "rtsnet", "bidirectional"),
)
"""Those that are compared where the model lacks a state."""

FULL = ("filter-true", "kalmannet", "smoother-true", "rtsnet")
"""The rules that are compared with the full model."""

PUBLISHED = {
    -10.0: {"filter-true": 8.09, "smoother-true": 6.22, "rtsnet": 6.22},
    0.0: {"filter-true": -1.83, "smoother-true": -3.71, "rtsnet": -3.69},
    10.0: {"filter-true": -11.88, "smoother-true": -13.78, "rtsnet": -13.73},
    20.0: {"filter-true": -21.90, "smoother-true": -23.75, "rtsnet": -23.73},
    30.0: {"filter-true": -31.89, "smoother-true": -33.75, "rtsnet": -33.68},
}
"""Errors with the full model at equal noises, dB, by level (X. Ni and others, "RTSNet", 2024)."""


def cases(settings: LinearSettings) -> tuple[Case, ...]:
    """The conditions: the full model at each level, at the ratio of the wrong ones and of larger systems; then wrong
    models: a state that is missing, and the two rotations."""
    found = []
    for level in settings.levels:
        r2 = 10 ** (-level / 10)
        model = tracking.canonical(settings.size, r2=r2, q2=r2 * 10 ** (settings.ratio / 10))
        found.append(
            Case(
                name=f"full-{level:g}",
                title=f"full model, 1/r² = {level:g} dB",
                truth=model,
                assumed=model,
                steps=settings.steps,
                rules=FULL,
                published=PUBLISHED.get(level, {}) if settings.size == 2 and settings.ratio == 0.0 else {},
                level=level,
                drawn=False,
            )
        )
    noises: dict[str, Any] = {"r2": 1.0, "q2": 10 ** (settings.wrong_ratio / 10)}
    assumed = tracking.canonical(settings.size, **noises)
    usual = settings.size == 2 and settings.wrong_ratio == -20.0 and settings.angle == 10.0
    found.append(
        Case(
            name="full-slow",
            title=f"full model, q²/r² = {settings.wrong_ratio:g} dB",
            truth=assumed,
            assumed=assumed,
            steps=settings.steps,
            rules=FULL,
            published={"filter-true": -7.33} if usual else {},
            drawn=False,
        )
    )
    found += [_larger(settings, size, noises) for size in settings.sizes]
    found.append(_accelerated(settings))
    found.append(
        Case(
            name="observation",
            title=f"observation rotated by {settings.angle:g}°",
            truth=tracking.canonical(settings.size, **noises, rotate_observation=settings.angle),
            assumed=assumed,
            steps=settings.steps,
            rules=ALL,
            mismatch=_observation,
            identified=("observation",),
            published={"smoother-true": -11.88, "smoother": -4.83, "rtsnet": -10.80} if usual else {},
        )
    )
    found.append(
        Case(
            name="transition",
            title=f"transition rotated by {settings.angle:g}°",
            truth=tracking.canonical(settings.size, **noises, rotate_transition=settings.angle),
            assumed=assumed,
            steps=settings.turned_steps,
            rules=ALL,
            mismatch=_transition,
            identified=("transition",),
            published={"smoother-true": -13.91, "smoother": 22.84, "rtsnet": -2.28} if usual else {},
        )
    )
    return tuple(found)


def _larger(settings: LinearSettings, size: int, noises: dict[str, Any]) -> Case:
    """A larger system, fully known."""
    model = tracking.canonical(size, **noises)
    return Case(
        name=f"full-{size}-states",
        title=f"full model, {size} states",
        truth=model,
        assumed=model,
        steps=settings.sizes_steps,
        rules=FULL if size <= settings.networks_up_to else ("filter-true", "smoother-true"),
        drawn=False,
    )


def _accelerated(settings: LinearSettings) -> Case:
    """A constant acceleration, which the rules take for a constant velocity; the position is observed and scored."""
    builders = tracking.constant_acceleration, tracking.constant_velocity
    truth, assumed = (_at_once(build(settings.sampling, q2=1.0, r2=1.0)) for build in builders)
    return Case(
        name="acceleration",
        title="constant acceleration, taken for a constant velocity",
        truth=truth,
        assumed=assumed,
        steps=settings.steps,
        rules=ACCELERATED,
        mismatch=_transition,
        components=(0,),
        drawn=False,
    )


def _at_once(model: tracking.LinearGaussian) -> tracking.LinearGaussian:
    """The model with a matrix in the place of each function of the duration."""
    moment = tracking.Moment(jnp.zeros((), jnp.int32))
    return tracking.LinearGaussian(
        transition=tracking.at(model.transition, moment),
        observation=model.observation,
        process_noise=tracking.at(model.process_noise, moment),
        observation_noise=model.observation_noise,
        initial_mean=model.initial_mean,
        initial_covariance=model.initial_covariance,
        starts=model.starts,
    )


def _observation(model: Any) -> Any:
    return model.observation


def _transition(model: Any) -> Any:
    return model.transition


def _curve(found: tuple[Case, ...]) -> Curve:
    return Curve(found[-2], ("filter-model", "kalmannet", "recurrent"))


def study_stages(run: Run) -> list[Stage]:
    """The stages of the study."""
    found = cases(run.settings)
    return stages(run, found, _curve(found))


def study_results(run: Run) -> dict[str, Any]:
    """The results of the study."""
    found = cases(run.settings)
    return collect(
        run,
        "Tracking a linear system, along the spectrum",
        statements(run.settings),
        found,
        components=[f"state {i + 1}" for i in range(run.settings.size)],
        curve=_curve(found),
    )


def statements(settings: LinearSettings) -> list[str]:
    """The problem, the data and the choices."""
    return [
        "The system: F is the identity with a first row of ones, H the identity (beyond two states the exchange matrix "
        "with a first row of ones), Q = q²I, R = r²I, a known initial state of zero, one transition before the first "
        "observation. The settings are those of the papers on KalmanNet and RTSNet.",
        f"Where the model is wrong, the true F or H is multiplied by a rotation of {settings.angle:g}°, and the rules "
        "are given the one that is not rotated. “True model” rows are given the rotated one: they are bounds, and "
        "what a perfect identification would reach.",
        "The system is linear and begins at zero: noise of c times the variance makes states, observations and "
        "estimates √c times as large, and every error moves with the level, that of a wrong model too. So wrong models "
        "are compared at 1/r² = 0 dB alone.",
        f"Larger systems: F, H and the noises of the same forms, q²/r² = {settings.wrong_ratio:g} dB, trajectories of "
        f"{settings.sizes_steps} observations; gains are learned up to {settings.networks_up_to} states.",
        f"Constant acceleration: position, velocity and acceleration, observed every {settings.sampling:g} in its "
        "position with noise of variance 1, the derivative of the acceleration being white noise of density 1. The "
        "rules are given a constant velocity, of whose acceleration the same is said, and are scored by the position.",
        "By least squares: the matrix that is wrong, from the states of the training trajectories, which are known; "
        "the noises are those of the model.",
        "Learned covariances: Q and R, by the squared error through the filter. Learned model: these and the matrix "
        "that is wrong; it is told which one that is, which KalmanNet and RTSNet are not.",
        "KalmanNet and RTSNet begin as the steady-state Kalman filter and smoother of the model that they are given. "
        f"The neural-augmented smoother makes {settings.iterations} steps along the messages of the model that it is "
        "given, each with the correction of a graph network, and is trained on what it has after every one of them. "
        "The recurrent network knows no model.",
        f"All trainings and searches make the squared error of the states of {settings.train_runs} training "
        f"trajectories small; {settings.validation_runs} validation trajectories choose the moment of a training that "
        f"is kept, and the {settings.test_runs} test trajectories are drawn independently of both.",
    ]


STUDY = Study(
    name="tracking-linear",
    summary="tracking a linear system: Kalman filters and smoothers, learned gains, a recurrent network; wrong models",
    settings=LinearSettings,
    quick={**QUICK, "levels": (0.0,), "sizes": (5,), "iterations": 5, "features": 8},
    stages=study_stages,
    results=study_results,
)
