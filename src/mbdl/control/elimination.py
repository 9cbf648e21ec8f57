"""Which variables and rows of a parametrised quadratic program can be eliminated, whatever its parameters are."""

import dataclasses

import numpy as np
import scipy.sparse

from .canonical import CanonicalProblem
from .probes import ZERO, Probes, probe, thetas, way_back

# Coefficients of a row of the equalities that are smaller, relative to the row's largest one, are no pivots.
_SMALLEST_PIVOT = 1e-4
# The same for a row of the inequalities: to eliminate by it is a choice, which must not cost accuracy.
_SMALLEST_TIGHT = 0.1
# What an eliminated variable may be at most of one that is left, where there is a choice.
_GROWTH = 10.0

Row = dict[int, float | None]
Sides = tuple[list[int], list[int]]


@dataclasses.dataclass(frozen=True)
class Elimination:
    """What is left of a parametrised quadratic program.

    Attributes:
        pivots: the rows that hold with equality, each with a variable that they give. Their matrix is invertible for
            all parameters: its determinant does not depend on them.
        kept: the variables that are left.
        equalities: the rows that are left of the equalities.
        general: for each two-sided inequality the rows that bound it from below, and those that bound it from above;
            the first of them gives its coefficients.
        bounds: the same for each variable that is left; the coefficients are one.
        conditions: the inequalities without variables, which parameters and context alone keep or break.
        scales: for every row, what it is divided by.
    """

    pivots: list[tuple[int, int]]
    kept: list[int]
    equalities: list[int]
    general: list[Sides]
    bounds: list[Sides]
    conditions: list[int]
    scales: np.ndarray


def eliminate(problem: CanonicalProblem) -> Elimination:
    """Eliminate equalities and auxiliary variables, and find bounds and two-sided inequalities.

    An equality gives a variable whose coefficient in it is a known number; auxiliary variables go first. A variable
    that has no cost, and that one inequality alone bounds from one side, loses nothing by that inequality being tight
    (the epigraph variable of a norm that is bounded): it is eliminated by it. Then opposite inequalities are merged
    into two-sided ones, and those of one variable with a known coefficient are bounds.

    Raises:
        ValueError: for equalities that depend on each other, an inequality that never holds, and where equalities
            determine all variables.
    """
    decided = set(problem.decision.index[problem.decision.index >= 0].tolist())
    pivots, dependent = _pivots(_rows(problem)[: problem.equalities], decided)
    pivots = _exchanged(problem, pivots, decided)
    while True:
        probes = probe(problem, pivots)
        tight = _tight(problem, probes, pivots, decided)
        if not tight:
            break
        pivots += tight
    used = {row for row, _ in pivots}
    equalities = [row for row in range(problem.equalities) if row not in used and row not in dependent]
    for row in dependent:
        if not probes.offset_is_zero(row):
            raise ValueError(
                "ConvexPolicy: the equality constraints of the problem depend on each other, so that they hold "
                f"together for some parameters alone (row {row} of {problem.equalities}). Remove the redundant one"
            )
    if not probes.kept:
        raise ValueError(
            "ConvexPolicy: the equality constraints determine all variables, so that nothing is left to decide"
        )
    inequalities = [row for row in range(problem.equalities, probes.rows) if row not in used]
    general, bounds, conditions, scales = _sides(probes, inequalities)
    return Elimination(pivots, probes.kept, equalities, general, bounds, conditions, scales)


def _rows(problem: CanonicalProblem) -> list[Row]:
    """The coefficients of every row by variable: the number, or `None` where parameters or context are in it."""
    size = problem.linear.shape[0]
    count = problem.offset.shape[0]
    found: list[Row] = [{} for _ in range(count)]
    entries = scipy.sparse.coo_array(problem.matrix)
    last = problem.matrix.shape[1] - 1
    for position, column, value in zip(entries.coords[0], entries.coords[1], entries.data, strict=True):
        variable, row = divmod(int(position), count)
        if value != 0:
            known = column == last and variable not in found[row]
            found[row][variable] = float(value) if known else None
    assert all(variable < size for row in found for variable in row)
    return found


def _pivots(rows: list[Row], last: set[int]) -> tuple[list[tuple[int, int]], list[int]]:
    """Gaussian elimination with known numbers as pivots: the pivots in order, and the rows that come out empty."""
    active = {index: dict(row) for index, row in enumerate(rows)}
    chosen: list[tuple[int, int]] = []
    while True:
        counts: dict[int, int] = {}
        for row in active.values():
            for variable in row:
                counts[variable] = counts.get(variable, 0) + 1
        candidates = [
            ((variable in last, (len(row) - 1) * (counts[variable] - 1), -abs(value)), index, variable)
            for index, row in active.items()
            for variable, value in row.items()
            if value is not None and abs(value) >= _SMALLEST_PIVOT * max(abs(v) for v in row.values() if v is not None)
        ]
        if not candidates:
            return chosen, [index for index, row in active.items() if not row]
        _, index, pivot = min(candidates)
        chosen.append((index, pivot))
        eliminating = active.pop(index)
        for row in active.values():
            if pivot in row:
                _subtract(row, eliminating, pivot)


