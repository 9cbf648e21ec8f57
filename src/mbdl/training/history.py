"""What `fit` returns: the trained rule and the record of its training."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from mbdl.training.program import Plan


@dataclasses.dataclass(frozen=True)
class History:
    """The record of a training run, as NumPy arrays.

    Steps are numbered from 1; a validation at step k was made after k steps, the first one at step 0.

    Attributes:
        steps: the numbers 1 … n of the steps that were made.
        losses: the risk of each step's batch, before the step; not finite where the step was skipped for that.
        gradient_norms: the global norm of each step's gradient, before clipping.
        skipped: which steps were skipped because the loss, the gradient or the result was not finite.
        validation_steps: after how many steps each validation was made.
        validation: the validation risk.
        best_step: after how many steps the returned rule was, by validation; the last step where nothing was validated.
        interrupted: whether Ctrl-C ended the run.
        reason: why the run ended, in words.
        seconds: wall-clock time of the run in seconds, compilation included and summed over resumed parts; apart from
            the rest because it is the one thing that differs between equal runs.
        plan: how steps were dispatched.
    """

    steps: Int[np.ndarray, " steps"]
    losses: Float[np.ndarray, " steps"]
    gradient_norms: Float[np.ndarray, " steps"]
    skipped: Bool[np.ndarray, " steps"]
    validation_steps: Int[np.ndarray, " validations"]
    validation: Float[np.ndarray, " validations"]
    best_step: int
    interrupted: bool
    reason: str
    seconds: float
    plan: Plan

    def __str__(self) -> str:
        parts = [f"{len(self.steps)} steps in {self.seconds:.1f} s ({self.reason})"]
        if len(self.losses):
            parts.append(f"last loss {self.losses[-1]:.4g}")
        if len(self.validation):
            parts.append(f"best validation {np.nanmin(self.validation):.4g} after {self.best_step} steps")
        if self.skipped.any():
            parts.append(f"{int(self.skipped.sum())} steps skipped, not finite")
        return ", ".join(parts)


class Fit(NamedTuple):
    """A trained rule and the history of its training.

    Attributes:
        rule: the best rule by validation, or the last one where there was no validation.
        history: the record of the run.
    """

    rule: Any
    history: History


class NonFiniteError(ArithmeticError):
    """Training met too many losses or gradients that are not finite.

    Attributes:
        step: the number of the step at which it stopped.
        fit: the last good result, as `fit` would have returned it.
    """

    def __init__(self, message: str, step: int, fit: Fit):
        super().__init__(message)
        self.step = step
        self.fit = fit
