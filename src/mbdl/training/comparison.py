"""The table that `compare` returns: numbers first, then text, Markdown, a `rich` table or columns."""

import dataclasses
import math
import sys
from typing import Any

import numpy as np
from jaxtyping import Bool, Float


@dataclasses.dataclass(frozen=True)
class Row:
    """One rule of a comparison.

    Attributes:
        name: what the user calls the rule.
        values: the metric of each instance, by the metric's name; NaN or infinite where an instance was bad.
        bad: which instances had a decision or a metric that is not finite.
        strategy: the rule's place on the spectrum in words.
        known: how many numbers it knows.
        learned: how many numbers training moves.
        frozen: how many numbers were learned and are frozen.
        tuned: how many numbers a search has chosen.
        seconds: median time of one decision, batch size 1, after compilation; NaN if it was not measured.
    """

    name: str
    values: dict[str, Float[np.ndarray, " instances"]]
    bad: Bool[np.ndarray, " instances"]
    strategy: str
    known: int
    learned: int
    frozen: int
    tuned: int
    seconds: float


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Rules compared on the same instances; made by `compare`.

    `str` gives aligned text, `markdown()` a Markdown table, `to_dict()` columns as `pandas.DataFrame` takes them, and
    `rich` prints it as a table of its own. A mean is over the rule's good instances, with the standard error of that
    mean, s/√n; a difference is over the instances that are good under both rules.

    Attributes:
        rows: one `Row` a rule.
        metrics: the names of the metrics.
        reference: the rule that differences are taken to, if any.
        instances: how many instances there were.
    """

    rows: tuple[Row, ...]
    metrics: tuple[str, ...]
    reference: str | None
    instances: int

    def mean(self, rule: str, metric: str | None = None) -> tuple[float, float]:
        """A rule's mean of a metric (the first by default) and its standard error."""
        row = self._row(rule)
        return _mean(row.values[metric or self.metrics[0]][~row.bad])

    def difference(self, rule: str, metric: str | None = None, reference: str | None = None) -> tuple[float, float]:
        """The mean paired difference of a rule to the reference and its standard error.

        Raises:
            ValueError: if there is no reference, or no rule of that name.
        """
        reference = reference or self.reference
        if reference is None:
            raise ValueError(
                "a difference needs a reference: compare(…, reference=name), or difference(…, reference=name)."
            )
        a, b = self._row(rule), self._row(reference)
        good, metric = ~(a.bad | b.bad), metric or self.metrics[0]
        return _mean(a.values[metric][good] - b.values[metric][good])

    def to_dict(self) -> dict[str, list[Any]]:
        """The table as columns of equal length, unrounded: `pandas.DataFrame(comparison.to_dict())`."""
        columns: dict[str, list[Any]] = {"rule": [row.name for row in self.rows]}
        for metric in self.metrics:
            means = [self.mean(row.name, metric) for row in self.rows]
            columns[metric], columns[f"{metric}_se"] = [m for m, _ in means], [se for _, se in means]
            if self.reference is not None:
                pairs = [self.difference(row.name, metric) for row in self.rows]
                columns[f"{metric}_difference"], columns[f"{metric}_difference_se"] = [
                    list(c) for c in zip(*pairs, strict=True)
                ]
        columns["bad"] = [int(row.bad.sum()) for row in self.rows]
        for name in ("known", "learned", "frozen", "tuned", "seconds", "strategy"):
            columns[name] = [getattr(row, name) for row in self.rows]
        return columns

    def markdown(self) -> str:
        """The table in Markdown, with its notes below."""
        header, *body = self._cells()
        rule = ["---", *["---:"] * (len(header) - 2), "---"]
        lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in (header, rule, *body)]
        return "\n".join([*lines, "", *self._notes()])

    def show(self) -> None:
        """Prints the table, through `rich` where standard output is a terminal."""
        if sys.stdout.isatty():
            from rich.console import Console

            Console().print(self)
        else:
            sys.stdout.write(f"{self}\n")

    def __str__(self) -> str:
        cells = self._cells()
        widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
        last = len(widths) - 1
        lines = [
            "  ".join(
                cell.ljust(width) if i in (0, last) else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in cells
        ]
        return "\n".join([lines[0], "─" * max(len(line) for line in lines), *lines[1:], *self._notes()])

    def __rich__(self) -> Any:
        from rich.table import Table
        from rich.text import Text

        header, *body = self._cells()
        table = Table(caption=Text("\n".join(self._notes())), caption_justify="left")
        for i, name in enumerate(header):
            table.add_column(Text(name), justify="left" if i in (0, len(header) - 1) else "right")
        for line in body:
            table.add_row(*(Text(cell) for cell in line))
        return table

    def _row(self, name: str) -> Row:
        for row in self.rows:
            if row.name == name:
                return row
        raise ValueError(f"there is no rule {name!r} in this comparison; it has {[row.name for row in self.rows]}.")

    def _cells(self) -> list[list[str]]:
        columns: list[list[str]] = [["rule", *(row.name for row in self.rows)]]
        for metric in self.metrics:
            columns.append([f"{metric} ± se", *_rounded([self.mean(row.name, metric) for row in self.rows], "")])
            if self.reference is not None:
                pairs = _rounded([self.difference(row.name, metric) for row in self.rows], "+")
                cells = ["" if row.name == self.reference else text for row, text in zip(self.rows, pairs, strict=True)]
                columns.append([f"− {self.reference} ± se", *cells])
        for name in ("bad", "learned", "frozen", "tuned"):
            counts = [int(row.bad.sum()) if name == "bad" else getattr(row, name) for row in self.rows]
            if name == "learned" or any(counts):
                columns.append([name, *(f"{count:,}" for count in counts)])
        if any(math.isfinite(row.seconds) for row in self.rows):
            columns.append(["time", *(_duration(row.seconds) for row in self.rows)])
        columns.append(["strategy", *(row.strategy for row in self.rows)])
        return [list(line) for line in zip(*columns, strict=True)]

    def _notes(self) -> list[str]:
        notes = [f"Mean ± standard error over {self.instances} instance{'s' if self.instances != 1 else ''}."]
        if self.reference is not None:
            notes.append(f"Differences to {self.reference} are paired by instance.")
        if any(row.bad.any() for row in self.rows):
            notes.append("Bad: instances whose decision or metric is not finite; means and differences leave them out.")
        if any(math.isfinite(row.seconds) for row in self.rows):
            notes.append("Time: median of one decision, batch size 1, after compilation.")
        return notes


def _mean(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard error, NaN where there are too few values for it."""
    mean = float(np.mean(values)) if len(values) else math.nan
    return mean, float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan


def _rounded(pairs: list[tuple[float, float]], sign: str) -> list[str]:
    """Means with their standard errors, as many decimals as two digits of the smallest standard error need."""
    errors = [error for _, error in pairs if math.isfinite(error) and error > 0]
    means = [abs(mean) for mean, _ in pairs if math.isfinite(mean)]
    scale = min(errors) if errors else 0.01 * max(means, default=1.0)
    decimals = 1 - math.floor(math.log10(scale)) if scale > 0 else 2
    kind = f"{max(decimals, 0)}f" if decimals <= 5 else "3g"
    texts = []
    for mean, error in pairs:
        text = format(mean, f"{sign}.{kind}") if math.isfinite(mean) else "–"
        texts.append(f"{text} ± {error:.{kind}}" if math.isfinite(error) else text)
    return texts


def _duration(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "–"
    for unit, name in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds / 1e-6:.3g} µs"
