"""The results: tables, curves, spectrum and pictures, from what the stages found."""

from typing import Any

import numpy as np

from mbdl.studies import results as form
from mbdl.studies.study import Run
from mbdl.studies.super_resolution import curves
from mbdl.studies.super_resolution.catalogue import BY_NAME, ENTRIES, REFERENCE, Entry
from mbdl.studies.super_resolution.settings import Settings
from mbdl.studies.super_resolution.statements import findings, paired, statements


def seeds_of(run: Run, entry: Entry) -> int:
    """How many seeds a rule has."""
    return run.settings.seeds if entry.learned else 1


def collect(run: Run) -> dict[str, Any]:
    """The results of a run, in the form of `mbdl.studies.results`."""
    scored = {entry.name: _scored(run, entry) for entry in ENTRIES}
    photographs = list(next(iter(scored.values()))["psnr"])
    found: dict[str, Any] = {
        "title": "Super-resolution of photographs, along the spectrum",
        "evidence": not run.quick,
        "statements": statements(run),
        "findings": [] if run.quick else findings(scored),
        "tables": [
            _rules_table(run, scored),
            _photographs_table("psnr", "PSNR of each photograph", "dB", 2, scored, photographs),
            _photographs_table("ssim", "SSIM of each photograph", "", 4, scored, photographs),
        ],
        "curves": _curves(run, scored) if run.curves else [],
        "spectrum": _spectrum(scored),
        "pictures": _pictures(run, scored),
        "raw": _raw(run, scored),
        "timings": _timings(run),
    }
    return found


def _scored(run: Run, entry: Entry) -> dict[str, Any]:
    """A rule's scores by photograph, averaged over seeds, and by seed."""
    stages = [run[f"score-{entry.name}-{seed}"] for seed in range(seeds_of(run, entry))]
    photographs = list(stages[0]["scores"])
    by_seed = {
        measure: [[stage["scores"][name][measure] for name in photographs] for stage in stages]
        for measure in ("psnr", "ssim")
    }
    return {
        "psnr": dict(zip(photographs, np.mean(by_seed["psnr"], axis=0).tolist(), strict=True)),
        "ssim": dict(zip(photographs, np.mean(by_seed["ssim"], axis=0).tolist(), strict=True)),
        "psnr_by_seed": np.mean(by_seed["psnr"], axis=1).tolist(),
        "learned": stages[0]["learned"],
    }


def _mean(scores: dict[str, float]) -> float:
    return round(float(np.mean(list(scores.values()))), 4)


def _spread(values: list[float]) -> float | None:
    return round(float(np.std(values, ddof=1)), 4) if len(values) > 1 else None


def _rules_table(run: Run, scored: dict[str, Any]) -> dict[str, Any]:
    columns = [
        form.column("psnr", "PSNR", unit="dB", best="max"),
        form.column("ssim", "SSIM", digits=4, best="max"),
        form.column("difference", "PSNR less tuned TV", unit="dB", signed=True),
        form.column("spread", "spread over seeds", unit="dB", digits=3),
        form.column("learned", "learned numbers", digits=0),
        form.column("seconds_per_photograph", "time per photograph", unit="s", digits=2, timing=True),
        form.column("training", "training"),
        form.column("training_seconds", "training time", unit="s", digits=0, timing=True),
    ]
    rows = []
    for entry in ENTRIES:
        found = scored[entry.name]
        same = entry.name == REFERENCE
        rows.append(
            {
                "name": entry.name,
                "title": entry.title,
                "strategy": entry.strategy,
                "cells": {
                    "psnr": _mean(found["psnr"]),
                    "ssim": _mean(found["ssim"]),
                    "difference": None if same else paired(found["psnr"], scored[REFERENCE]["psnr"]),
                    "spread": _spread(found["psnr_by_seed"]),
                    "learned": found["learned"],
                    "training": _training(run, entry),
                },
            }
        )
    count = len(scored[REFERENCE]["psnr"])
    seeds = run.settings.seeds
    caption = (
        f"Means over {count} test photograph{'s' if count != 1 else ''}, of learned rules also over {seeds} "
        f"training seed{'s' if seeds != 1 else ''}. PSNR less tuned TV: the mean of the differences photograph by "
        "photograph ± its standard error over photographs. Spread over seeds: the standard deviation of the mean PSNR. "
        "Training: gradient steps × patches a step, or the values that a search tried. Times: one decision, compiled, "
        "in the mean over the photographs; one training or search, compilation included."
    )
    return form.table(
        "rules", "The rules, from the model's end of the spectrum to the data's", columns, rows, caption=caption
    )


