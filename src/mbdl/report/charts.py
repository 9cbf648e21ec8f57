"""Charts: curves, and the spectrum of quality against the number of learned numbers."""

from pathlib import Path
from typing import Any

from mbdl.report.style import DARK, LIGHT, MARKERS, Theme

LINES = ("-", "--", ":", "-.")


def draw_curve(curve: dict[str, Any], path: Path, theme: Theme = LIGHT) -> None:
    """Draws lines with their error bars as a PNG.

    Args:
        curve: from a study's results.
        path: where to write it.
        theme: the colours.
    """
    figure, axes = _axes(theme, (8.4, 4.6))
    used: dict[str, int] = {}
    for line in curve["lines"]:
        strategy = line["strategy"]
        order = used.get(strategy, 0)
        used[strategy] = order + 1
        axes.errorbar(
            line["x"],
            line["y"],
            yerr=line.get("error"),
            color=theme.strategies[strategy],
            marker=MARKERS[strategy] if len(line["x"]) > 1 else None,
            linestyle=LINES[order % len(LINES)],
            markersize=5.5,
            linewidth=1.8,
            capsize=3,
            label=line["title"],
        )
    if curve["x"].get("scale") == "log":
        axes.set_xscale("log", base=2)
        ticks = sorted({x for line in curve["lines"] for x in line["x"]})
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    if curve["y"].get("scale") == "log":
        _logarithmic(axes, [y for line in curve["lines"] for y in line["y"]])
    if curve.get("mark"):
        axes.axvline(curve["mark"]["x"], color=theme.faint, linewidth=1, linestyle=(0, (2, 3)))
        axes.annotate(
            curve["mark"]["title"],
            (curve["mark"]["x"], 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(4, -4),
            textcoords="offset points",
            va="top",
            fontsize=9,
            color=theme.faint,
        )
    axes.set_xlabel(_label(curve["x"]))
    axes.set_ylabel(_label(curve["y"]))
    axes.set_title(curve["title"], loc="left", fontsize=12, color=theme.text)
    legend = axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9.5, handlelength=3.5)
    for text in legend.get_texts():
        text.set_color(theme.text)
    _write(figure, path)


def _logarithmic(axes: Any, values: list[float]) -> None:
    """A logarithmic vertical axis with plain numbers at its ticks, between powers of ten too where these are few."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes.set_yscale("log")
    plain = FuncFormatter(lambda value, place: f"{value:g}")
    axes.yaxis.set_major_formatter(plain)
    axes.yaxis.set_minor_formatter(plain if max(values) < 10 * min(values) else NullFormatter())


def draw_spectrum(spectrum: dict[str, Any], path: Path, theme: Theme = LIGHT) -> None:
    """Draws quality against the number of learned numbers as a PNG, each point with its name and its strategy's mark.

    Args:
        spectrum: from a study's results.
        path: where to write it.
        theme: the colours.
    """
    figure, axes = _axes(theme, (10.4, 5.4))
    points = spectrum["points"]
    axes.set_xscale("symlog", linthresh=1.0, linscale=0.6)
    seen = set()
    for point in points:
        strategy = point["strategy"]
        axes.errorbar(
            [point["learned"]],
            [point["value"]],
            yerr=[point["error"]] if point.get("error") else None,
            color=theme.strategies[strategy],
            marker=MARKERS[strategy],
            markersize=8,
            linestyle="none",
            capsize=3,
        )
        seen.add(strategy)
    largest = max(point["learned"] for point in points)
    axes.set_xlim(-0.35, max(10.0, largest) * 150)
    ticks = [0] + [10**power for power in range(8) if 10**power <= max(10, largest) * 10]
    axes.set_xticks(ticks, ["0", *(_power(tick) for tick in ticks[1:])])
    low, high = min(p["value"] for p in points), max(p["value"] for p in points)
    room = max(high - low, 0.1)
    axes.set_ylim(low - 0.08 * room, high + 0.2 * room)
    axes.set_xlabel("learned numbers")
    axes.set_ylabel(_label(spectrum["y"]))
    axes.set_title(spectrum["title"], loc="left", fontsize=12, color=theme.text)
    _strategy_legend(figure, [s for s in MARKERS if s in seen], theme)
    _name_points(figure, axes, points, theme)
    _write(figure, path)


def _strategy_legend(figure: Any, strategies: list[str], theme: Theme) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=theme.strategies[s], marker=MARKERS[s], linestyle="none", markersize=8, label=s)
        for s in strategies
    ]
    legend = figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9.5)
    for text in legend.get_texts():
        text.set_color(theme.text)


def _name_points(figure: Any, axes: Any, points: list[dict[str, Any]], theme: Theme) -> None:
    """Writes each point's name to its right, moved up or down until no two names overlap."""
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    placed: list[tuple[float, float, float, float]] = []
    for point in sorted(points, key=lambda p: (-p["value"], p["learned"])):
        _, y = axes.transData.transform((point["learned"], point["value"]))
        text = axes.annotate(
            point["title"],
            (point["learned"], point["value"]),
            xytext=(11, 0),
            textcoords="offset points",
            va="center",
            fontsize=9.5,
            color=theme.text,
        )
        extent = text.get_window_extent(renderer)
        width, height = extent.width, extent.height
        left = extent.x0
        shift = 0.0
        for candidate in _shifts(height):
            box = (left, y + candidate - height / 2, left + width, y + candidate + height / 2)
            marks = [axes.transData.transform((p["learned"], p["value"])) for p in points if p is not point]
            if not any(_overlap(box, other) for other in placed) and not any(
                box[0] - 8 < mx < box[2] + 2 and box[1] - 4 < my < box[3] + 4 for mx, my in marks
            ):
                shift = candidate
                break
        placed.append((left, y + shift - height / 2, left + width, y + shift + height / 2))
        pixels_per_point = figure.dpi / 72
        text.set_position((11, shift / pixels_per_point))
        if abs(shift) > height * 0.6:
            axes.annotate(
                "",
                (point["learned"], point["value"]),
                xytext=(11, shift / pixels_per_point),
                textcoords="offset points",
                arrowprops={"arrowstyle": "-", "color": theme.faint, "linewidth": 0.7},
            )


def _shifts(height: float) -> list[float]:
    steps = [0.0]
    for index in range(1, 24):
        steps += [index * height * 0.4, -index * height * 0.4]
    return steps


def _overlap(first: tuple[float, float, float, float], second: tuple[float, float, float, float]) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


def _axes(theme: Theme, size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=144, facecolor=theme.ground, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(facecolor=theme.ground)
    axes.grid(color=theme.grid, linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("bottom", "left"):
        axes.spines[side].set_color(theme.faint)
    axes.tick_params(colors=theme.text, labelsize=9.5)
    axes.xaxis.label.set_color(theme.text)
    axes.yaxis.label.set_color(theme.text)
    return figure, axes


def _label(axis: dict[str, Any]) -> str:
    return f"{axis['title']} [{axis['unit']}]" if axis.get("unit") else axis["title"]


def _power(tick: int) -> str:
    return f"{tick:,}".replace(",", "\u202f")


def _write(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})


THEMES = (LIGHT, DARK)
