"""How the problem was chosen: where, on the validation photographs, is there something to gain?"""

from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

from mbdl.inverse import Bicubic
from mbdl.studies import results as form
from mbdl.studies.search import log_search
from mbdl.studies.settings import setting
from mbdl.studies.study import Run, Stage, Study
from mbdl.studies.super_resolution import learning, problem, rules, tuning
from mbdl.studies.super_resolution.settings import Settings
from mbdl.studies.super_resolution.statements import paired


@dataclass(frozen=True)
class ChoiceSettings(Settings):
    """The problems that are compared, and smaller budgets than those of the study."""

    scales: tuple[int, ...] = setting((2, 3), "scales that are compared")
    blurs: tuple[float, ...] = setting((0.8, 1.2), "blurs that are compared, pixels")
    noises: tuple[float, ...] = setting((0.015, 0.04), "noises that are compared")
    crop: int = setting(240, "largest side of the middle of a photograph that is used; 0 for all of it")
    border: int = setting(6, "pixels at each edge that are not scored")
    patch: int = setting(48, "side of a training patch")
    network_steps: int = setting(1000, "training steps of each network")


COMPARED = ("unfolded-prox", "black-box-equal")


def stages(run: Run) -> list[Stage]:
    """One stage a problem."""
    return [
        Stage(
            _name(*point), f"scale {point[0]}, blur {point[1]:g}, noise {point[2]:g}", partial(_look, point=point), 100
        )
        for point in _points(run)
    ]


def _points(run: Run) -> list[tuple[int, float, float]]:
    return list(product(run.settings.scales, run.settings.blurs, run.settings.noises))


def _name(scale: int, blur: float, noise: float) -> str:
    return f"scale-{scale}-blur-{blur:g}-noise-{noise:g}"


def _look(run: Run, point: tuple[int, float, float]) -> dict[str, Any]:
    """Bicubic, tuned total variation, an unfolded rule and a black box, scored on the validation photographs."""
    scale, blur, noise = point
    aside = replace(run, settings=replace(run.settings, scale=scale, blur=blur, noise=noise), memory={})
    settings = aside.settings
    operator = problem.forward(settings)
    found = log_search(
        lambda weight: tuning.training_score(aside, rules.total_variation(settings, operator, weight)), 0.2 * noise
    )
    compared: dict[str, Any] = {
        "bicubic": Bicubic(scale),
        "total-variation": rules.deployed(settings, rules.total_variation(settings, operator, found.best)),
    }
    for name in COMPARED:
        stage = f"{_name(*point)}-{name}"
        learning.train(aside, stage, name, 0, settings.patches)
        compared[name] = run.load_rule(stage)
    scenes = problem.scenes(aside, "validation")
    scores = {
        name: {scene.name: problem.score(settings, rule(scene.observed), scene.truth)["psnr"] for scene in scenes}
        for name, rule in compared.items()
    }
    return {"weight": found.best, "scores": scores}


def results(run: Run) -> dict[str, Any]:
    """One row a problem, with what the learned rules gain over tuned total variation."""
    rows = []
    for point in _points(run):
        scores = run[_name(*point)]["scores"]
        cells = {name: sum(values.values()) / len(values) for name, values in scores.items()}
        cells |= {f"{name} gain": paired(scores[name], scores["total-variation"])["value"] for name in COMPARED}
        title = f"scale {point[0]}, blur {point[1]:g}, noise {point[2]:g}"
        rows.append({"name": _name(*point), "title": title, "cells": cells})
    columns = [
        form.column("bicubic", "bicubic", unit="dB"),
        form.column("total-variation", "tuned TV", unit="dB"),
        form.column("unfolded-prox", "unfolded", unit="dB"),
        form.column("black-box-equal", "black box", unit="dB"),
        form.column("unfolded-prox gain", "unfolded less TV", unit="dB", signed=True, best="max"),
        form.column("black-box-equal gain", "black box less TV", unit="dB", signed=True),
    ]
    caption = "Mean PSNR on the middles of the validation photographs. Tuned and trained on the training photographs."
    table = form.table("problems", "What is there to gain?", columns, rows, caption=caption)
    return {
        "title": "The choice of a problem of super-resolution",
        "evidence": not run.quick,
        "statements": [
            "Scale, blur and noise of the study are chosen where a learned rule gains on tuned total variation, on the "
            "validation photographs, with small budgets. No test photograph is read."
        ],
        "findings": [],
        "tables": [{**table, "row_title": "problem"}],
        "curves": [],
        "spectrum": None,
        "pictures": [],
        "raw": {_name(*point): run[_name(*point)] for point in _points(run)},
    }


STUDY = Study(
    name="super-resolution-choice",
    summary="how the problem of super-resolution was chosen: what is there to gain, on the validation photographs",
    settings=ChoiceSettings,
    quick={
        "photographs": 1,
        "scales": (2,),
        "blurs": (0.7,),
        "noises": (0.01, 0.04),
        "crop": 96,
        "tv_iterations": 20,
        "patches": 64,
        "network_steps": 20,
    },
    stages=stages,
    results=results,
)