def _training(run: Run, entry: Entry) -> str:
    if entry.name == "bicubic":
        return "none"
    if not entry.learned:
        return f"search: {len(run[f'tune-{entry.name}']['tried'])} weights"
    trained = run[f"train-{'denoiser' if entry.name == 'plug-and-play' else entry.name}-0"]
    text = f"{trained['steps']} × {trained['batch']} patches"
    if entry.name == "plug-and-play":
        return f"{text}, search: {run['tune-plug-and-play-0']['values']} values"
    return text


def _photographs_table(
    measure: str, title: str, unit: str, digits: int, scored: dict[str, Any], photographs: list[str]
) -> dict[str, Any]:
    columns = [form.column(name, name, unit=unit, digits=digits, best="max") for name in photographs]
    rows = [
        {
            "name": entry.name,
            "title": entry.title,
            "strategy": entry.strategy,
            "cells": {name: round(scored[entry.name][measure][name], 5) for name in photographs},
        }
        for entry in ENTRIES
    ]
    return form.table(measure, title, columns, rows, caption="Learned rules in the mean over their training seeds.")


def _spectrum(scored: dict[str, Any]) -> dict[str, Any]:
    points = [
        {
            "name": entry.name,
            "title": entry.title,
            "strategy": entry.strategy,
            "learned": scored[entry.name]["learned"],
            "value": _mean(scored[entry.name]["psnr"]),
            "error": _spread(scored[entry.name]["psnr_by_seed"]),
        }
        for entry in ENTRIES
    ]
    return form.spectrum_plot(
        "Quality against the number of learned numbers",
        {"title": "mean PSNR on the test photographs", "unit": "dB"},
        points,
        caption="Bars: the standard deviation over training seeds, where it is larger than the mark.",
    )


def _pictures(run: Run, scored: dict[str, Any]) -> list[dict[str, Any]]:
    pictures = []
    for name, drawn in run["pictures"].items():
        panels = [{"name": "truth", "title": "truth"}, {"name": "observed", "title": "observed"}]
        for entry in ENTRIES:
            first = run[f"score-{entry.name}-0"]["scores"][name]["psnr"]
            panels.append({"name": entry.name, "title": entry.title, "score": f"{first:.2f} dB"})
        pictures.append(form.picture(name, name, drawn["file"], panels, drawn["details"]))
    return pictures


def _curves(run: Run, scored: dict[str, Any]) -> list[dict[str, Any]]:
    return [_patches_curve(run, scored), _blur_curve(run)]


def _patches_curve(run: Run, scored: dict[str, Any]) -> dict[str, Any]:
    settings: Settings = run.settings
    reference = scored[REFERENCE]["psnr"]
    lines: list[dict[str, Any]] = []
    counts = [*settings.curve_patches, settings.patches]
    for name in curves.PATCH_RULES:
        differences = []
        for count in counts:
            stage = f"score-{name}-0" if count == settings.patches else f"curve-{name}-{count}"
            scores = {photo: values["psnr"] for photo, values in run[stage]["scores"].items()}
            differences.append(paired(scores, reference))
        lines.append(
            {
                "name": name,
                "title": BY_NAME[name].title,
                "strategy": BY_NAME[name].strategy,
                "x": counts,
                "y": [difference["value"] for difference in differences],
                **_errors(differences),
            }
        )
    zero = {"x": [counts[0], counts[-1]], "y": [0.0, 0.0]}
    lines.append({"name": REFERENCE, "title": "FISTA, total variation", "strategy": "model-based", **zero})
    return form.curve(
        "patches",
        "Fewer training patches",
        "Quality against the number of training patches",
        {"title": "training patches", "unit": "", "scale": "log"},
        {"title": "PSNR less tuned TV", "unit": "dB", "scale": "linear"},
        lines,
        caption=(
            f"Mean paired difference over the test photographs ± its standard error; one training seed, "
            f"{settings.network_steps} steps each. The moment of a training that is kept is chosen on the validation "
            "photographs."
        ),
    )