def _subtract(row: Row, eliminating: Row, pivot: int) -> None:
    factor, divisor = row.pop(pivot), eliminating[pivot]
    assert divisor is not None
    for variable, value in eliminating.items():
        if variable == pivot:
            continue
        old = row.get(variable, 0.0)
        if factor is None or value is None or old is None:
            row[variable] = None
            continue
        change = factor / divisor * value
        if abs(old - change) > ZERO * (abs(old) + abs(change)):
            row[variable] = old - change
        else:
            row.pop(variable, None)


def _exchanged(problem: CanonicalProblem, pivots: list[tuple[int, int]], decided: set[int]) -> list[tuple[int, int]]:
    """The pivots with variables exchanged, until none that is eliminated is a large multiple of one that is left.

    An exchange multiplies the determinant by that multiple, which must be a known number. So it stays independent of
    the parameters, and grows, which comes to an end.
    """
    if not pivots or len(pivots) == problem.linear.shape[0]:
        return pivots
    eliminated = [variable for _, variable in pivots]
    probes = [way_back(problem, pivots, theta) for theta in thetas(problem)]
    kept = probes[0].kept
    S = np.stack([probe.S[eliminated] for probe in probes])
    free = np.asarray([variable not in decided for variable in kept])
    while True:
        known = np.ptp(S, axis=0) <= ZERO * np.abs(S).max(axis=0)
        sizes = np.where(known & free, np.abs(S[0]), 0.0)
        i, j = np.unravel_index(np.argmax(sizes), sizes.shape)
        if sizes[i, j] <= _GROWTH:
            return [(row, variable) for (row, _), variable in zip(pivots, eliminated, strict=True)]
        pivot, column = S[:, i, j, None], S[:, :, j].copy()
        given = -S[:, i] / pivot
        given[:, j] = 1 / pivot[:, 0]
        S[:, :, j] = 0.0
        S += column[:, :, None] * given[:, None, :]
        S[:, i] = given
        eliminated[i], kept[j] = kept[j], eliminated[i]
        free[j] = True


def _tight(
    problem: CanonicalProblem, probes: Probes, pivots: list[tuple[int, int]], decided: set[int]
) -> list[tuple[int, int]]:
    """Inequalities that may be taken as tight, each with the variable without cost that it then gives.

    No two of the variables stand in one row, so that eliminating one leaves the rows of the others as they are.
    """
    used = {row for row, _ in pivots}
    rows = np.asarray([row for row in range(problem.equalities, probes.rows) if row not in used], int)
    touched: set[int] = set()
    found = []
    for column, variable in enumerate(probes.kept):
        if variable in decided or probes.cost[column] or probes.matrix[:, : problem.equalities, column].any():
            continue
        coefficients = probes.matrix[:, rows, column]
        if np.any(np.ptp(coefficients, axis=0) > ZERO * np.abs(coefficients).max(axis=0)):
            continue
        lower, upper = rows[coefficients[0] > 0], rows[coefficients[0] < 0]
        if min(len(lower), len(upper)) != 1 or touched & {*lower, *upper}:
            continue
        row = int((lower if len(lower) == 1 else upper)[0])
        if abs(probes.matrix[0, row, column]) >= _SMALLEST_TIGHT * np.abs(probes.matrix[:, row]).max():
            touched |= {*lower, *upper}
            found.append((row, variable))
    return found


def _sides(probes: Probes, inequalities: list[int]) -> tuple[list[Sides], list[Sides], list[int], np.ndarray]:
    """The inequalities as two-sided ones, bounds and conditions, and what each row is divided by."""
    general: list[Sides] = []
    bounds: list[Sides] = [([], []) for _ in probes.kept]
    conditions: list[int] = []
    scales = np.ones(probes.rows)
    for row in inequalities:
        coefficients = probes.matrix[:, row]
        columns = np.flatnonzero(coefficients.any(axis=0))
        if not columns.size:
            if not probes.offset_is_known(row):
                conditions.append(row)
            elif probes.offset[0, row] < -ZERO * probes.size[0, row]:
                raise ValueError("ConvexPolicy: a constraint of the problem holds for no value of its variables")
            continue
        if columns.size == 1 and np.ptp(coefficients[:, columns[0]]) <= ZERO * np.abs(coefficients).max():
            value = coefficients[0, columns[0]]
            scales[row] = abs(value)
            bounds[columns[0]][0 if value > 0 else 1].append(row)
            continue
        for lower, upper in general:
            if probes.same(lower[0], row, 1.0):
                lower.append(row)
                break
            if probes.same(lower[0], row, -1.0):
                upper.append(row)
                break
        else:
            general.append(([row], []))
    for pair in (*general, *bounds):
        for side in pair:
            _keep_tightest(side, probes, scales)
    return general, bounds, conditions, scales


def _keep_tightest(side: list[int], probes: Probes, scales: np.ndarray) -> None:
    """Of the rows of one side whose constants are known numbers, keep the one that implies the others."""
    known = [row for row in side if probes.offset_is_known(row)]
    if len(known) > 1:
        best = min(known, key=lambda row: probes.offset[0, row] / scales[row])
        side[:] = [row for row in side if row == best or row not in known]
