"""Searches for positive numbers: on logarithmic grids, widened until the best value lies strictly inside, or by a
simplex."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import scipy.optimize

LIMIT = 40
ROUNDS = 30


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


class PairSearch(NamedTuple):
    """What a search for two numbers found.

    Attributes:
        best: the pair with the highest score.
        rounds: for each round the values that were tried for the first and for the second number, in ascending order,
            with their scores.
    """

    best: tuple[float, float]
    rounds: list[tuple[list[tuple[float, float]], list[tuple[float, float]]]]


def pair_search(
    score: Callable[[float, float], float], start: tuple[float, float], *, factors: Sequence[float] = (2.0, 2.0**0.5)
) -> PairSearch:
    """Finds two positive numbers of the highest score by searching one after the other until neither moves.

    Each round searches the first number and then the second, as `log_search` does, from where the round before ended.
    When a round moves neither, the next ratio is taken.

    Args:
        score: of the first and the second number; the higher the better.
        start: where both grids begin; positive.
        factors: the grids' ratios, one after the other, each above one.

    Returns:
        The best pair, which its last round did not move: each number with a smaller and a larger one that were tried
        beside the other and are not better.

    Raises:
        ValueError: for a start or a factor out of range, if a number leaves a range of many decades, or if the pair
            still moves after many rounds.

    Example:
        >>> import math
        >>> found = pair_search(lambda a, b: -(math.log(a / 3.0) ** 2) - math.log(a * b) ** 2, (1.0, 1.0))
        >>> tuple(round(value, 2) for value in found.best)
        (2.83, 0.35)
    """
    first, second = start
    rounds = []
    for factor in factors:
        for _ in range(ROUNDS):
            before = first, second
            over_first = log_search(
                lambda value, other=second: score(value, other), first, factor=factor, refinements=0
            )
            first = over_first.best
            over_second = log_search(
                lambda value, other=first: score(other, value), second, factor=factor, refinements=0
            )
            second = over_second.best
            rounds.append((over_first.tried, over_second.tried))
            if (first, second) == before:
                break
        else:
            raise ValueError(
                f"after {ROUNDS} rounds with ratio {factor:g} the best pair still moves, last from "
                f"({before[0]:g}, {before[1]:g}) to ({first:g}, {second:g}); begin nearer to it, or with a larger ratio"
            )
    return PairSearch((first, second), rounds)


def simplex_search(
    score: Callable[[np.ndarray], float], start: Sequence[float], *, factor: float = 2.0, most: int = 400
) -> np.ndarray:
    """Finds several positive numbers of the highest score by Nelder and Mead's method in their logarithms.

    For numbers that depend on each other, where a search for one after the other stops early. It begins again around
    the best numbers until that no longer raises the score.

    Args:
        score: of all numbers; the higher the better, the same at each call.
        start: where the search begins; positive.
        factor: between the corners of a first simplex, above one.
        most: calls of the score.

    Returns:
        The numbers with the highest score, never lower than that of the start.

    Raises:
        ValueError: for a start or a factor out of range, or a score that is not finite at the start.

    Example:
        >>> import numpy as np
        >>> valley = lambda x: -np.log(x[0] * x[1]) ** 2 - 0.01 * np.log(x[0] / 9) ** 2
        >>> simplex_search(valley, (1.0, 1.0)).round(1).tolist()
        [9.0, 0.1]
    """
    if not all(0 < number < np.inf for number in start) or not factor > 1:
        raise ValueError(f"a search begins at positive numbers with a factor above one; got {start} and {factor}")
    best = np.log(np.asarray(start, np.float64))
    highest, calls = float(score(np.exp(best))), 1
    if not np.isfinite(highest):
        raise ValueError(f"the score at the start {start} is {highest}")

    def loss(logarithms: np.ndarray) -> float:
        value = -float(score(np.exp(logarithms)))
        return value if np.isfinite(value) else np.inf

    while calls < most:
        corners = np.concatenate([best[None], best + np.log(factor) * np.eye(len(best))])
        options = {"initial_simplex": corners, "xatol": 0.02, "fatol": 1e-4 * abs(highest), "maxfev": most - calls}
        found = scipy.optimize.minimize(loss, best, method="Nelder-Mead", options=options)
        calls += found.nfev
        rise = -found.fun - highest
        if rise > 0:
            best, highest = found.x, -found.fun
        if rise <= 1e-3 * abs(highest):
            break
    return np.exp(best)
