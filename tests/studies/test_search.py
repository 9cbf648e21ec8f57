"""The search finds a maximum that lies strictly inside what was tried."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbdl.studies.search import log_search


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
