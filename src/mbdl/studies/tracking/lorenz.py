"""The study of the Lorenz attractor: a wrong observation, a nonlinear one, and a continuous system in discrete time."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import PRNGKeyArray

from mbdl import tracking
from mbdl.studies.settings import setting
from mbdl.studies.study import Run, Stage, Study
from mbdl.studies.tracking.case import Case
from mbdl.studies.tracking.collect import collect
from mbdl.studies.tracking.settings import QUICK, TrackingSettings
from mbdl.studies.tracking.stages import Curve, stages


@dataclass(frozen=True)
class LorenzSettings(TrackingSettings):
    """The conditions of the Lorenz attractor."""

    network_steps: int = setting(2000, "training steps of networks")
    network_rate: float = setting(0.003, "their first learning rate")
    step: float = setting(0.02, "time between observations")
    order: int = setting(5, "order of the Taylor series of the transition")
    level: float = setting(10.0, "level 1/r² where the model is discrete, dB")
    levels: tuple[float, ...] = setting((0.0, 20.0, 30.0), "further levels 1/r² of the rotated observation, dB")
    ratio: float = setting(-20.0, "ratio q²/r² there, dB")
    angle: float = setting(1.0, "by which the true observation is rotated about each axis, degrees")
    steps: int = setting(100, "observations of a trajectory")
    spherical_level: float = setting(30.0, "level 1/r² = 1/q² of the observation in spherical coordinates, dB")
    spherical_steps: int = setting(20, "observations of such a trajectory")
    decimated_steps: int = setting(200, "observations of a decimated training trajectory")
    decimated_runs: int = setting(500, "training trajectories of the decimated system")
    decimated_validation_runs: int = setting(20, "validation trajectories of that length")
    decimated_test_runs: int = setting(10, "decimated test trajectories")
    decimated_test_steps: int = setting(3000, "observations of a decimated test trajectory")
    fine: float = setting(1e-5, "time step at which the continuous system is simulated")
    decimated_order: int = setting(2, "order of the Taylor series that the rules are given there")
    decimated_deviation: float = setting(0.3873, "standard deviation of the process noise that they are given there")


WRONG = (
    *("filter-true", "filter", "unscented", "particle", "filter-tuned", "filter-identified", "filter-noise"),
    *("filter-model", "kalmannet", "kalmannet-split", "kalmannet-constant", "kalmannet-magnitude", "recurrent"),
    *("smoother-true", "smoother", "smoother-tuned", "smoother-identified", "smoother-model", "rtsnet"),
    "bidirectional",
)
"""The rules that are compared where the observation is rotated."""

BY_LEVEL = (
    *("filter-true", "filter", "filter-tuned", "kalmannet"),
    *("smoother-true", "smoother", "smoother-tuned", "rtsnet"),
)
"""The rules that are compared where the observation is rotated, at further levels."""

TURNED = (
    *("filter-true", "filter", "filter-tuned", "filter-noise", "filter-model", "kalmannet", "recurrent"),
    *("smoother-true", "smoother", "smoother-tuned", "smoother-model", "rtsnet", "bidirectional"),
)
"""The rules that are compared where the transition is rotated."""

PUBLISHED = {
    0.0: {"smoother-true": -13.75, "smoother": -12.93, "rtsnet": -13.22},
    10.0: {"smoother-true": -23.87, "smoother": -18.96, "rtsnet": -21.98},
    20.0: {"smoother-true": -33.75, "smoother": -20.36, "rtsnet": -30.27},
    30.0: {"smoother-true": -43.75, "smoother": -20.56, "rtsnet": -36.46},
}
"""Errors with the rotated observation, dB, by level (X. Ni and others, "RTSNet", 2024)."""

DECIMATED = (
    *("filter", "particle", "filter-tuned", "filter-noise"),
    *("kalmannet", "kalmannet-constant", "kalmannet-magnitude", "recurrent"),
    *("smoother", "smoother-tuned", "rtsnet", "rtsnet-2", "bidirectional"),
)
"""The rules that are compared on the decimated system."""


def cases(settings: LorenzSettings) -> tuple[Case, ...]:
    """The conditions: a rotated observation by level, a rotated transition, a nonlinear observation, and the continuous
    system."""
    rotated = [_rotated(settings, level) for level in dict.fromkeys((settings.level, *settings.levels))]
    small = 10 ** (-settings.spherical_level / 10)
    curved = tracking.lorenz(
        step=settings.step,
        order=settings.order,
        r2=small,
        q2=small,
        observation=tracking.Spherical(),
        difference=tracking.WrappedDifference([2]),
    )
    spherical = Case(
        name="spherical",
        title="spherical observation, full model",
        truth=curved,
        assumed=curved,
        steps=settings.spherical_steps,
        rules=("filter-true", "unscented", "particle", "kalmannet", "smoother-true", "rtsnet"),
        published={"filter-true": -26.42, "smoother-true": -28.21} if settings.spherical_level == 30.0 else {},
    )
    given = tracking.lorenz(
        step=settings.step,
        order=settings.decimated_order,
        r2=1.0,
        q2=settings.decimated_deviation**2,
        initial_mean=MIDDLE,
        initial_covariance=np.diag(EXTENT) ** 2,
    )
    decimated = Case(
        name="decimated",
        title="continuous system, decimated",
        truth=given,
        assumed=given,
        steps=settings.decimated_steps,
        rules=DECIMATED,
        mismatch=None,
        samples=partial(_decimated, settings=settings),
        runs={
            "train": settings.decimated_runs,
            "validation": settings.decimated_validation_runs,
            "test": settings.decimated_test_runs,
        },
        published={
            "filter": -6.316,
            "particle": -5.333,
            "kalmannet": -11.106,
            "smoother": -10.075,
            "rtsnet": -15.436,
            "rtsnet-2": -16.803,
        },
    )
    return *rotated, _turned(settings), spherical, decimated


def _discrete(settings: LorenzSettings, level: float) -> dict[str, Any]:
    """What makes the discrete system at a level of the observation noise."""
    r2 = 10 ** (-level / 10)
    return {"step": settings.step, "order": settings.order, "r2": r2, "q2": r2 * 10 ** (settings.ratio / 10)}


def _rotated(settings: LorenzSettings, level: float) -> Case:
    """The rotated observation at a level: with every rule at that of the settings, with some at the further ones."""
    discrete = _discrete(settings, level)
    whole = level == settings.level
    usual = (settings.ratio, settings.angle, settings.order) == (-20.0, 1.0, 5)
    return Case(
        name="observation" if whole else f"observation-{level:g}",
        title=f"observation rotated by {settings.angle:g}°, 1/r² = {level:g} dB",
        truth=tracking.lorenz(**discrete, rotate_observation=settings.angle),
        assumed=tracking.lorenz(**discrete),
        steps=settings.steps,
        rules=WRONG if whole else BY_LEVEL,
        mismatch=_observation,
        identified=("observation",),
        published=PUBLISHED.get(level, {}) if usual else {},
        level=level,
        drawn=whole,
    )


def _turned(settings: LorenzSettings) -> Case:
    """The state turned before each transition, which the rules do not know."""
    discrete = _discrete(settings, settings.level)
    return Case(
        name="transition",
        title=f"transition rotated by {settings.angle:g}°, 1/r² = {settings.level:g} dB",
        truth=tracking.lorenz(**discrete, rotate_transition=settings.angle),
        assumed=tracking.lorenz(**discrete, rotate_transition=0.0),  # a rotation that can be learned
        steps=settings.steps,
        rules=TURNED,
        mismatch=_rotation,
        drawn=False,
    )


def _rotation(model: Any) -> Any:
    return model.transition.rotation


def _observation(model: Any) -> Any:
    return model.observation.matrix


MIDDLE, EXTENT = np.array([0.0, 0.0, 24.0]), np.array([8.0, 9.0, 8.5])
"""Roughly the mean of the attractor and the standard deviations of its components."""

BURN_IN = 50
"""Observations after which a trajectory has come to the attractor."""


def _decimated(key: PRNGKeyArray, runs: int, split: str, settings: LorenzSettings) -> tracking.Simulated:
    steps = settings.decimated_test_steps if split == "test" else settings.decimated_steps
    start: dict[str, Any] = {"initial_mean": MIDDLE, "initial_covariance": np.diag(EXTENT) ** 2}
    drawn = tracking.decimated(
        tracking.lorenz(step=settings.fine, order=5, r2=1.0, q2=0.0, **start),
        key,
        every=round(settings.step / settings.fine),
        steps=steps + BURN_IN,
        runs=runs,
    )
    return tracking.Simulated(drawn.observations[:, BURN_IN:], drawn.states[:, BURN_IN:])


def _curve(found: tuple[Case, ...]) -> Curve:
    return Curve(found[0], ("filter-model", "kalmannet", "recurrent"))


def study_stages(run: Run) -> list[Stage]:
    """The stages of the study."""
    found = cases(run.settings)
    return stages(run, found, _curve(found))


def study_results(run: Run) -> dict[str, Any]:
    """The results of the study."""
    found = cases(run.settings)
    return collect(
        run,
        "Tracking the Lorenz attractor, along the spectrum",
        statements(run.settings),
        found,
        components=["x", "y", "z"],
        curve=_curve(found),
    )


def statements(settings: LorenzSettings) -> list[str]:
    """The problem, the data and the choices."""
    return [
        f"The discrete system: s⁺ = F(s) s + v, where F(s) is the matrix exponential of A(s)Δ to a Taylor order of "
        f"{settings.order}, Δ = {settings.step:g}, from a known state of ones, one transition before the first "
        "observation. The settings are those of the papers on KalmanNet and RTSNet.",
        f"Rotated observation: y = Rot s + w, the rotation by {settings.angle:g}° about each axis; the rules believe "
        f"that y = s + w. q²/r² = {settings.ratio:g} dB; all rules at 1/r² = {settings.level:g} dB, some "
        "at further levels. “True model” rows know the rotation.",
        "Rotated transition: s⁺ = F(s) Rot s + v with the same rotation; the rules believe that there is none. There "
        "the learned model has the rotation's matrix to learn.",
        "By least squares: the matrix of the observation, from the states of the training trajectories, which are "
        "known; the noises are those of the model.",
        "Spherical observation: distance and two angles, whose innovations wrap; the model is the true one.",
        f"Continuous system: the differential equation at a step of {settings.fine:g}, without noise, every "
        f"{round(settings.step / settings.fine)}th state observed with noise of variance 1. The rules are given the "
        f"discrete model of order {settings.decimated_order} with process noise of standard deviation "
        f"{settings.decimated_deviation:g}. Training: {settings.decimated_runs} trajectories of "
        f"{settings.decimated_steps} observations; test: trajectories of {settings.decimated_test_steps}. Each begins "
        "at a point of its own on the attractor, which the rules do not know. In the published experiment training "
        "and test are pieces of one trajectory with a known first state; here they are independent.",
        "The extended filters use the Jacobian of the transition, not F(s) in its place.",
        "Learned covariances: Q and R, by the squared error through the filter. Learned model: these and the matrix of "
        "the observation, which is what is wrong; KalmanNet and RTSNet are not told what that is.",
        "KalmanNet's features have unit length, as published. Those with their magnitude saturate at three standard "
        "deviations of the observation noise in its place. The gain that it corrects is the time-varying one of the "
        "extended filter, or where that is said a constant one, of the model linearised at the first mean; RTSNet "
        "corrects the gain of the extended smoother.",
    ]


STUDY = Study(
    name="tracking-lorenz",
    summary="tracking the Lorenz attractor: extended, unscented and particle filters, smoothers, learned gains, a "
    "recurrent network",
    settings=LorenzSettings,
    quick={
        **QUICK,
        "levels": (),
        "steps": 50,
        "decimated_steps": 50,
        "decimated_runs": 20,
        "decimated_validation_runs": 2,
        "decimated_test_runs": 2,
        "decimated_test_steps": 200,
        "fine": 1e-3,
    },
    stages=study_stages,
    results=study_results,
)
