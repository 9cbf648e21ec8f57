"""The form in which a study hands over what it found, and in which `mbdl.report` renders it.

A study's `results` is a dictionary that JSON can hold:

- `title`: a heading; `statements`: sentences about the problem, the data and the choices; `evidence`: whether the
  numbers are evidence, or a quick look; `findings`: sentences about what the first table says;
- `tables`: from `table`; `curves`: from `curve`; `spectrum`: from `spectrum_plot`; `pictures`: from `picture`;
  `trajectories`: from `trajectory`;
- `raw`: every number behind them, in the study's own form;
- `timings`: whatever depends on the machine. A table's column may show `timings["rules"][row][name]`.
"""

from collections.abc import Sequence
from typing import Any, Literal

Strategy = Literal["model-based", "learned optimisation", "deep unfolding", "DNN-aided", "black box"]
"""Where a rule stands on the spectrum, from the model's end to the data's."""

STRATEGIES: tuple[Strategy, ...] = (
    "model-based",
    "learned optimisation",
    "deep unfolding",
    "DNN-aided",
    "black box",
)


def column(
    name: str,
    title: str,
    *,
    unit: str = "",
    digits: int = 2,
    signed: bool = False,
    best: Literal["max", "min"] | None = None,
    timing: bool = False,
) -> dict[str, Any]:
    """A column of a table.

    Args:
        name: by which cells are found.
        title: its heading.
        unit: of its numbers, in the heading.
        digits: how many digits after the point.
        signed: whether positive numbers get a plus.
        best: whether the largest or the smallest number is marked.
        timing: whether its numbers are in `timings["rules"][row]`.
    """
    return {
        "name": name,
        "title": title,
        "unit": unit,
        "digits": digits,
        "signed": signed,
        "best": best,
        "timing": timing,
    }


def table(
    name: str, title: str, columns: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]], *, caption: str = ""
) -> dict[str, Any]:
    """A table.

    Args:
        name: what it is called.
        title: its heading.
        columns: from `column`.
        rows: each `{"name", "title", "strategy", "cells"}`, a cell a number, a text, or
            `{"value": …, "error": …}` for a number ± its standard error or spread.
        caption: what one has to know to read it.
    """
    return {"name": name, "title": title, "columns": list(columns), "rows": list(rows), "caption": caption}


def curve(
    name: str,
    heading: str,
    title: str,
    horizontal: dict[str, Any],
    vertical: dict[str, Any],
    lines: Sequence[dict[str, Any]],
    *,
    caption: str = "",
    mark: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A plot of lines.

    Args:
        name: what it is called, and its file.
        heading: a few words above it.
        title: what it shows.
        horizontal: `{"title", "unit", "scale"}`, the scale `"linear"` or `"log"`.
        vertical: the same.
        lines: each `{"name", "title", "strategy", "x", "y"}` and, where known, `"error"`, one a point.
        caption: what one has to know to read it.
        mark: `{"x", "title"}` for a vertical line, such as the value that the rules assume.
    """
    return {
        "name": name,
        "heading": heading,
        "title": title,
        "x": dict(horizontal),
        "y": dict(vertical),
        "lines": list(lines),
        "caption": caption,
        "mark": mark,
    }


def spectrum_plot(
    title: str, vertical: dict[str, Any], points: Sequence[dict[str, Any]], *, caption: str = ""
) -> dict[str, Any]:
    """The spectrum: quality against the number of learned numbers.

    Args:
        title: what it shows.
        vertical: `{"title", "unit"}`.
        points: each `{"name", "title", "strategy", "learned", "value"}` and, where known, `"error"`.
        caption: what one has to know to read it.
    """
    return {"heading": "The spectrum", "title": title, "y": dict(vertical), "points": list(points), "caption": caption}


def picture(
    name: str, title: str, file: str, panels: Sequence[dict[str, Any]], details: Sequence[dict[str, int]]
) -> dict[str, Any]:
    """Photographs side by side with details enlarged.

    Args:
        name: what it is called, and its file.
        title: its heading.
        file: the arrays, a path within the folder; each panel's array is there under its name.
        panels: each `{"name", "title"}` and, where there is a score, `"score"`, a text.
        details: each `{"row", "column", "size"}`, in pixels of the first panel.
    """
    return {"name": name, "title": title, "file": file, "panels": list(panels), "details": list(details)}


def trajectory(
    name: str,
    title: str,
    file: str,
    components: Sequence[str],
    lines: Sequence[dict[str, Any]],
    *,
    path: bool = False,
    caption: str = "",
) -> dict[str, Any]:
    """A trajectory and the estimates of it.

    Args:
        name: what it is called, and its file.
        title: its heading.
        file: the arrays, a path within the folder; each line's array `[time component]` is there under its name.
        components: the name of each component, with its unit; three are drawn in space.
        lines: each `{"name", "title"}` and, where known, `"strategy"`; `"points": True` draws points. The first is the
            truth, or what is nearest to it.
        path: draw a path in the plane: two components, and in the array two more of what lies behind it (a road).
        caption: what one has to know to read it.
    """
    return {
        "name": name,
        "title": title,
        "file": file,
        "components": list(components),
        "path": path,
        "lines": list(lines),
        "caption": caption,
    }
