"""The two curves: quality against the number of training patches, and against a blur that is not the assumed one."""

from typing import Any

import equinox as eqx
import numpy as np

from mbdl.core import DecisionRule
from mbdl.inverse import FISTA
from mbdl.studies.study import Run
from mbdl.studies.super_resolution import problem
from mbdl.studies.super_resolution.learning import train
from mbdl.studies.super_resolution.settings import Settings

PATCH_RULES = ("unfolded-prox", "black-box-equal")
"""The rules that are trained on fewer patches."""

BLUR_RULES = ("bicubic", "total-variation", "unfolded-weights", "unfolded-prox", "plug-and-play", "black-box-equal")
"""The rules that meet another blur than the assumed one."""

TOLD_RULES = ("total-variation", "unfolded-prox", "plug-and-play")
"""The rules that have a model, and can be told the true blur without being trained again."""

BLUR_CROP = 256
"""The middles of the test photographs, on which the second curve is measured, in pixels."""


def train_on_few(run: Run, stage: str, name: str, patches: int) -> dict[str, Any]:
    """Trains a rule on a part of the training patches, and scores it on the test photographs."""
    record = train(run, stage, name, 0, patches)
    rule = run.load_rule(stage)
    scores = {
        scene.name: problem.score(run.settings, rule(scene.observed), scene.truth)
        for scene in problem.scenes(run, "test")
    }
    return {**record, "scores": scores}


def score_under_blur(run: Run, blur: float) -> dict[str, Any]:
    """Scores the trained rules where the true blur is another, and those with a model also when they are told."""
    settings: Settings = run.settings
    found: dict[str, Any] = {}
    pieces = [_middle(scene, settings) for scene in problem.scenes(run, "test", blur)]
    observed, truth = (np.stack(arrays) for arrays in zip(*pieces, strict=True))
    names = [scene.name for scene in problem.scenes(run, "test")]
    for name in BLUR_RULES:
        rule = run.load_rule(name)
        found[name] = _score(rule, observed, truth, names, settings)
        if name in TOLD_RULES:
            told = (
                found[name]
                if blur == settings.blur
                else _score(tell(settings, rule, blur), observed, truth, names, settings)
            )
            found[f"{name}, told"] = told
    return found


def tell(settings: Settings, rule: Any, blur: float) -> Any:
    """A deployed rule with another blur in its model, and what follows from it: a step size that is not learned."""
    operator = problem.forward(settings, blur)
    told = eqx.tree_at(lambda r: r.rule.fidelity.operator, rule, operator)
    if isinstance(rule.rule, FISTA) and eqx.is_array(rule.rule.step_size):
        told = eqx.tree_at(lambda r: r.rule.step_size, told, 1 / operator.norm() ** 2)
    return told


def _middle(scene: problem.Scene, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """A square piece from the middle of what is observed, and of the scene."""
    side = min(BLUR_CROP // settings.scale, *scene.observed.shape)
    top, left = ((length - side) // 2 for length in scene.observed.shape)
    scale = settings.scale
    truth = scene.truth[top * scale : (top + side) * scale, left * scale : (left + side) * scale]
    return scene.observed[top : top + side, left : left + side], truth


def _score(
    rule: DecisionRule, observed: np.ndarray, truth: np.ndarray, names: list[str], settings: Settings
) -> dict[str, Any]:
    decisions = [rule(image) for image in observed]
    return {name: problem.score(settings, d, t) for name, d, t in zip(names, decisions, truth, strict=True)}
