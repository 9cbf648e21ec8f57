"""Costs as they are shown: means with standard errors, and paired differences, in the unit of the problem."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mbdl.studies.control.problem import Problem


def shown(problem: Problem, costs: np.ndarray) -> dict[str, float]:
    """The mean cost of runs with its standard error, in dB where the problem's unit is that."""
    mean = mean_of(costs)
    if problem.unit != "dB":
        return mean
    return _in_decibels(mean["value"], mean["error"] / mean["value"])


def difference(problem: Problem, costs: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """How much more runs cost than others on the same noise, with the standard error of the mean difference.

    In dB it is that of the ratio of the mean costs, with the error of paired runs to first order.
    """
    if problem.unit != "dB":
        return mean_of(costs - reference)
    means = np.mean(costs), np.mean(reference)
    relative = costs / means[0] - reference / means[1]
    return _in_decibels(float(means[0] / means[1]), mean_of(relative)["error"])


def _in_decibels(value: float, relative: float) -> dict[str, float]:
    return {"value": float(f"{10 * np.log10(value):.6g}"), "error": float(f"{10 / np.log(10) * relative:.3g}")}


def mean_of(values: np.ndarray) -> dict[str, float]:
    """A mean and its standard error, of the values that are finite."""
    good = values[np.isfinite(values)]
    error = float(np.std(good, ddof=1) / np.sqrt(len(good))) if len(good) > 1 else 0.0
    return {"value": float(f"{np.mean(good):.6g}"), "error": float(f"{error:.3g}")}


def cost_axis(lines: Sequence[Mapping[str, Any]], unit: str = "") -> dict[str, str]:
    """The axis of the costs of lines: logarithmic where these differ tenfold, and are not in decibels."""
    costs = [cost for line in lines for cost in line["y"]]
    wide = unit != "dB" and bool(costs) and 0 < 10 * min(costs) < max(costs)
    return {"title": "cost", "unit": unit, "scale": "log" if wide else "linear"}
