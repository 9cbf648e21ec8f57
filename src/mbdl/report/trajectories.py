"""Trajectories: as a path in the plane, in space where they have three components, else each component against time."""

from pathlib import Path
from typing import Any

import numpy as np

from mbdl.report.charts import LINES
from mbdl.report.style import LIGHT, Theme

COLUMNS = 3


def draw_trajectory(
    trajectory: dict[str, Any], arrays: dict[str, np.ndarray], path: Path, theme: Theme = LIGHT
) -> None:
    """Draws one trajectory and the estimates of it as a PNG.

    In three dimensions each line has axes of its own, with the truth behind the estimates; so has a path in the plane,
    with what lies behind it. Otherwise there is one pair of axes a component, with all lines against time, and a band
    of two standard deviations where there is one.

    Args:
        trajectory: from a study's results (`mbdl.studies.results.trajectory`).
        arrays: the lines by name, `[time component]`; where a name ends in ` deviation`, its standard deviation.
        path: where to write it.
        theme: the colours.
    """
    size = arrays[trajectory["lines"][0]["name"]].shape[1]
    if trajectory.get("path", False):
        figure = _in_the_plane(trajectory, arrays, theme)
    else:
        figure = _in_space(trajectory, arrays, theme) if size == 3 else _in_time(trajectory, arrays, theme, size)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})


def _in_the_plane(trajectory: dict[str, Any], arrays: dict[str, np.ndarray], theme: Theme) -> Any:
    lines = trajectory["lines"]
    wide, high = np.ptp(np.concatenate([arrays[line["name"]][:, :2] for line in lines]), axis=0)
    figure = _figure(theme, (9.6, len(lines) * (0.5 + min(8.6 * high / max(wide, 1e-9), 4.0)) + 0.5))
    grid = figure.subplots(len(lines), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for line, axes in zip(lines, grid, strict=True):
        values = arrays[line["name"]]
        axes.set_facecolor(theme.ground)
        axes.grid(color=theme.grid, linewidth=0.7)
        if values.shape[1] == 4:
            axes.plot(*values[:, 2:].T, color=theme.faint, linewidth=1.0, linestyle="--")
        axes.plot(*values[:, :2].T, color=theme.strategies.get(line.get("strategy"), theme.text), linewidth=1.5)
        axes.set_aspect("equal")
        axes.set_title(line["title"], fontsize=9.5, color=theme.text)
        axes.set_ylabel(trajectory["components"][1], color=theme.text, fontsize=9.5)
        _plain(axes, theme)
    grid[-1].set_xlabel(trajectory["components"][0], color=theme.text, fontsize=9.5)
    return figure


def _plain(axes: Any, theme: Theme) -> None:
    """Axes with two quiet sides."""
    axes.tick_params(colors=theme.text, labelsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("bottom", "left"):
        axes.spines[side].set_color(theme.faint)


def _in_space(trajectory: dict[str, Any], arrays: dict[str, np.ndarray], theme: Theme) -> Any:
    lines = trajectory["lines"]
    rows = -(-len(lines) // COLUMNS)
    figure = _figure(theme, (4.0 * COLUMNS, 3.9 * rows + 0.4))
    truth = arrays[lines[0]["name"]]
    low, high = truth.min(0), truth.max(0)
    room = 0.08 * (high - low)
    for index, line in enumerate(lines):
        # Without a ground of its own: it would cover the last label of the picture to the left.
        axes: Any = figure.add_subplot(rows, COLUMNS, index + 1, projection="3d", facecolor="none")
        if index:
            axes.plot(*truth.T, color=theme.grid, linewidth=0.9)
        dotted = line.get("points", False)
        axes.plot(
            *arrays[line["name"]].T,
            color=theme.strategies.get(line.get("strategy"), theme.text),
            linewidth=0 if dotted else 0.9,
            marker="." if dotted else None,
            markersize=2.0,
        )
        axes.set(xlim=_limits(low, high, room, 0), ylim=_limits(low, high, room, 1), zlim=_limits(low, high, room, 2))
        axes.set_title(line["title"], fontsize=10, color=theme.text)
        for axis, name in zip((axes.xaxis, axes.yaxis, axes.zaxis), trajectory["components"], strict=True):
            axis.set_pane_color(theme.ground)
            axis.label.set_color(theme.text)
            axis.set_label_text(name, fontsize=8)
            axis.set_major_locator(_few_ticks())
        axes.tick_params(colors=theme.faint, labelsize=7, pad=0)
    return figure


def _in_time(trajectory: dict[str, Any], arrays: dict[str, np.ndarray], theme: Theme, size: int) -> Any:
    figure = _figure(theme, (9.6, 2.4 * size + 0.5))
    grid = figure.subplots(size, 1, sharex=True, squeeze=False)[:, 0]
    for component, axes in enumerate(grid):
        axes.set_facecolor(theme.ground)
        axes.grid(color=theme.grid, linewidth=0.7)
        used: dict[Any, int] = {}
        for line in trajectory["lines"]:
            order = used.get(line.get("strategy"), 0)
            used[line.get("strategy")] = order + 1
            values = arrays[line["name"]]
            if component >= values.shape[1]:
                continue
            time = np.arange(1, len(values) + 1)
            colour = theme.strategies.get(line.get("strategy"), theme.text)
            dotted = line.get("points", False)
            axes.plot(
                time,
                values[:, component],
                color=colour,
                linestyle="none" if dotted else LINES[order % len(LINES)],
                linewidth=1.3,
                marker="." if dotted else None,
                markersize=3,
                label=line["title"],
            )
            deviation = arrays.get(f"{line['name']} deviation")
            if deviation is not None:
                edges = (values[:, component] + sign * 2 * deviation[:, component] for sign in (-1, 1))
                axes.fill_between(time, *edges, color=colour, alpha=0.15, linewidth=0)
        axes.set_ylabel(trajectory["components"][component], color=theme.text, fontsize=9.5)
        _plain(axes, theme)
    grid[-1].set_xlabel("time step", color=theme.text)
    grid[-1].xaxis.get_major_locator().set_params(integer=True)
    handles, labels = grid[0].get_legend_handles_labels()
    legend = figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False, fontsize=9.5)
    for text in legend.get_texts():
        text.set_color(theme.text)
    return figure


def _limits(low: np.ndarray, high: np.ndarray, room: np.ndarray, axis: int) -> tuple[float, float]:
    return float(low[axis] - room[axis]), float(high[axis] + room[axis])


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(4)


def _figure(theme: Theme, size: tuple[float, float]) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=110, facecolor=theme.ground, layout="constrained")
    FigureCanvasAgg(figure)
    return figure
