"""Measuring several programs against each other on a machine that is not quiet."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np


@dataclass
class Contender:
    """One side of a comparison.

    Args:
        name: what the table calls it.
        build: makes the program, which runs once a call and blocks until its result is there. Raises `Missing` when
            what it needs is not installed.
        note: a remark on the result, known once it has been built.
        preparation: seconds of preparation, where the contender knows them better than `measure`.
        check: called before the program is built, and not timed: raises where the contender does not compute what the
            others do, and returns the note.
    """

    name: str
    build: Callable[[], Callable[[], Any]]
    note: str = ""
    preparation: float | None = None
    check: Callable[[], str] | None = None


class Missing(Exception):
    """What a contender needs is not installed."""


@dataclass
class Measured:
    """Times of a contender, in seconds; empty with a reason when it could not run."""

    name: str
    times: list[float] = field(default_factory=list)
    preparation: float = 0.0
    note: str = ""
    reason: str = ""

    @property
    def median(self) -> float:
        return float(np.median(self.times)) if self.times else float("nan")


Tables = Iterator[tuple[str, list[Measured]]]
"""Tables of a benchmark by their titles, each as soon as it is measured."""

clock = time.perf_counter
"""What is measured: wall time, or with `--one-thread` the processor time of this process."""


def count_processor_time() -> None:
    """Makes `measure` count processor time instead of wall time."""
    global clock
    clock = time.process_time


def measure(contenders: list[Contender], *, rounds: int, pause: float = 0.05) -> list[Measured]:
    """Times every contender once a round, in turn, so that a disturbance of the machine hits all alike.

    The first call, with what is compiled in it, is timed apart (`preparation` is its excess over the median). Between
    two contenders there is a pause, since the threads of some libraries go on spinning for a while after their work.

    Args:
        contenders: what to run; the first is the reference of the ratios.
        rounds: how many times each is run.
        pause: seconds between two contenders.

    Returns:
        The times, in the order of the contenders.
    """
    measured, programs = [], []
    for contender in contenders:
        result = Measured(contender.name)
        try:
            if contender.check is not None:
                contender.note = contender.check()
            start = clock()
            program = contender.build()
            jax.block_until_ready(program())
            result.preparation = clock() - start
            result.note = contender.note
            programs.append((result, program, contender.preparation))
        except Missing as error:
            result.reason = str(error)
        measured.append(result)
    for _ in range(rounds):
        for result, program, _ in programs:
            time.sleep(pause)
            start = clock()
            jax.block_until_ready(program())
            result.times.append(clock() - start)
    for result, _, known in programs:
        result.preparation = max(result.preparation - result.median, 0.0) if known is None else known
    return measured


def ratios(measured: Measured, reference: Measured) -> np.ndarray:
    """The lower quartile, median and upper quartile of the ratio of times, taken round by round.

    Args:
        measured: the numerator.
        reference: the denominator.

    Returns:
        Three numbers; above 1 where the reference is faster. NaN when either did not run.
    """
    if not measured.times or not reference.times:
        return np.full(3, np.nan)
    return np.quantile(np.array(measured.times) / np.array(reference.times), [0.25, 0.5, 0.75])


def table(title: str, measured: list[Measured]) -> str:
    """A table of the times, with the ratio of each contender to the first that ran.

    Args:
        title: its heading.
        measured: what `measure` returned.

    Returns:
        Lines of text.
    """
    reference = next((m for m in measured if m.times), None)
    width = max(len(m.name) for m in measured)
    lines = [title, f"  {'':{width}}  {'median':>10}  {'quartiles':>19}  {'ratio to first':>22}  {'prepare':>8}"]
    for m in measured:
        if reference is None or not m.times:
            lines.append(f"  {m.name:{width}}  {m.reason}")
            continue
        low, high = np.quantile(m.times, [0.25, 0.75])
        first, middle, last = ratios(m, reference)
        lines.append(
            f"  {m.name:{width}}  {1e3 * m.median:7.1f} ms  {1e3 * low:8.1f} – {1e3 * high:<8.1f}"
            f"  {middle:6.2f} ({first:5.2f} – {last:5.2f})  {m.preparation:6.1f} s  {m.note}".rstrip()
        )
    return "\n".join(lines)


def record(measured: list[Measured]) -> dict[str, Any]:
    """The times as plain values for a JSON file.

    Args:
        measured: what `measure` returned.

    Returns:
        A dictionary by the contenders' names.
    """
    reference = next((m for m in measured if m.times), None)
    return {
        m.name: (
            {"missing": m.reason}
            if reference is None or not m.times
            else {
                "seconds": m.times,
                "preparation_seconds": m.preparation,
                "ratio_quartiles": ratios(m, reference).tolist(),
                "note": m.note,
            }
        )
        for m in measured
    }
