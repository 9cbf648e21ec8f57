"""Photographs side by side, with details enlarged."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np

from mbdl.report.style import LIGHT, Theme

BOXES = ("#ffd400", "#00d5ff", "#ff5fd2")


def draw_picture(picture: dict[str, Any], arrays: dict[str, np.ndarray], path: Path, theme: Theme = LIGHT) -> None:
    """Draws a photograph with its details, and each rule's details beside it, as a PNG.

    Args:
        picture: from a study's results.
        arrays: the panels' images by name, in [0, 1] or 8 bit.
        path: where to write it.
        theme: the colours.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    panels, details = picture["panels"], picture["details"]
    columns = 3
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(17, 2.2 * rows + 0.3), dpi=100, facecolor=theme.ground, layout="constrained")
    FigureCanvasAgg(figure)
    parts: Any = figure.subfigures(1, 2, width_ratios=(1, 1.55), facecolor=theme.ground)
    left, right = parts
    whole = arrays[panels[0]["name"]]
    axes = left.add_subplot()
    axes.imshow(_grey(whole), cmap="gray", vmin=0, vmax=1, interpolation="antialiased")
    for detail, colour in zip(details, BOXES, strict=False):
        axes.add_patch(
            Rectangle(
                (detail["column"] - 0.5, detail["row"] - 0.5),
                detail["size"],
                detail["size"],
                fill=False,
                edgecolor=colour,
                linewidth=2,
            )
        )
    axes.set_title(picture["title"], color=theme.text, fontsize=13, loc="left")
    axes.set_axis_off()
    grid = right.subplots(rows, columns * len(details), squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for index, panel in enumerate(panels):
        row, place = divmod(index, columns)
        for number, detail in enumerate(details):
            axes = grid[row, place * len(details) + number]
            axes.set_axis_on()
            axes.set_xticks([])
            axes.set_yticks([])
            shown = cut(arrays[panel["name"]], whole.shape, detail)
            axes.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            for spine in axes.spines.values():
                spine.set_color(BOXES[number % len(BOXES)])
                spine.set_linewidth(1.6)
            if number == 0:
                score = f"\n{panel['score']}" if panel.get("score") else "\n"
                axes.set_title(panel["title"] + score, color=theme.text, fontsize=10, loc="left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})


def cut(image: np.ndarray, shape: tuple[int, ...], detail: dict[str, int]) -> np.ndarray:
    """The detail of an image that may be smaller than the first panel, on whose grid the detail is given."""
    scale = image.shape[0] / shape[0]
    row, column = round(detail["row"] * scale), round(detail["column"] * scale)
    size = round(detail["size"] * scale)
    return _grey(image[row : row + size, column : column + size])


def data_uri(image: np.ndarray, *, jpeg: bool = False) -> str:
    """An image as text that a page can hold within itself.

    Args:
        image: in [0, 1] or 8 bit.
        jpeg: whether detail may be lost.
    """
    from PIL import Image

    buffer = io.BytesIO()
    shown = Image.fromarray(np.round(_grey(image) * 255).astype(np.uint8))
    if jpeg:
        shown.save(buffer, "JPEG", quality=85)
    else:
        shown.save(buffer, "PNG", optimize=True)
    return f"data:image/{'jpeg' if jpeg else 'png'};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def file_uri(path: Path) -> str:
    """A PNG file as text that a page can hold within itself."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def _grey(image: np.ndarray) -> np.ndarray:
    values = image.astype(np.float32) / 255 if image.dtype == np.uint8 else image
    return np.clip(values, 0.0, 1.0)
