"""Renders a run's folder: figures, tables as text, and the page."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from mbdl.report.charts import THEMES, draw_curve, draw_spectrum
from mbdl.report.page import page
from mbdl.report.photographs import draw_picture
from mbdl.report.tables import markdown
from mbdl.report.trajectories import draw_trajectory


def read(folder: Path | str) -> dict[str, Any]:
    """The results of a run.

    Args:
        folder: the run's folder.

    Returns:
        What `results.json` holds.

    Raises:
        FileNotFoundError: if there are no results in the folder.
        ValueError: if they are damaged, or of a newer version.
    """
    path = Path(folder) / "results.json"
    if not path.is_file():
        unfinished = (Path(folder) / "run.json").is_file()
        remedy = "the run is not finished: continue it with --resume" if unfinished else "is it the folder of a run?"
        raise FileNotFoundError(f"there is no {path}; {remedy}")
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(results, dict) or results.get("format") != 1:
        raise ValueError(f"{path} is not of a form that this version of mbdl reads (format 1)")
    return results


def render(folder: Path | str) -> list[Path]:
    """Writes `figures/*.png`, `table.md` and `report.html` from what a run's folder holds.

    Args:
        folder: the run's folder, with `results.json`.

    Returns:
        The files that were written, the page last.

    Raises:
        FileNotFoundError: if there are no results in the folder.
        ValueError: if they cannot be read.
    """
    folder = Path(folder)
    results = read(folder)
    written: list[Path] = []
    figures: dict[str, tuple[Path, Path]] = {}
    charts: list[tuple[str, Any, Any]] = [(curve["name"], curve, draw_curve) for curve in results.get("curves", [])]
    if results.get("spectrum"):
        charts.insert(0, ("spectrum", results["spectrum"], draw_spectrum))
    for name, chart, draw in charts:
        files = [folder / "figures" / f"{name}{'' if theme.name == 'light' else '-dark'}.png" for theme in THEMES]
        for theme, file in zip(THEMES, files, strict=True):
            draw(chart, file, theme)
        figures[name] = (files[0], files[1])
        written += files
    arrays = {}
    for picture in results.get("pictures", []):
        with np.load(folder / picture["file"]) as stored:
            arrays[picture["name"]] = {name: stored[name] for name in stored.files}
        file = folder / "figures" / f"photograph-{picture['name']}.png"
        draw_picture(picture, arrays[picture["name"]], file)
        written.append(file)
    for trajectory in results.get("trajectories", []):
        name = f"trajectory-{trajectory['name']}"
        with np.load(folder / trajectory["file"]) as stored:
            lines = {line: stored[line] for line in stored.files}
        files = [folder / "figures" / f"{name}{'' if theme.name == 'light' else '-dark'}.png" for theme in THEMES]
        for theme, file in zip(THEMES, files, strict=True):
            draw_trajectory(trajectory, lines, file, theme)
        figures[name] = (files[0], files[1])
        written += files
    text = folder / "table.md"
    text.write_text(_markdown(results), encoding="utf-8")
    report = folder / "report.html"
    report.write_text(page(results, arrays, figures), encoding="utf-8")
    return [*written, text, report]


def _markdown(results: dict[str, Any]) -> str:
    parts = [f"# {results['title']}", results["summary"]]
    if not results["evidence"]:
        parts.append("**A quick run, no evidence.**")
    parts.append("\n".join(f"- {statement}" for statement in results["statements"]))
    for table in results["tables"]:
        parts += [f"## {table['title']}", markdown(table, results["timings"])]
        if table["caption"]:
            parts.append(table["caption"])
        if table is results["tables"][0] and results.get("findings"):
            parts.append("\n".join(f"- {finding}" for finding in results["findings"]))
    return "\n\n".join(part for part in parts if part) + "\n"
