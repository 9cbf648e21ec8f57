"""The search finds a maximum that lies strictly inside what was tried."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbdl.studies.search import log_search, pair_search, simplex_search


@given(peak=st.floats(1e-6, 1e6), start=st.floats(1e-3, 1e3))
@settings(max_examples=60, deadline=None)
def test_the_peak_is_found_to_the_grid_and_lies_inside(peak, start):
    found = log_search(lambda value: -abs(math.log(value / peak)), start, factor=2.0, refinements=2)
    assert found.tried[0][0] < found.best < found.tried[-1][0]
    assert abs(math.log2(found.best / peak)) <= 0.125 + 1e-9
    assert all(score <= dict(found.tried)[found.best] for _, score in found.tried)


def test_a_score_that_keeps_rising_is_an_error():
    with pytest.raises(ValueError, match="keeps rising"):
        log_search(math.log, 1.0)


def test_a_plateau_ends():
    found = log_search(lambda value: 0.0, 1.0)
    assert found.tried[0][0] < found.best < found.tried[-1][0]


@pytest.mark.parametrize(("start", "factor"), [(0.0, 2.0), (-1.0, 2.0), (1.0, 1.0)])
def test_arguments_out_of_range(start, factor):
    with pytest.raises(ValueError, match="begins at a positive number"):
        log_search(lambda value: value, start, factor=factor)


@given(
    peak=st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)),
    start=st.tuples(st.floats(1e-2, 1e2), st.floats(1e-2, 1e2)),
    tilt=st.floats(-0.3, 0.3),
)
@settings(max_examples=40, deadline=None)
def test_a_pair_is_found_that_neither_search_moves(peak, start, tilt):
    def score(first, second):
        x, y = math.log(first / peak[0]), math.log(second / peak[1])
        return -(x**2) - y**2 - 2 * tilt * x * y

    found = pair_search(score, start)
    assert score(*found.best) >= score(*start)
    for place, tried in enumerate(found.rounds[-1]):
        values = [value for value, _ in tried]
        assert values[0] < found.best[place] < values[-1]
        assert max(value for _, value in tried) == score(*found.best)
    # Neither neighbour is better, so each number is within half a ratio of the best beside the other.
    offsets = [math.log(value / top) for value, top in zip(found.best, peak, strict=True)]
    for one, other in (offsets, offsets[::-1]):
        assert abs(one + tilt * other) <= math.log(2) / 4 + 1e-9


def test_a_pair_that_goes_on_moving_is_an_error():
    def ridge(first, second):
        """Rises along the diagonal, one step of the grid at a time."""
        return -abs(math.log2(first / second) - 0.5) + 0.01 * math.log2(first * second)

    with pytest.raises(ValueError, match="after 30 rounds with ratio 2 the best pair still moves, last from"):
        pair_search(ridge, (1.0, 1.0))


@given(peak=st.lists(st.floats(0.01, 100.0), min_size=2, max_size=3), bend=st.floats(0.0, 0.95))
@settings(max_examples=30, deadline=None)
def test_numbers_that_depend_on_each_other_are_found_together(peak, bend):
    """A narrow valley across the axes, of which a search for one number after the other meets the side alone."""
    size = len(peak)
    shape = np.linalg.inv((1 - bend) * np.eye(size) + bend)

    def score(numbers):
        away = np.log(numbers / np.asarray(peak))
        return 1.0 - away @ shape @ away

    found = simplex_search(score, [1.0] * size)
    assert score(found) > 1.0 - 2e-3


def test_no_score_below_that_of_the_start_is_returned():
    calls = []

    def score(numbers):
        calls.append(numbers)
        return 1.0 if len(calls) == 1 else math.nan

    assert simplex_search(score, (2.0, 0.5), most=20).tolist() == [2.0, 0.5]
    assert len(calls) <= 21
    with pytest.raises(ValueError, match="the score at the start"):
        simplex_search(lambda numbers: math.nan, (1.0,))
    with pytest.raises(ValueError, match="begins at positive numbers"):
        simplex_search(score, (1.0, -1.0))
