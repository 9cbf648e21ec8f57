"""The progress bar of a run: steps, loss, validation and the time that remains."""

import math
import sys
from typing import Any


class Progress:
    """A `rich` progress bar on standard error, or nothing where it is no terminal."""

    def __init__(self, shown: bool | None, steps: int, done: int):
        self._bar: Any = None
        self._mean: float | None = None
        self._validation: float | None = None
        if shown is None:
            shown = sys.stderr is not None and sys.stderr.isatty()
        if shown:
            self._bar, self._task = _bar(steps, done)

    def __enter__(self) -> "Progress":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: int, losses: Any, validation: float | None) -> None:
        """Shows the number of steps made, a running mean of the loss, and the last validation."""
        if self._bar is None:
            return
        finite = [float(loss) for loss in losses if math.isfinite(loss)]
        if finite:
            recent = sum(finite) / len(finite)
            weight = 0.9 ** len(finite)
            self._mean = recent if self._mean is None else weight * self._mean + (1 - weight) * recent
        text = "" if self._mean is None else f"loss {self._mean:.4g}"
        if validation is not None:
            text += f"  validation {validation:.4g}"
        self._bar.update(self._task, completed=done, status=text)


def _bar(steps: int, done: int) -> tuple[Any, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("fit"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[status]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    bar = Bar(*columns, console=Console(stderr=True), transient=False)
    return bar, bar.add_task("fit", total=steps, completed=done, status="compiling")
