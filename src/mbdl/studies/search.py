"""Searches for a positive number on a logarithmic grid, widened until the best value lies strictly inside."""

from collections.abc import Callable
from typing import NamedTuple

LIMIT = 40


class Search(NamedTuple):
    """What a search found.

    Attributes:
        best: the value with the highest score.
        tried: every value that was tried, in ascending order, with its score.
    """

    best: float
    tried: list[tuple[float, float]]


def log_search(score: Callable[[float], float], start: float, *, factor: float = 2.0, refinements: int = 1) -> Search:
    """Finds the positive number of the highest score on a grid of equal ratios.

    The grid is widened while its best value is its smallest or its largest. It is then refined around the best value,
    the ratio's square root each time.

    Args:
        score: the higher the better.
        start: where the grid begins; positive.
        factor: the grid's first ratio, above one.
        refinements: how often it is refined.

    Returns:
        The best value, with smaller and larger ones that were tried and are worse.

    Raises:
        ValueError: for a start or a factor out of range, or if no best value is found inside a range of many decades.

    Example:
        >>> import math
        >>> found = log_search(lambda value: -abs(math.log(value / 3.0)), 100.0)
        >>> round(found.best, 2), found.tried[0][0] < found.best < found.tried[-1][0]
        (3.12, True)
    """
    if not start > 0 or not factor > 1:
        raise ValueError(f"a search begins at a positive number with a factor above one; got {start} and {factor}")
    steps = {0: score(start)}
    low = high = 0
    while True:
        best = max(steps, key=lambda place: (steps[place], -abs(place)))
        if best == low:
            low -= 1
            steps[low] = score(start * factor**low)
        elif best == high:
            high += 1
            steps[high] = score(start * factor**high)
        else:
            break
        if high - low > LIMIT:
            raise ValueError(f"the score keeps rising from {start * factor**low:g} to {start * factor**high:g}")
    tried = {start * factor**place: value for place, value in steps.items()}
    for _ in range(refinements):
        factor = factor**0.5
        best = max(tried, key=lambda value: tried[value])
        for value in (best / factor, best * factor):
            tried[value] = score(value)
    best = max(tried, key=lambda value: tried[value])
    return Search(best, sorted(tried.items()))
