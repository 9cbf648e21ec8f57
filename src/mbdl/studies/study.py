"""A study: settings, stages that each find something, and the results made of what they found."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Key

from mbdl.core import DecisionRule, load, save
from mbdl.studies.folder import RunFolder


@dataclass(frozen=True)
class Stage:
    """One part of a study, finished whole or done again.

    Args:
        name: its name among the stages, and of the file that records what it found.
        title: what it does, for the person who watches.
        action: takes the run, returns what was found as plain numbers, words, lists and dictionaries. It reads what
            earlier stages found from the run alone, never from memory, so that a resumed run finds the same.
        cost: roughly how many seconds it takes, by which the remaining time is guessed.
    """

    name: str
    title: str
    action: Callable[["Run"], Any]
    cost: float = 1.0


@dataclass(frozen=True)
class Study:
    """One comparison: a problem, and rules for it along the spectrum.

    Args:
        name: what the command line calls it.
        summary: one line that says what it compares.
        settings: a frozen dataclass whose fields have defaults and `help` in their metadata.
        quick: the settings that differ in a quick run.
        stages: the stages of a run, in order.
        results: collects what the stages found, in the form that `mbdl.report` renders; see `mbdl.studies.results`.
    """

    name: str
    summary: str
    settings: type
    quick: Mapping[str, Any]
    stages: Callable[["Run"], Sequence[Stage]]
    results: Callable[["Run"], dict[str, Any]]


@dataclass
class Run:
    """A study under way in a folder.

    Args:
        study: the study.
        settings: its settings.
        seed: the number that all random keys are made from.
        quick: whether this is a quick run, which is no evidence.
        curves: whether the curves are asked for.
        folder: where it is written.
        progress: whether to show progress bars.
        announce: is told, in one line each, what happens within a stage.
    """

    study: Study
    settings: Any
    seed: int
    quick: bool
    curves: bool
    folder: RunFolder
    progress: bool = False
    announce: Callable[[str], None] = lambda line: None
    memory: dict[str, Any] = field(default_factory=dict)

    def key(self, *names: str | int) -> Key[Array, ""]:
        """A random key of its own for a purpose, whatever was drawn before."""
        key = jax.random.key(self.seed)
        for name in names:
            key = jax.random.fold_in(key, name if isinstance(name, int) else zlib.crc32(name.encode()))
        return key

    def __getitem__(self, stage: str) -> Any:
        """What a finished stage found."""
        return self.folder.stage(stage)["result"]

    def seconds(self, stage: str) -> float:
        """How long a finished stage took."""
        return self.folder.stage(stage)["seconds"]

    def remember(self, name: str, make: Callable[[], Any]) -> Any:
        """A value that is made once a process, from the settings and the seed alone."""
        if name not in self.memory:
            self.memory[name] = make()
        return self.memory[name]

    def save_rule(self, name: str, rule: DecisionRule) -> None:
        """Saves a rule as `rules/NAME.mbdl`."""
        with self.folder.replacing(f"rules/{name}.mbdl") as path:
            save(path, rule)

    def load_rule(self, name: str) -> DecisionRule:
        """Loads a rule that an earlier stage saved."""
        return load(self.folder.path / "rules" / f"{name}.mbdl")

    def save_arrays(self, name: str, **arrays: np.ndarray) -> Path:
        """Saves arrays as `pictures/NAME.npz` and returns the path within the folder."""
        relative = Path("pictures") / f"{name}.npz"
        with self.folder.replacing(str(relative)) as path, path.open("wb") as file:
            np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]
        return relative
