"""Where a run stands: everything that the next step depends on, and the record so far."""

import dataclasses
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mbdl.training.history import History
from mbdl.training.program import Carry, Plan


@dataclasses.dataclass
class State:
    """The mutable state of a run on the host; `carry` and `best` live on the device."""

    carry: Carry
    best: Any = None
    best_value: float | None = None
    best_step: int = 0
    since_best: int = 0
    done: int = 0
    reported: int = 0
    used: tuple[int, int] = (0, 0)
    in_row: int = 0
    bad: int = 0
    reason: str | None = None
    seconds: float = 0.0
    losses: list[np.ndarray] = dataclasses.field(default_factory=list)
    gradient_norms: list[np.ndarray] = dataclasses.field(default_factory=list)
    skipped: list[np.ndarray] = dataclasses.field(default_factory=list)
    validation_steps: list[int] = dataclasses.field(default_factory=list)
    validation: list[float] = dataclasses.field(default_factory=list)
    started: float = dataclasses.field(default_factory=time.perf_counter)

    def validated(self, value: float) -> None:
        """Notes a validation, and the rule if it is the best so far."""
        self.validation_steps.append(self.done)
        self.validation.append(value)
        self.since_best += 1
        if np.isfinite(value) and (self.best_value is None or value < self.best_value):
            self.best, self.best_value, self.best_step, self.since_best = (
                copied(self.carry.learned),
                value,
                self.done,
                0,
            )

    def columns(self) -> dict[str, np.ndarray]:
        """The record as arrays."""
        return {
            "losses": _joined(self.losses, np.float64),
            "gradient_norms": _joined(self.gradient_norms, np.float64),
            "skipped": _joined(self.skipped, np.bool_),
            "validation_steps": np.asarray(self.validation_steps, np.int64),
            "validation": np.asarray(self.validation, np.float64),
        }

    def elapsed(self) -> float:
        """Seconds of the run, resumed parts included."""
        return self.seconds + time.perf_counter() - self.started

    def history(self, plan: Plan, interrupted: bool) -> History:
        """The record as the user gets it."""
        return History(
            steps=np.arange(1, self.done + 1),
            **self.columns(),
            best_step=self.done if self.best is None else self.best_step,
            interrupted=interrupted,
            reason=self.reason or "stopped early",
            seconds=self.elapsed(),
            plan=plan,
        )


def copied(tree: Any) -> Any:
    """The same arrays in buffers of their own, without weak types: a donated buffer is gone after a step."""
    return jax.tree.map(_copy, tree)


def _copy(leaf: Any) -> jax.Array:
    leaf = jnp.asarray(leaf)
    return jnp.array(leaf, dtype=leaf.dtype, copy=True)


def _joined(pieces: list[np.ndarray], dtype: Any) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype), *pieces]).astype(dtype)
