"""Ctrl-C as a request to stop after the current steps; a second one stops at once."""

import signal
import sys
import threading
from types import FrameType
from typing import Any


class Interrupt:
    """A context in which the first Ctrl-C is noted and any further one is handled as it was outside.

    A context around this one notes it too, so that what runs many fits stops after the one that Ctrl-C met. Outside
    the main thread, and where something else than Python handles Ctrl-C, nothing is changed.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: Any = None

    def __enter__(self) -> "Interrupt":
        previous = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is threading.main_thread() and callable(previous):
            self._previous = previous
            signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            self._previous(number, frame)
        elif sys.stderr is not None and sys.stderr.isatty():
            sys.stderr.write("\nfit stops after the current steps; Ctrl-C again stops it at once.\n")
        self._note()

    def _note(self) -> None:
        self.requested = True
        outer = getattr(self._previous, "__self__", None)
        if isinstance(outer, Interrupt):
            outer._note()
