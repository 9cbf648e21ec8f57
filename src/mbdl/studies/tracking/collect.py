"""The results of a tracking study: tables, curves, the spectrum and trajectories, from what the stages found."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mbdl.studies import results as form
from mbdl.studies.study import Run
from mbdl.studies.tracking.case import Case, decibels, gain_in_decibels
from mbdl.studies.tracking.catalogue import BY_NAME, ENTRIES, Entry, entries
from mbdl.studies.tracking.finding import rule_name
from mbdl.studies.tracking.stages import Curve, seeds_of, shown

REFERENCE = (
    "published",
    "Published figures of the same settings, on other draws of the trajectories. Training budgets differ: see the "
    "settings of this run.",
)
"""What the figures are that the cases bring with them: a word, and what one has to know of them."""


def collect(
    run: Run,
    title: str,
    statements: list[str],
    cases: Sequence[Case],
    *,
    components: Sequence[str],
    curve: Curve | None = None,
    spectrum: Case | None = None,
    reference: tuple[str, str] = REFERENCE,
) -> dict[str, Any]:
    """The results of a run, in the form of `mbdl.studies.results`.

    Args:
        run: the run, with all stages finished.
        title: a heading.
        statements: sentences about the problem, the data and the choices.
        cases: the conditions.
        components: the names of the components of the state that are drawn.
        curve: the curve of errors by training trajectories, which is drawn where it was asked for.
        spectrum: the condition in which the spectrum is drawn; by default that of the curve.
        reference: what the `published` figures of the cases are, in a word and in sentences.
    """
    scored = {case.name: {entry.name: _scored(run, case, entry) for entry in entries(case)} for case in cases}
    return {
        "title": title,
        "evidence": not run.quick,
        "statements": statements,
        "findings": [] if run.quick else findings(cases, scored),
        "tables": [_errors_table(run, cases, scored), *_published_table(cases, scored, *reference)],
        "curves": [
            *_level_curves(cases, scored),
            *_samples_curve(cases, scored),
            *([_data_curve(run, curve, scored)] if run.curves and curve is not None else []),
        ],
        "spectrum": _spectrum(spectrum or (cases[0] if curve is None else curve.case), scored),
        "pictures": [],
        "trajectories": [_trajectory(run, case, components) for case in cases if case.drawn],
        "raw": {
            "errors": {
                case.name: {name: found["errors_by_seed"] for name, found in scored[case.name].items()}
                for case in cases
            },
            "found": {
                rule_name(case, entry, seed): run[f"find-{rule_name(case, entry, seed)}"]
                for case in cases
                for entry in entries(case)
                for seed in range(seeds_of(run, case, entry))
            },
        },
        "timings": {"rules": _timings(run, cases)},
    }


def _scored(run: Run, case: Case, entry: Entry) -> dict[str, Any]:
    """A rule's error by trajectory, in the mean over seeds, and by seed."""
    found = [run[f"score-{rule_name(case, entry, seed)}"] for seed in range(seeds_of(run, case, entry))]
    by_seed = np.asarray([one["errors"] for one in found])
    means = 10 * np.log10(by_seed.mean(1))
    return {
        "errors": by_seed.mean(0),
        "errors_by_seed": by_seed.tolist(),
        "spread": round(float(np.std(means, ddof=1)), 4) if len(found) > 1 else None,
        "learned": found[0]["learned"],
    }


def _errors_table(run: Run, cases: Sequence[Case], scored: dict[str, Any]) -> dict[str, Any]:
    columns = [form.column(case.name, case.title, unit="dB") for case in cases]
    columns.append(form.column("spread", "largest spread over seeds", unit="dB", digits=2))
    columns.append(form.column("learned", "learned numbers", digits=0))
    columns.append(form.column("microseconds_per_step", "time a step", unit="µs", digits=1, timing=True))
    rows = []
    for entry in ENTRIES:
        inside = [case for case in cases if entry.name in scored[case.name]]
        if not inside:
            continue
        found = {case.name: scored[case.name][entry.name] for case in inside}
        cells: dict[str, Any] = {name: decibels(one["errors"]) for name, one in found.items()}
        spreads = [one["spread"] for one in found.values() if one["spread"] is not None]
        cells["spread"] = max(spreads) if spreads else None
        cells["learned"] = max(one["learned"] for one in found.values())
        rows.append({"name": entry.name, "title": entry.title, "strategy": entry.strategy, "cells": cells})
    settings = run.settings
    caption = (
        f"Squared error of the estimates, in the mean over time and components of {settings.test_runs} test "
        "trajectories, in dB ± its standard error over trajectories; of learned rules also in the mean over seeds, "
        "where there are several. Lower is better. The rules above the first smoother decide at each time from the "
        "observations so far, those below it from the whole trajectory. Tuned: a factor on the process noise, searched "
        "on training trajectories. Learned numbers: the most in any column. Time: one step of one trajectory, compiled."
    )
    return form.table(
        "rules", "Errors, from the model's end of the spectrum to the data's", columns, rows, caption=caption
    )


