"""The stages of the study, in order."""

from functools import partial
from typing import Any

from mbdl import data
from mbdl.studies.study import Run, Stage, Study
from mbdl.studies.super_resolution import curves, learning, scoring, tuning
from mbdl.studies.super_resolution.catalogue import ENTRIES
from mbdl.studies.super_resolution.collect import collect
from mbdl.studies.super_resolution.problem import chosen
from mbdl.studies.super_resolution.settings import QUICK, Settings

TRAINED = ("learned-weights", "unfolded-weights", "unfolded-prox", "denoiser", "black-box-small", "black-box-equal")
TITLES = {entry.name: entry.title for entry in ENTRIES} | {"denoiser": "denoiser"}
COSTS = {
    "learned-weights": 25,
    "unfolded-weights": 20,
    "unfolded-prox": 90,
    "denoiser": 60,
    "black-box-small": 30,
    "black-box-equal": 80,
}


def stages(run: Run) -> list[Stage]:
    """What is to be done: searches, trainings, scores, and the curves if they are asked for."""
    settings: Settings = run.settings
    scale = settings.network_steps / 2000
    listed = [
        Stage("photographs", "reading the photographs", read_photographs),
        Stage("bicubic", "bicubic interpolation", scoring.save_bicubic),
        Stage("tune-wavelets", "FISTA, wavelets: searching the weight", tuning.tune_wavelets, 30),
        Stage("tune-total-variation", "FISTA, total variation: searching the weight", tuning.tune_total_variation, 60),
    ]
    for seed in range(settings.seeds):
        for name in TRAINED:
            stage = f"train-{name}-{seed}"
            title = f"{TITLES[name]}: training, seed {seed + 1} of {settings.seeds}"
            action = partial(learning.train, stage=stage, name=name, seed=seed)
            listed.append(Stage(stage, title, action, COSTS[name] * scale))
        title = f"{TITLES['plug-and-play']}: searching penalty and noise level, seed {seed + 1} of {settings.seeds}"
        listed.append(
            Stage(
                f"tune-plug-and-play-{seed}",
                title,
                partial(tuning.tune_plug_and_play, seed=seed),
                150 if seed == 0 else 60,
            )
        )
    for entry in ENTRIES:
        for seed in range(settings.seeds if entry.learned else 1):
            title = f"{entry.title}: scoring{f', seed {seed + 1} of {settings.seeds}' if entry.learned else ''}"
            action = partial(scoring.score_rule, name=entry.name, seed=seed)
            listed.append(Stage(f"score-{entry.name}-{seed}", title, action, 8))
    listed.append(Stage("pictures", "putting the pictures together", scoring.draw_pictures, 2))
    return listed + (_curve_stages(settings, scale) if run.curves else [])


def _curve_stages(settings: Settings, scale: float) -> list[Stage]:
    listed = []
    for count in settings.curve_patches:
        for name in curves.PATCH_RULES:
            stage = f"curve-{name}-{count}"
            action = partial(curves.train_on_few, stage=stage, name=name, patches=count)
            title = f"{TITLES[name]}: training on {count} patches"
            listed.append(Stage(stage, title, action, COSTS[name] * scale))
    for blur in settings.curve_blurs:
        action = partial(curves.score_under_blur, blur=blur)
        listed.append(Stage(f"curve-blur-{blur:g}", f"scoring under a true blur of {blur:g} pixels", action, 25))
    return listed


def read_photographs(run: Run) -> dict[str, Any]:
    """What the photographs are: file, size, whether it is a JPEG, and a digest of the luminance."""
    found = {}
    for split in ("train", "validation", "test"):
        for photograph in chosen(run.settings, split):
            image = photograph.luminance()
            found[photograph.name] = {
                "split": split,
                "package": photograph.package,
                "file": photograph.file,
                "jpeg": photograph.jpeg,
                "height": image.shape[0],
                "width": image.shape[1],
                "digest": data.fingerprint(image),
            }
    return found


STUDY = Study(
    name="super-resolution",
    summary="super-resolution of photographs: interpolation, optimisation, unfolding, plug-and-play, a black box",
    settings=Settings,
    quick=QUICK,
    stages=stages,
    results=collect,
)
