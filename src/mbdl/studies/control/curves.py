"""The curves of a study of control: cost against the number of training runs, and against how wrong the model is."""

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mbdl.studies import results as form
from mbdl.studies.control.measures import cost_axis, shown
from mbdl.studies.control.problem import Entry, Problem
from mbdl.studies.control.scoring import costs_found, simulated
from mbdl.studies.control.training import first_policy, rule_name, train
from mbdl.studies.study import Run


class Curve(abc.ABC):
    """One plot of the cost of some policies; each of its points is a stage."""

    problem: str
    """The name of its problem."""

    @abc.abstractmethod
    def points(self, problem: Problem) -> Sequence[Any]:
        """What is found one after the other."""

    @abc.abstractmethod
    def stage(self, point: Any) -> str:
        """The name of the stage of a point."""

    @abc.abstractmethod
    def describe(self, problem: Problem, point: Any) -> str:
        """What the stage does."""

    @abc.abstractmethod
    def seconds(self, problem: Problem, point: Any) -> float:
        """Roughly how long it takes."""

    @abc.abstractmethod
    def find(self, run: Run, problem: Problem, point: Any) -> dict[str, Any]:
        """What the stage finds."""

    @abc.abstractmethod
    def collect(self, run: Run, problem: Problem) -> dict[str, Any]:
        """The plot, in the form of `mbdl.studies.results`."""


@dataclass(frozen=True)
class DataCurve(Curve):
    """Cost against the number of training runs, the same at every step.

    Args:
        problem: the name of the problem.
        rules: the names of the policies that are trained.
        levels: the names of policies that are not, drawn as lines.
        counts: the numbers of runs.
    """

    problem: str
    rules: Sequence[str]
    levels: Sequence[str]
    counts: Sequence[int]

    def points(self, problem: Problem) -> Sequence[tuple[str, int]]:
        return [(name, count) for name in self.rules for count in self.counts]

    def stage(self, point: tuple[str, int]) -> str:
        return f"curve-{self.problem}-{point[0]}-{point[1]}"

    def describe(self, problem: Problem, point: tuple[str, int]) -> str:
        return f"{problem.title}: {problem.entry(point[0]).title}, {point[1]} training runs"

    def seconds(self, problem: Problem, point: tuple[str, int]) -> float:
        training = problem.entry(point[0]).training
        return 5.0 if training is None else 5.0 + 0.02 * training.steps

    def find(self, run: Run, problem: Problem, point: tuple[str, int]) -> dict[str, Any]:
        name, count = point
        entry = problem.entry(name)
        record = train(run, problem, entry, first_policy(run, problem, entry), self.stage(point), runs=count)
        runs = simulated(run, problem, run.load_rule(self.stage(point)), problem.evaluations[0])
        return {**record, "costs": costs_found(runs)}

    def collect(self, run: Run, problem: Problem) -> dict[str, Any]:
        lines = [
            _line(problem, problem.entry(name), self.counts, [run[self.stage((name, n))]["costs"] for n in self.counts])
            for name in self.rules
        ]
        ends = [self.counts[0], self.counts[-1]]
        for name in self.levels:
            entry = problem.entry(name)
            costs = run[f"score-{rule_name(problem, entry)}"][problem.evaluations[0].name]["costs"]
            lines.append(_line(problem, entry, ends, [costs, costs]))
        return form.curve(
            f"runs-{problem.name}",
            "Fewer training runs",
            f"Cost against the number of training runs ({problem.title})",
            {"title": "training runs", "unit": "", "scale": "log"},
            cost_axis(lines, problem.unit),
            lines,
            caption="Trained on so many runs alone; one training seed; the standard error is that over the test runs.",
        )


@dataclass(frozen=True)
class MismatchCurve(Curve):
    """Cost where the model is wrong by more or by less than in training.

    Args:
        problem: the name of the problem.
        rules: the names of the policies, as they were found there.
        told: the names of policies that are made anew, from the true model.
        values: of what is wrong.
        assumed: the value in training.
        at: the problem at a value, under the same name.
        axis: what is wrong, and its unit.
    """

    problem: str
    rules: Sequence[str]
    told: Sequence[str]
    values: Sequence[float]
    assumed: float
    at: Callable[[Any, float], Problem]
    axis: tuple[str, str]

    def points(self, problem: Problem) -> Sequence[float]:
        return self.values

    def stage(self, point: float) -> str:
        return f"mismatch-{self.problem}-{point:g}"

    def describe(self, problem: Problem, point: float) -> str:
        return f"{problem.title}: {self.axis[0]} {point:g}{_spaced(self.axis[1])}"

    def seconds(self, problem: Problem, point: float) -> float:
        return 5.0 * (len(self.rules) + len(self.told))

    def find(self, run: Run, problem: Problem, point: float) -> dict[str, Any]:
        true = self.at(run.settings, point)
        found = {}
        for name in (*self.rules, *self.told):
            policy: Any = run.load_rule(rule_name(problem, problem.entry(name)))
            if name in self.told:
                policy = first_policy(run, true, true.entry(name))
            found[name] = costs_found(simulated(run, true, policy, true.evaluations[0]))
        return found

    def collect(self, run: Run, problem: Problem) -> dict[str, Any]:
        lines = [
            _line(problem, problem.entry(name), self.values, [run[self.stage(value)][name] for value in self.values])
            for name in (*self.rules, *self.told)
        ]
        return form.curve(
            f"mismatch-{problem.name}",
            "Another mismatch",
            f"Cost against the {self.axis[0]} of the true system ({problem.title})",
            {"title": self.axis[0], "unit": self.axis[1], "scale": "linear"},
            cost_axis(lines, problem.unit),
            lines,
            caption="The policies are those of the table; only the one of the true model is made anew.",
            mark={"x": self.assumed, "title": "in training"},
        )


def _line(problem: Problem, entry: Entry, xs: Sequence[float], costs: Sequence[list[float | None]]) -> dict[str, Any]:
    """A line through the costs that are finite."""
    found = [
        (x, np.array([np.nan if cost is None else cost for cost in runs])) for x, runs in zip(xs, costs, strict=True)
    ]
    points = [(x, shown(problem, runs)) for x, runs in found if np.all(np.isfinite(runs))]
    return {
        "name": entry.name,
        "title": entry.title,
        "strategy": entry.strategy,
        "x": [x for x, _ in points],
        "y": [point["value"] for _, point in points],
        "error": [point["error"] for _, point in points],
    }


def _spaced(unit: str) -> str:
    return unit if unit in ("°", "") else f" {unit}"