def _published_table(cases: Sequence[Case], scored: dict[str, Any], word: str, caption: str) -> list[dict[str, Any]]:
    columns = [
        form.column("published", word, unit="dB"),
        form.column("measured", "measured here", unit="dB"),
        form.column("difference", f"measured less {word}", unit="dB", signed=True),
    ]
    rows = []
    for case in cases:
        for name, published in case.published.items():
            found = scored[case.name].get(name)
            if found is None:
                continue
            measured = decibels(found["errors"])
            cells = {
                "published": published,
                "measured": measured,
                "difference": round(measured["value"] - published, 4),
            }
            entry = BY_NAME[name]
            title = f"{case.title}: {entry.title}"
            rows.append({"name": f"{case.name}-{name}", "title": title, "strategy": entry.strategy, "cells": cells})
    if not rows:
        return []
    return [form.table("published", f"{word.capitalize()}, and measured here", columns, rows, caption=caption)]


def findings(cases: Sequence[Case], scored: dict[str, Any]) -> list[str]:
    """What the table says, pair by pair, each difference with its standard error."""
    pairs = (
        ("kalmannet", "filter-true"),
        ("kalmannet", "filter"),
        ("kalmannet", "filter-tuned"),
        ("kalmannet", "filter-model"),
        ("kalmannet", "filter-identified"),
        ("kalmannet", "recurrent"),
        ("kalmannet-split", "kalmannet"),
        ("kalmannet", "kalmannet-constant"),
        ("kalmannet-magnitude", "kalmannet"),
        ("rtsnet", "kalmannet"),
        ("rtsnet", "smoother-tuned"),
        ("rtsnet-2", "rtsnet"),
        ("augmented", "smoother-tuned"),
        ("augmented", "messages"),
        ("augmented", "graph"),
        ("augmented", "rtsnet"),
        ("augmented", "smoother-noise"),
        ("augmented", "smoother-model"),
        ("graph", "smoother-tuned"),
        ("smoother-noise", "smoother-tuned"),
        ("rtsnet", "smoother-noise"),
    )
    said = []
    for case in cases:
        found = scored[case.name]
        for better, worse in pairs:
            if better in found and worse in found:
                said.append(f"{case.title}. " + _comparison(better, worse, found))
    return said


def _comparison(first: str, second: str, found: dict[str, Any]) -> str:
    gain = gain_in_decibels(found[first]["errors"], found[second]["errors"])
    value, error = gain["value"], gain["error"]
    verdict = "is better than" if value > 0 else "is worse than"
    if abs(value) <= max(2 * error, 0.005):  # what is shown as zero is no difference
        verdict = "is not clearly apart from"
    return f"{BY_NAME[first].title} {verdict} {BY_NAME[second].title}: {abs(value):.2f} ± {error:.2f} dB."


def _level_curves(cases: Sequence[Case], scored: dict[str, Any]) -> list[dict[str, Any]]:
    """Errors by noise level, of the filters and of the smoothers that are compared at all levels; nothing where there
    is one level."""
    found = [(case.level, case) for case in cases if case.level is not None]
    found.sort(key=lambda pair: pair[0])
    if len(found) < 2:
        return []
    return [
        form.curve(
            f"levels-{kind}",
            f"Noise levels: {kind}",
            f"{kind.capitalize()}: error over the observation noise, by its level ({found[0][1].title.split(',')[0]})",
            {"title": "1/r²", "unit": "dB", "scale": "linear"},
            {"title": "squared error over r²", "unit": "dB", "scale": "linear"},
            [
                _by_level(entry, found, scored)
                for entry in ENTRIES
                if entry.smooths == smooths and all(entry.name in case.rules for _, case in found)
            ],
            caption="The figures of the table, times 1/r²: a rule whose error falls as the noise does is a level line, "
            "and one that its wrong model holds up rises.",
        )
        for kind, smooths in (("filters", False), ("smoothers", True))
    ]


