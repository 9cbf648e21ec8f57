"""The loop around the compiled steps: dispatch, validate, report, checkpoint, stop."""

import dataclasses
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from mbdl.core import combine
from mbdl.training.batches import BatchesEnded, Orders, Stream
from mbdl.training.checkpoint import Checkpoint
from mbdl.training.history import Fit, NonFiniteError
from mbdl.training.interrupt import Interrupt
from mbdl.training.program import Inputs, Plan, Programs, Record
from mbdl.training.progress import Progress
from mbdl.training.risk import HOW_TO_STAY_FINITE, AbstractExampleRisk
from mbdl.training.sharding import gathered
from mbdl.training.state import State, copied
from mbdl.training.validation import Validator

# Long enough that what a dispatch costs by itself (on CPU, fresh memory for all temporaries) is small beside it; short
# enough for a lively progress bar and a prompt Ctrl-C.
_SECONDS_PER_DISPATCH = 0.5

Callback = Callable[[int, dict[str, float], Callable[[], Any]], bool | None]


class Every(NamedTuple):
    """A callback and how often it is called; made by `every`."""

    steps: int
    callback: Callback


def every(steps: int, callback: Callback) -> Every:
    """A callback that `fit` calls after every `steps` steps instead of after each.

    A compiled dispatch ends where a callback is due, so that a rare callback costs nothing.

    Args:
        steps: how often, at least 1.
        callback: a function `(step, metrics, rule) -> None | True`.

    Raises:
        ValueError: if `steps` is not an integer ≥ 1.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"every wants a number of steps ≥ 1, but got {steps!r}.")
    return Every(steps, callback)


class Settings(NamedTuple):
    """The options of `fit` that the loop reads."""

    steps: int
    validate_every: int
    patience: int | None
    non_finite_limit: int
    bad_limit: int


@dataclasses.dataclass
class Run:
    """One call of `fit`, from where `state` stands to its end."""

    state: State
    rest: Any
    risk: Any
    programs: Programs
    plan: Plan
    inputs: Inputs
    orders: Orders | None
    stream: Stream | None
    validator: Validator | None
    callbacks: Sequence[Every]
    checkpoint: Checkpoint | None
    settings: Settings
    interrupt: Interrupt
    progress: Progress
    mesh: Mesh | None

    def __post_init__(self) -> None:
        self._count, self._pace = 0, float("inf")

    def to_the_end(self) -> Fit:
        """Trains until the steps are made, the validation no longer improves, or something stops it."""
        state, settings = self.state, self.settings
        while state.reason is None:
            if not self._validate_if_due():
                break
            self._report()
            if state.reason is None and state.done == settings.steps:
                state.reason = "all steps were made"
            if state.reason is not None or self.interrupt.requested:
                break
            if self.checkpoint is not None and self.checkpoint.due(state.done):
                self.checkpoint.save(state)
            self._dispatch()
        interrupted = state.reason is None
        if self.checkpoint is not None:
            self.checkpoint.save(state)
        if self.validator is not None and state.best is None and not interrupted:
            raise NonFiniteError(
                f"the validation risk was never finite ({len(state.validation)} times until step {state.done}), so "
                "there is no best rule. The last rule is in error.fit. Look for NaN in the validation data, or for a "
                "rule that diverges on it.",
                state.done,
                self.fit(interrupted),
            )
        return self.fit(interrupted)

    def fit(self, interrupted: bool = False) -> Fit:
        """The result as it stands."""
        state = self.state
        learned = gathered(copied(state.carry.learned if state.best is None else state.best), self.mesh)
        history = state.history(self.plan, interrupted)
        if interrupted:
            history = dataclasses.replace(history, reason="interrupted")
        return Fit(combine(learned, self.rest), history)

    def _dispatch(self) -> None:
        state = self.state
        count, started = self._next_count(), time.perf_counter()
        try:
            record = self._scanned(count) if self.plan.scanned else self._singly(count)
        except BatchesEnded:
            state.reason = f"the batches ended after {state.done} of {self.settings.steps} steps"
            warnings.warn(
                f"{state.reason}; give a list of batches or a function of the epoch to go on.",
                UserWarning,
                stacklevel=4,
            )
            return
        count = len(record.loss)
        seconds = (time.perf_counter() - started) / count
        # The first dispatch of a program compiles it, so its time says nothing.
        self._pace = seconds if self._count else float("inf")
        self._count = count
        self._note(record)
        self.progress.update(state.done, record.loss, state.validation[-1] if state.validation else None)

    def _next_count(self) -> int:
        """How many steps to run at once: about half a second's worth, never past something that is due."""
        done, settings = self.state.done, self.settings
        bound = settings.steps - done
        periods = [callback.steps for callback in self.callbacks]
        if self.validator is not None:
            periods.append(settings.validate_every)
        if self.checkpoint is not None and self.checkpoint.every is not None:
            periods.append(self.checkpoint.every)
        for period in periods:
            bound = min(bound, period - done % period)
        if self.orders is not None:
            bound = min(bound, self.orders.cover(done))
        if self.plan.scanned:
            bound = min(bound, self.plan.steps_per_dispatch)
        wanted = 8 * self._count if self._pace == 0 else min(8 * self._count, int(_SECONDS_PER_DISPATCH / self._pace))
        return max(1, min(bound, wanted))

    def _scanned(self, count: int) -> Record:
        orders, first_epoch = self._order()
        self.state.carry, records = self.programs.many(
            self.state.carry, self.inputs, orders, first_epoch, np.int32(self.state.done), np.int32(count)
        )
        return Record(*(np.asarray(column)[:count] for column in records))

    def _singly(self, count: int) -> Record:
        state, records = self.state, []
        for i in range(count):
            if self.orders is not None:
                self.orders.cover(state.done + i)
            orders, first_epoch = self._order()
            batch = None
            if self.stream is not None:
                try:
                    batch = self.stream.take()
                except BatchesEnded:
                    if not records:
                        raise
                    break
            state.carry, record = self.programs.one(
                state.carry, self.inputs, orders, first_epoch, batch, np.int32(state.done + i)
            )
            records.append(record)
            if self.stream is not None:
                state.used = self.stream.used
                if state.done + i + 1 < self.settings.steps:
                    self.stream.prefetch()
        return Record(*(np.stack([np.asarray(value) for value in column]) for column in zip(*records, strict=True)))

    def _order(self) -> tuple[Any, Any]:
        if self.orders is None:
            return None, np.int32(0)
        return self.orders.table, np.int32(self.orders.first_epoch)

    def _note(self, record: Record) -> None:
        """Adds the record of a dispatch to the history; raises where the compiled program found too many bad steps."""
        state, settings = self.state, self.settings
        for i, good in enumerate(record.good):
            state.in_row = 0 if good else state.in_row + 1
            state.bad += not good
            if state.in_row >= settings.non_finite_limit or state.bad > settings.bad_limit:
                self._append(record, i + 1)
                self._fail()
        self._append(record, len(record.good))

    def _append(self, record: Record, count: int) -> None:
        state = self.state
        state.losses.append(record.loss[:count])
        state.gradient_norms.append(record.gradient_norm[:count])
        state.skipped.append(~record.good[:count])
        state.done += count

    def _fail(self) -> None:
        state = self.state
        state.reason = "too many steps were not finite"
        raise NonFiniteError(
            f"training stopped at step {state.done}: its loss, gradient or result was not finite, the {state.in_row}. "
            f"time in a row and {state.bad} times in all (limits: {self.settings.non_finite_limit} in a row, "
            f"{self.settings.bad_limit} in all). These steps were skipped; the last good rule is in error.fit. "
            f"{self._why()}",
            state.done,
            self.fit(),
        )

    def _why(self) -> str:
        """What the risk says of the step just made; a batch of an iterable is gone, so that nothing is said of it."""
        if not isinstance(self.risk, AbstractExampleRisk) or self.stream is not None:
            return HOW_TO_STAY_FINITE
        number, inputs = np.int32(self.state.done - 1), gathered(self.inputs, self.mesh)
        # A bad step changes nothing, so that the rule of that step is the one that is left.
        rule = combine(gathered(self.state.carry.learned, self.mesh), self.rest)
        batch = self.programs.batch(inputs, *self._order(), None, number)
        return self.risk.why_not_finite(rule, batch, jax.random.fold_in(inputs.key, number))

    def _validate_if_due(self) -> bool:
        """Validates where it is due and not done yet; False if it was interrupted."""
        state, settings = self.state, self.settings
        due = state.done % settings.validate_every == 0 or state.done == settings.steps
        if self.validator is None or not due or (state.validation_steps and state.validation_steps[-1] == state.done):
            return True
        value = self.validator(state.carry.learned, lambda: self.interrupt.requested)
        if value is None:
            return False
        state.validated(value)
        if settings.patience is not None and state.since_best >= settings.patience:
            state.reason = f"{settings.patience} validations in a row brought no improvement"
        return True

    def _report(self) -> None:
        """Calls the callbacks that are due at the step just made."""
        state = self.state
        if state.reported == state.done:
            return
        state.reported = state.done
        metrics = {
            "loss": float(state.losses[-1][-1]),
            "gradient_norm": float(state.gradient_norms[-1][-1]),
            "skipped": float(state.bad),
        }
        if state.validation_steps and state.validation_steps[-1] == state.done:
            metrics["validation"] = state.validation[-1]
        for callback in self.callbacks:
            if state.done % callback.steps and state.done != self.settings.steps:
                continue
            answer = callback.callback(
                state.done,
                dict(metrics),
                lambda: combine(gathered(copied(state.carry.learned), self.mesh), self.rest),
            )
            if answer is not None and not isinstance(answer, bool | np.bool_):
                raise TypeError(f"a callback returns None to go on or True to stop, but one returned {answer!r}.")
            if answer and state.reason is None:
                state.reason = "a callback stopped it"
