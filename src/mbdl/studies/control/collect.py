"""The results of a study of control: tables, curves of training, the spectrum and runs, from what the stages found."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mbdl.studies import results as form
from mbdl.studies.control.curves import Curve
from mbdl.studies.control.measures import cost_axis, difference, shown
from mbdl.studies.control.problem import Drawn, Entry, Evaluation, Problem
from mbdl.studies.control.training import rule_name
from mbdl.studies.study import Run


def collect(
    run: Run, title: str, statements: list[str], problems: Sequence[Problem], curves: Sequence[Curve] = ()
) -> dict[str, Any]:
    """The results of a run, in the form of `mbdl.studies.results`."""
    scored = {
        problem.name: {
            e.name: [run[f"score-{rule_name(problem, e, time)}"] for time in problem.times(e)] for e in problem.entries
        }
        for problem in problems
    }
    tables = [_table(run, problem, scored[problem.name]) for problem in problems]
    return {
        "title": title,
        "evidence": not run.quick,
        "statements": statements,
        "findings": [] if run.quick else [line for p in problems for line in _findings(p, scored[p.name])],
        "tables": [*tables, *_published(problems, scored), *_published_steps(run, problems)],
        "curves": [
            *(curve for problem in problems for curve in _training_curve(run, problem)),
            *(curve.collect(run, _named(problems, curve.problem)) for curve in (curves if run.curves else ())),
        ],
        "spectrum": _spectrum(problems[0], scored[problems[0].name]),
        "pictures": [],
        "trajectories": [_trajectory(run, problem, drawn) for problem in problems for drawn in problem.drawn],
        "raw": {
            "scores": {
                problem.name: {
                    f"{entry.name}{f'-{time}' if time else ''}": _without_time(scored[problem.name][entry.name][time])
                    for entry in problem.entries
                    for time in problem.times(entry)
                }
                for problem in problems
            },
            "found": {
                rule_name(problem, entry, time): run[f"find-{rule_name(problem, entry, time)}"]
                for problem in problems
                for entry in problem.entries
                for time in problem.times(entry)
            },
            "foresight": {p.name: run[f"bound-{p.name}"] for p in problems if p.foresight is not None},
        },
        "timings": {"rules": _timings(run, problems, scored)},
    }


def _named(problems: Sequence[Problem], name: str) -> Problem:
    return next(problem for problem in problems if problem.name == name)


Found = Sequence[dict[str, Any]]
"""What the scoring of a policy found, after each of its trainings."""


def costs_of(found: Found, evaluation: Evaluation) -> np.ndarray:
    """The cost of each run, the mean over the trainings; NaN where it diverged."""
    costs = [[np.nan if cost is None else cost for cost in once[evaluation.name]["costs"]] for once in found]
    return np.mean(costs, axis=0)


def _diverged(found: Found, problem: Problem) -> int:
    return sum(cost is None for once in found for e in problem.evaluations for cost in once[e.name]["costs"])


def _after_each(problem: Problem, found: Found, evaluation: Evaluation) -> list[float]:
    """The cost after each training."""
    return [shown(problem, costs_of([once], evaluation))["value"] for once in found]


def _table(run: Run, problem: Problem, scored: dict[str, Any]) -> dict[str, Any]:
    digits, columns = problem.digits, []
    for evaluation in problem.evaluations:
        columns.append(form.column(evaluation.name, evaluation.title, unit=problem.unit, digits=digits))
        versus = f"less {problem.entry(problem.reference).title}, same noise"
        columns.append(form.column(f"{evaluation.name}-less", versus, unit=problem.unit, digits=digits, signed=True))
        if problem.trainings > 1:
            spread = f"spread over {problem.trainings} trainings"
            columns.append(form.column(f"{evaluation.name}-spread", spread, unit=problem.unit, digits=digits))
    columns.append(form.column("diverged", "runs that diverged", digits=0))
    if problem.constraints is not None:
        columns.append(form.column("violation", "largest violation", digits=6))
    columns.append(form.column("learned", "learned numbers", digits=0))
    columns.append(form.column("steps", "training steps", digits=0))
    columns.append(form.column("kept", "step that is kept", digits=0))
    columns.append(form.column("training_seconds", "training", unit="s", digits=1, timing=True))
    columns.append(form.column("microseconds", "time a decision", unit="µs", digits=1, timing=True))
    rows = []
    for entry in problem.entries:
        found, cells = scored[entry.name], {}
        for evaluation in problem.evaluations:
            costs = costs_of(found, evaluation)
            if not np.all(np.isfinite(costs)):
                continue
            cells[evaluation.name] = shown(problem, costs)
            if entry.name != problem.reference:
                reference = costs_of(scored[problem.reference], evaluation)
                cells[f"{evaluation.name}-less"] = difference(problem, costs, reference)
            if len(found) > 1:
                spread = np.std(_after_each(problem, found, evaluation), ddof=1)
                cells[f"{evaluation.name}-spread"] = float(f"{spread:.3g}")
        cells["diverged"] = _diverged(found, problem)
        if problem.constraints is not None:
            cells["violation"] = max(once[e.name]["violation"] for once in found for e in problem.evaluations)
        cells["learned"] = found[0]["learned"]
        if entry.training is not None:
            trained = run[f"find-{rule_name(problem, entry)}"]
            cells |= {"steps": trained["steps"], "kept": trained["kept_step"]}
        rows.append(
            {"name": rule_name(problem, entry), "title": entry.title, "strategy": entry.strategy, "cells": cells}
        )
    for name, cells in _bounds(problem).items():
        rows.append({"name": f"bound-{name}", "title": name, "strategy": "model-based", "cells": cells})
    if problem.foresight is not None:
        cells = _foreseen(run, problem, scored)
        rows.append({"name": "foresight", "title": "lower bound, foresight", "strategy": "model-based", "cells": cells})
    caption = (
        "Mean cost of a stage ± its standard error over runs; all policies meet the same noise, and the differences "
        "are of the same runs. Kept is the step that costs least on other runs. Training: from the first policy to "
        "the last step, with compilation and with the looks at those other runs. Time a decision: one of many runs "
        "side by side."
    )
    if problem.trainings > 1:
        caption += (
            f" What is trained is trained {problem.trainings} times, with random keys of its own; the cost is the "
            "mean, and the spread is the standard deviation of the cost after each. Steps and times are of the first."
        )
    return form.table(problem.name, problem.title, columns, rows, caption=caption)


def _bounds(problem: Problem) -> dict[str, dict[str, float]]:
    names = {name: {} for bounds in problem.bounds.values() for name in bounds}
    for evaluation, bounds in problem.bounds.items():
        for name, value in bounds.items():
            names[name][evaluation] = float(f"{value:.6g}")
    return names


def _foreseen(run: Run, problem: Problem, scored: dict[str, Any]) -> dict[str, Any]:
    """The mean of what the runs cost at least, and how far that is from the reference."""
    cells: dict[str, Any] = {}
    for evaluation in problem.evaluations:
        least = np.asarray(run[f"bound-{problem.name}"][evaluation.name])
        reference = costs_of(scored[problem.reference], evaluation)
        cells[evaluation.name] = shown(problem, least)
        cells[f"{evaluation.name}-less"] = difference(problem, least, reference)
    return cells


def _published(problems: Sequence[Problem], scored: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for problem in problems:
        for evaluation in problem.evaluations:
            for name, published in problem.published.get(evaluation.name, {}).items():
                bound = problem.bounds.get(evaluation.name, {}).get(name)
                measured: Any = bound
                if bound is None:
                    measured = shown(problem, costs_of(scored[problem.name][name], evaluation))
                title = name if bound is not None else problem.entry(name).title
                value = measured["value"] if isinstance(measured, dict) else measured
                cells = {"published": published, "measured": measured, "difference": float(f"{value - published:.6g}")}
                strategy = "model-based" if bound is not None else problem.entry(name).strategy
                row_name = f"{problem.name}-{evaluation.name}-{name}"
                title = f"{problem.title}, {evaluation.title}: {title}"
                rows.append({"name": row_name, "title": title, "strategy": strategy, "cells": cells})
    if not rows:
        return []
    caption = "Published costs of the same settings, on other draws of the noise and often on few runs."
    return [form.table("published", "Published, and measured here", _beside(4), rows, caption=caption)]


def _beside(digits: int) -> list[dict[str, Any]]:
    """The columns of what is published, what is measured, and how they differ."""
    return [
        form.column("published", "published", digits=digits),
        form.column("measured", "measured here", digits=digits),
        form.column("difference", "measured less published", digits=digits, signed=True),
    ]


def _published_steps(run: Run, problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """The cost after so many steps of a training, where it is published."""
    rows = []
    for problem in problems:
        for entry in problem.entries:
            if entry.training is None or not entry.training.published:
                continue
            found = run[f"find-{rule_name(problem, entry)}"]
            reference = run[f"reference-{problem.name}"]["cost"]
            risk = dict(zip(found["validation_steps"], found["validation_risk"], strict=True))
            for step, published in entry.training.published.items():
                if step in risk:
                    measured = float(f"{risk[step] - reference:.6g}")
                    cells = {
                        "published": published,
                        "measured": measured,
                        "difference": float(f"{measured - published:.6g}"),
                    }
                    title = f"{problem.title}: {entry.title}, after {step} step{'' if step == 1 else 's'}"
                    name = f"{problem.name}-{entry.name}-{step}"
                    rows.append({"name": name, "title": title, "strategy": entry.strategy, "cells": cells})
    if not rows:
        return []
    caption = (
        "Cost of a stage less that of the policy to which differences are taken, on the same runs: those that choose "
        "the step that is kept here, a few as published."
    )
    return [form.table("published-steps", "Training, step by step", _beside(3), rows, caption=caption)]


def _findings(problem: Problem, scored: dict[str, Any]) -> list[str]:
    """What the table says: each policy against the reference, on the first evaluation."""
    said, evaluation = [], problem.evaluations[-1]
    reference = costs_of(scored[problem.reference], evaluation)
    for entry in problem.entries:
        costs = costs_of(scored[entry.name], evaluation)
        if entry.name == problem.reference or not np.all(np.isfinite(costs)):
            continue
        gain = difference(problem, costs, reference)
        verdict = "costs less than" if gain["value"] < 0 else "costs more than"
        if abs(gain["value"]) <= 2 * gain["error"]:
            verdict = "is not clearly apart from"
        size = f"{abs(gain['value']):.4g} ± {gain['error']:.2g}"
        if problem.unit == "dB":
            size += " dB"
        else:
            size += f", {100 * abs(gain['value'] / np.mean(reference)):.1f} %"
        versus = problem.entry(problem.reference).title
        if len(scored[entry.name]) > 1:
            each = ", ".join(f"{cost:.4g}" for cost in _after_each(problem, scored[entry.name], evaluation))
            size += f"; its cost after each training {each}"
        said.append(f"{problem.title}, {evaluation.title}. {entry.title} {verdict} {versus}: {size}.")
    return said


def _training_curve(run: Run, problem: Problem) -> list[dict[str, Any]]:
    lines = []
    for entry in problem.entries:
        found = run[f"find-{rule_name(problem, entry)}"]
        if not found or found["objective"] != "cost of the closed loop":
            continue
        lines.append(
            {
                "name": entry.name,
                "title": entry.title,
                "strategy": entry.strategy,
                "x": found["validation_steps"],
                "y": found["validation_risk"],
            }
        )
    if not lines:
        return []
    return [
        form.curve(
            f"training-{problem.name}",
            "Training",
            f"Cost of validation runs during training ({problem.title})",
            {"title": "training step", "unit": "", "scale": "linear"},
            cost_axis(lines),
            lines,
            caption="The same noise at every step of training and for every policy; it is not that of the tests.",
        )
    ]


def _spectrum(problem: Problem, scored: dict[str, Any]) -> dict[str, Any]:
    evaluation, points = problem.evaluations[-1], []
    for entry in problem.entries:
        costs = costs_of(scored[entry.name], evaluation)
        if not np.all(np.isfinite(costs)):
            continue
        mean = shown(problem, costs)
        points.append(
            {
                "name": entry.name,
                "title": entry.title,
                "strategy": entry.strategy,
                "learned": scored[entry.name][0]["learned"],
                "value": mean["value"],
                "error": mean["error"],
            }
        )
    return form.spectrum_plot(
        f"Cost against the number of learned numbers ({problem.title})", {"title": "cost", "unit": problem.unit}, points
    )


def _trajectory(run: Run, problem: Problem, drawn: Drawn) -> dict[str, Any]:
    name = drawn.name(problem.name)
    found = run[name]
    lines: list[dict[str, Any]] = [_drawn(entry) for entry in problem.entries if entry.name in found["drawn"]]
    return form.trajectory(
        name,
        f"{'The path of a' if drawn.path else 'A'} test run: {problem.title}",
        found["file"],
        drawn.components,
        lines,
        path=drawn.path,
        caption="The first run of the test, on the same noise." + (" Dashed: what it follows." if drawn.path else ""),
    )


def _drawn(entry: Entry) -> dict[str, Any]:
    return {"name": entry.name, "title": entry.title, "strategy": entry.strategy}


def _without_time(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key != "microseconds_per_decision"}


def _timings(run: Run, problems: Sequence[Problem], scored: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for problem in problems:
        for entry in problem.entries:
            timing = {"microseconds": scored[problem.name][entry.name][0]["microseconds_per_decision"]}
            if entry.training is not None:
                timing["training_seconds"] = round(run.seconds(f"find-{rule_name(problem, entry)}"), 1)
            found[rule_name(problem, entry)] = timing
    return found
