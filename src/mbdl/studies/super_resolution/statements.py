"""What the report says in sentences: the problem, and what its table shows."""

import math
from typing import Any

import numpy as np

from mbdl.studies.study import Run
from mbdl.studies.super_resolution.catalogue import BY_NAME, REFERENCE
from mbdl.studies.super_resolution.problem import chosen
from mbdl.studies.super_resolution.settings import Settings


def paired(first: dict[str, float], second: dict[str, float]) -> dict[str, float | None]:
    """The mean difference of two rules over photographs, and its standard error."""
    differences = np.array([first[name] - second[name] for name in first])
    error = float(np.std(differences, ddof=1) / math.sqrt(len(differences))) if len(differences) > 1 else None
    return {"value": round(float(np.mean(differences)), 4), "error": None if error is None else round(error, 4)}


def findings(scored: dict[str, Any]) -> list[str]:
    """What the table says, in sentences that follow from its numbers."""
    pairs = [
        ("learned-weights", REFERENCE),
        ("unfolded-weights", REFERENCE),
        ("unfolded-prox", REFERENCE),
        ("plug-and-play", REFERENCE),
        ("black-box-equal", REFERENCE),
        ("unfolded-prox", "black-box-equal"),
    ]
    return [_comparison(first, second, scored) for first, second in pairs]


def _comparison(first: str, second: str, scored: dict[str, Any]) -> str:
    found = paired(scored[first]["psnr"], scored[second]["psnr"])
    value, error = found["value"] or 0.0, found["error"]
    verdict = "is better than" if value > 0 else "is worse than"
    if error is not None and abs(value) < 2 * error:
        verdict = "is not clearly apart from"
    margin = f" ± {error:.2f}" if error is not None else ""
    sign = "+" if value >= 0 else "\u2212"
    return f"{BY_NAME[first].title} {verdict} {BY_NAME[second].title}: {sign}{abs(value):.2f}{margin} dB."


def statements(run: Run) -> list[str]:
    """The problem, the data and the choices."""
    settings: Settings = run.settings
    used = {
        split: ", ".join(f"{p.name}{' (JPEG)' if p.jpeg else ''}" for p in chosen(settings, split))
        for split in ("train", "validation", "test")
    }
    part = f" Only the middle {settings.crop}×{settings.crop} pixels at most are used." if settings.crop else ""
    return [
        "The problem: x = downsample(blur(s)) + noise. The blur is Gaussian with a standard deviation of "
        f"{settings.blur:g} pixels, every pixel in {settings.scale} is kept in both directions, and the noise is white "
        f"and Gaussian with a standard deviation of {settings.noise:g} of a range of 1. All three were chosen on the "
        "validation photographs, in short trainings; mbdl run super-resolution-choice compares problems likewise.",
        f"Photographs, in luminance (ITU-R BT.601): training {used['train']}; validation {used['validation']}; test "
        f"{used['test']}. No test photograph was seen by any rule in any form, and of the stereo pair only the left "
        f"image is used. Of those marked JPEG, lossy compression has touched the truth itself.{part}",
        "The operator that simulates is the one that the rules assume: an inverse crime, stated; what happens when "
        "they differ is the curve of the true blur (--curves). The rim of each photograph is seen by the blur only, so "
        "that the observation has real surroundings; the rules do not know them and continue the observation by "
        f"reflection. PSNR and SSIM are of decisions clipped to [0, 1], without {settings.border} pixels at each edge.",
        "All searches and trainings make the same small: \u2212PSNR of a patch of the training photographs. "
        "Searched weights lie on a logarithmic grid, widened until the best value is strictly inside. The validation "
        "photographs chose the problem and, beforehand, the loss, the sizes, the margin and the learning rate of the "
        "networks; in a run they choose the moment of a training that is kept.",
        f"Networks have one budget: {settings.network_steps} steps of {settings.batch} patches of "
        f"{settings.patch}×{settings.patch} pixels, out of {settings.patches}; the denoiser sees the clean patches "
        "only, with noise of its own.",
    ]
