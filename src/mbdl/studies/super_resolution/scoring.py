"""Scores on the test photographs, and the pictures."""

import time
from typing import Any

import numpy as np

from mbdl.inverse import Bicubic
from mbdl.studies.study import Run
from mbdl.studies.super_resolution import problem, rules
from mbdl.studies.super_resolution.catalogue import ENTRIES
from mbdl.studies.super_resolution.tuning import rule_name


def save_bicubic(run: Run) -> dict[str, Any]:
    """Bicubic interpolation has nothing to tune."""
    run.save_rule("bicubic", Bicubic(run.settings.scale))
    return {}


def score_rule(run: Run, name: str, seed: int) -> dict[str, Any]:
    """PSNR and SSIM of a rule on each test photograph, its counts, and the time of a decision.

    The decisions of the first seed are kept for the pictures.
    """
    rule = run.load_rule(rule_name(name, seed))
    scores, seconds = {}, []
    for scene in problem.scenes(run, "test"):
        decision = np.asarray(rule(scene.observed))
        begin = time.perf_counter()
        rule(scene.observed).block_until_ready()
        seconds.append(time.perf_counter() - begin)
        scores[scene.name] = problem.score(run.settings, decision, scene.truth)
        if seed == 0:
            run.save_arrays(f"decisions/{name}-{scene.name}", decision=_eight_bits(decision))
    return {
        "scores": scores,
        "learned": rules.learned_numbers(rule),
        "seconds_per_photograph": float(np.mean(seconds)),
    }


def draw_pictures(run: Run) -> dict[str, Any]:
    """Puts the decisions of each test photograph together, with the details that are shown enlarged."""
    pictures = {}
    for scene in problem.scenes(run, "test"):
        arrays = {"truth": _eight_bits(scene.truth), "observed": _eight_bits(scene.observed)}
        for entry in ENTRIES:
            path = run.folder.path / "pictures" / "decisions" / f"{entry.name}-{scene.name}.npz"
            with np.load(path) as stored:
                arrays[entry.name] = stored["decision"]
        file = run.save_arrays(scene.name, **arrays)
        pictures[scene.name] = {"file": str(file), "details": details(scene)}
    return pictures


DETAILS = {
    "camera": ((0.20, 0.43), (0.36, 0.58)),
    "coffee": ((0.62, 0.55), (0.15, 0.64)),
    "rocket": ((0.38, 0.45), (0.55, 0.66)),
    "motorcycle": ((0.50, 0.50), (0.36, 0.53)),
}
"""Where details begin, as fractions of height and width."""


def details(scene: problem.Scene, size: int = 64) -> list[dict[str, int]]:
    """The details of a photograph that are shown enlarged, in its own pixels."""
    height, width = scene.truth.shape
    size = min(size, height // 3, width // 3)
    size -= size % 4
    places = DETAILS.get(scene.name, ((0.2, 0.2), (0.5, 0.5)))
    found = []
    for row, column in places:
        top, left = int(row * height), int(column * width)
        top, left = min(top, height - size), min(left, width - size)
        found.append({"row": top - top % 4, "column": left - left % 4, "size": size})
    return found


def _eight_bits(image: Any) -> np.ndarray:
    return np.round(np.clip(np.asarray(image), 0.0, 1.0) * 255).astype(np.uint8)
