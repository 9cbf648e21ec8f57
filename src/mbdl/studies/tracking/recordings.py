"""A user's recordings: observations, states where they are known, a mask, durations; from CSV, NPZ or Parquet."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

COLUMNS = (
    "Columns of a table: y1, y2, … are observations (empty or NaN: missing), s1, s2, … states where they are known, "
    "u1, u2, … control inputs, duration the time since the row before, sequence the number or name of the sequence "
    "that a row belongs to (one sequence where there is none). Arrays of an NPZ file: observations [time observation] "
    "or [runs time observation], and likewise states, control, present and duration"
)
"""What a file holds, in words."""


@dataclass(frozen=True)
class Recordings:
    """Sequences of equal length; shorter ones are filled up with missing observations.

    Attributes:
        observations: `[runs time observation]`, zero where there is none.
        present: which observations there are.
        states: `[runs time state]`, NaN where they are not known; `None` where none is.
        control: `[runs time control]`, or `None`.
        duration: `[runs time]`, or `None`.
    """

    observations: Float[np.ndarray, "runs time observation"]
    present: Bool[np.ndarray, "runs time observation"]
    states: Float[np.ndarray, "runs time state"] | None
    control: Float[np.ndarray, "runs time control"] | None
    duration: Float[np.ndarray, "runs time"] | None

    @property
    def runs(self) -> int:
        """How many sequences there are."""
        return len(self.observations)

    def part(self, which: Any) -> "Recordings":
        """Some of the sequences."""
        parts: Any = (None if value is None else value[which] for value in vars(self).values())
        return Recordings(*parts)

    def cut(self, parts: int) -> "Recordings":
        """Each sequence cut into as many consecutive ones; what does not fill the last one is left out."""
        length = self.observations.shape[1] // parts

        def pieces(value: Any) -> Any:
            if value is None:
                return None
            kept = value[:, : parts * length]
            return kept.reshape(-1, length, *value.shape[2:])

        return Recordings(*map(pieces, vars(self).values()))


def read_recordings(path: Path | str) -> Recordings:
    """Reads recordings.

    Args:
        path: a file that ends in `.csv`, `.npz` or `.parquet`.

    Returns:
        The recordings.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for another form, no observations, or arrays that do not go together; the message says what a file
            holds.
        ImportError: for Parquet without pyarrow.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    readers = {".csv": _read_csv, ".npz": _read_npz, ".parquet": _read_parquet}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path} does not end in .csv, .npz or .parquet. {COLUMNS}")
    return readers[path.suffix.lower()](path)


def _read_npz(path: Path) -> Recordings:
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: np.asarray(stored[name]) for name in stored.files}
    known = ("observations", "states", "control", "present", "duration")
    unknown = sorted(set(arrays) - set(known))
    if "observations" not in arrays or unknown:
        what = "has no array 'observations'" if "observations" not in arrays else f"has unknown arrays {unknown}"
        raise ValueError(f"{path} {what}. {COLUMNS}")
    axes, dimensions = {"duration": 2}, arrays["observations"].ndim
    for name, value in arrays.items():
        wanted = axes.get(name, 3)
        if name == "present" and value.ndim == dimensions - 1:
            value = value[..., None]
        if value.ndim == wanted - 1:
            value = value[None]
        if value.ndim != wanted:
            raise ValueError(f"{path}: {name} has shape {arrays[name].shape}. {COLUMNS}")
        arrays[name] = value
    lengths = {name: value.shape[:2] for name, value in arrays.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"{path}: the arrays differ in runs or times: {lengths}")
    present = np.broadcast_to(arrays.get("present", True), arrays["observations"].shape)
    return _recordings(
        arrays["observations"], present, arrays.get("states"), arrays.get("control"), arrays.get("duration")
    )


def _read_csv(path: Path) -> Recordings:
    with path.open(encoding="utf-8-sig") as file:
        header = [name.strip() for name in file.readline().split(",")]
        rows = [line.rstrip("\n").split(",") for line in file if line.strip()]
    wrong = [number for number, row in enumerate(rows, 2) if len(row) != len(header)]
    if wrong:
        raise ValueError(f"{path}: line {wrong[0]} has {len(rows[wrong[0] - 2])} fields and the header {len(header)}")
    table = {name: [row[place].strip() for row in rows] for place, name in enumerate(header)}
    return _from_table(path, table)


def _read_parquet(path: Path) -> Recordings:
    try:
        from pyarrow import parquet  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(f"reading {path} needs pyarrow: pip install 'mbdl[parquet]'") from error
    return _from_table(path, parquet.read_table(path).to_pydict())


def _from_table(path: Path, table: dict[str, list[Any]]) -> Recordings:
    unknown = [name for name in table if name not in ("duration", "sequence") and not _is_numbered(name)]
    if unknown:
        raise ValueError(f"{path} has a column {unknown[0]!r}. {COLUMNS}")
    groups = {letter: _columns(path, table, letter) for letter in "ysu"}
    if groups["y"] is None:
        raise ValueError(f"{path} has no column y1. {COLUMNS}")
    count = len(groups["y"])
    if count == 0:
        raise ValueError(f"{path} has no rows")
    labels = table.get("sequence", [0] * count)
    names = list(dict.fromkeys(labels))
    places = [np.flatnonzero([label == name for label in labels]) for name in names]
    longest = max(map(len, places))

    def stacked(values: Any, fill: float) -> Any:
        if values is None:
            return None
        found = np.full((len(places), longest, *values.shape[1:]), fill)
        for run, place in enumerate(places):
            found[run, : len(place)] = values[place]
        return found

    duration = _numbers(path, "duration", table["duration"]) if "duration" in table else None
    observations = stacked(groups["y"], np.nan)
    return _recordings(
        observations,
        np.isfinite(observations),
        stacked(groups["s"], np.nan),
        stacked(groups["u"], 0.0),
        stacked(duration, 1.0),
    )


def _is_numbered(name: str) -> bool:
    return name[:1] in tuple("ysu") and name[1:].isdigit()


def _columns(path: Path, table: dict[str, list[Any]], letter: str) -> np.ndarray | None:
    names = [f"{letter}{place}" for place in range(1, len(table) + 1) if f"{letter}{place}" in table]
    if not names:
        return None
    return np.stack([_numbers(path, name, table[name]) for name in names], axis=1)


def _numbers(path: Path, name: str, texts: list[Any]) -> np.ndarray:
    values = np.empty(len(texts))
    for row, text in enumerate(texts):
        try:
            values[row] = np.nan if text is None or text == "" else float(text)
        except ValueError:
            raise ValueError(f"{path}: column {name!r}, row {row + 1} is {text!r}, which is no number") from None
    return values


def _recordings(observations: Any, present: Any, states: Any, control: Any, duration: Any) -> Recordings:
    present = np.asarray(present, bool) & ~np.isnan(observations)
    if not present.any():
        raise ValueError("the recordings hold no observation: all are missing")
    filled = np.where(present, observations, 0.0).astype(np.float32)
    for name, value in (("observations", filled), ("control", control), ("duration", duration)):
        if value is not None and not np.all(np.isfinite(value)):
            raise ValueError(
                f"the recordings hold {int(np.sum(~np.isfinite(value)))} values of {name} that are not finite"
            )
    single = (None if value is None else np.asarray(value, np.float32) for value in (states, control, duration))
    known, control, duration = single
    return Recordings(filled, present, known, control, duration)