def _errors(differences: list[dict[str, Any]]) -> dict[str, Any]:
    errors = [difference["error"] for difference in differences]
    return {} if None in errors else {"error": errors}


def _blur_curve(run: Run) -> dict[str, Any]:
    settings: Settings = run.settings
    blurs = list(settings.curve_blurs)
    lines = []
    names = [name for base in curves.BLUR_RULES for name in (base, f"{base}, told") if _measured(base, name)]
    for name in names:
        entry = BY_NAME[name.removesuffix(", told")]
        title = f"{entry.title}, told" if name != entry.name else entry.title
        values = []
        for blur in blurs:
            scores = run[f"curve-blur-{blur:g}"][name]
            values.append(_mean({photo: score["psnr"] for photo, score in scores.items()}))
        lines.append({"name": name, "title": title, "strategy": entry.strategy, "x": blurs, "y": values})
    return form.curve(
        "blur",
        "Another blur than the assumed one",
        "Quality when the true blur is not the assumed one",
        {"title": "standard deviation of the true blur", "unit": "pixels", "scale": "linear"},
        {"title": "mean PSNR", "unit": "dB", "scale": "linear"},
        lines,
        caption=(
            f"On the middles ({curves.BLUR_CROP}×{curves.BLUR_CROP} pixels at most) of the test photographs. Each rule "
            f"was tuned or trained for a blur of {settings.blur:g} pixels. “Told”: the same rule with the true blur in "
            "the place of the assumed one in its model, and nothing trained again; a black box has no such place."
        ),
        mark={"x": settings.blur, "title": "assumed"},
    )


def _measured(base: str, name: str) -> bool:
    return name == base or base in curves.TOLD_RULES


def _timings(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for entry in ENTRIES:
        found[entry.name] = {"seconds_per_photograph": run[f"score-{entry.name}-0"]["seconds_per_photograph"]}
        stages = {
            "bicubic": [],
            "plug-and-play": ["train-denoiser-0", "tune-plug-and-play-0"],
        }.get(entry.name, [f"train-{entry.name}-0" if entry.learned else f"tune-{entry.name}"])
        if stages:
            found[entry.name]["training_seconds"] = round(sum(run.seconds(stage) for stage in stages), 1)
    return {"rules": found}


def _raw(run: Run, scored: dict[str, Any]) -> dict[str, Any]:
    raw: dict[str, Any] = {"scores": {}, "searches": {}, "trainings": {}}
    for entry in ENTRIES:
        raw["scores"][entry.name] = {
            str(seed): run[f"score-{entry.name}-{seed}"]["scores"] for seed in range(seeds_of(run, entry))
        }
        for seed in range(seeds_of(run, entry)):
            trained = "denoiser" if entry.name == "plug-and-play" else entry.name
            if entry.learned:
                raw["trainings"][f"{trained}-{seed}"] = run[f"train-{trained}-{seed}"]
    for name in ("total-variation", "wavelets"):
        raw["searches"][name] = run[f"tune-{name}"]
    for seed in range(run.settings.seeds):
        raw["searches"][f"plug-and-play-{seed}"] = run[f"tune-plug-and-play-{seed}"]
    if run.curves:
        raw["curves"] = {
            "patches": {
                name: {str(count): run[f"curve-{name}-{count}"] for count in run.settings.curve_patches}
                for name in curves.PATCH_RULES
            },
            "blur": {f"{blur:g}": run[f"curve-blur-{blur:g}"] for blur in run.settings.curve_blurs},
        }
    raw["photographs"] = run["photographs"]
    raw["mean_psnr"] = {name: _mean(found["psnr"]) for name, found in scored.items()}
    return raw