def _samples_curve(cases: Sequence[Case], scored: dict[str, Any]) -> list[dict[str, Any]]:
    """Errors by the number of samples that the rules are found on; nothing where there is one number."""
    found = [(case.samples_known, case) for case in cases if case.samples_known is not None]
    found.sort(key=lambda pair: pair[0])
    if len(found) < 2:
        return []
    counts = [count for count, _ in found]
    return [
        form.curve(
            "samples",
            "Samples",
            "Error against the number of samples that a rule is found on",
            {"title": "samples, half of them for validation", "unit": "", "scale": "log"},
            {"title": "squared error", "unit": "dB", "scale": "linear"},
            [
                _line(entry, counts, [decibels(scored[case.name][entry.name]["errors"]) for _, case in found])
                for entry in ENTRIES
                if all(entry.name in case.rules for case in cases)
            ],
            caption="The figures of the table. The test trajectories are the same for all numbers of samples, and the "
            "standard error is that over them.",
        )
    ]


def _by_level(entry: Entry, found: list[tuple[float, Case]], scored: dict[str, Any]) -> dict[str, Any]:
    errors = [(level, decibels(scored[case.name][entry.name]["errors"])) for level, case in found]
    relative = [{**error, "value": error["value"] + level} for level, error in errors]
    return _line(entry, [level for level, _ in found], relative)


def _data_curve(run: Run, curve: Curve, scored: dict[str, Any]) -> dict[str, Any]:
    counts = [*run.settings.curve_runs, run.settings.train_runs]
    lines = []
    for entry in curve.entries:
        errors = [np.asarray(run[curve.name(entry, runs)]["errors"]) for runs in counts[:-1]]
        points = [
            decibels(one) for one in [*errors, np.asarray(scored[curve.case.name][entry.name]["errors_by_seed"][0])]
        ]
        lines.append(_line(entry, counts, points))
    for name in ("filter", "filter-tuned", "filter-true"):
        if name in scored[curve.case.name]:
            level = decibels(scored[curve.case.name][name]["errors"])["value"]
            entry = BY_NAME[name]
            lines.append(
                {
                    "name": name,
                    "title": entry.title,
                    "strategy": entry.strategy,
                    "x": [counts[0], counts[-1]],
                    "y": [level, level],
                }
            )
    return form.curve(
        "trajectories",
        "Fewer training trajectories",
        f"Error against the number of training trajectories ({curve.case.title})",
        {"title": "training trajectories", "unit": "", "scale": "log"},
        {"title": "squared error", "unit": "dB", "scale": "linear"},
        lines,
        caption="One training seed; the standard error is that over the test trajectories.",
    )


def _line(entry: Entry, counts: Sequence[float], points: list[dict[str, float]]) -> dict[str, Any]:
    return {
        "name": entry.name,
        "title": entry.title,
        "strategy": entry.strategy,
        "x": list(counts),
        "y": [point["value"] for point in points],
        "error": [point["error"] for point in points],
    }


def _spectrum(case: Case, scored: dict[str, Any]) -> dict[str, Any]:
    points = []
    for name, found in scored[case.name].items():
        level, entry = decibels(found["errors"]), BY_NAME[name]
        points.append(
            {
                "name": name,
                "title": entry.title,
                "strategy": entry.strategy,
                "learned": found["learned"],
                "value": level["value"],
                "error": level["error"],
            }
        )
    return form.spectrum_plot(
        f"Error against the number of learned numbers ({case.title})", {"title": "squared error", "unit": "dB"}, points
    )


def _trajectory(run: Run, case: Case, components: Sequence[str]) -> dict[str, Any]:
    lines: list[dict[str, Any]] = [{"name": "truth", "title": "truth"}]
    with np.load(run.folder.path / run[f"trajectory-{case.name}"]["file"]) as stored:
        if "observed" in stored.files:
            lines.append({"name": "observed", "title": "observed", "points": True})
    for entry in shown(case):
        lines.append({"name": entry.name, "title": entry.title, "strategy": entry.strategy})
    return form.trajectory(
        case.name,
        f"A test trajectory: {case.title}",
        run[f"trajectory-{case.name}"]["file"],
        components,
        lines,
        caption="The first test trajectory, and its estimates; the truth is drawn behind them.",
    )


def _timings(run: Run, cases: Sequence[Case]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for case in cases:
        for entry in entries(case):
            stage = run[f"score-{rule_name(case, entry, 0)}"]
            found.setdefault(entry.name, {"microseconds_per_step": stage["microseconds_per_step"]})
    return found
