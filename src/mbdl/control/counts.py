"""Numbers of steps, runs and controls, as they are given."""

from typing import Any


def check_counts(counts: dict[str, Any], what: str) -> None:
    """Raise for what is no number of at least one: of steps, runs, controls.

    Raises:
        ValueError: naming the first of them.
    """
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{what}: expected {name} of at least 1, got {value!r}")
