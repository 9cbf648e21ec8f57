"""A parametrised quadratic program at a few random parameters: what is zero at all of them is zero everywhere."""

import dataclasses

import numpy as np

from .canonical import CanonicalProblem

# What is smaller, relative to the terms that it is the sum of, is zero: rounding leaves some 1e-15.
ZERO = 1e-10
_PROBES = 3


@dataclasses.dataclass(frozen=True)
class Probes:
    """The reduced program at a few random parameters: what is zero, or equal, at all of them is so everywhere.

    Attributes:
        kept: the variables that are left.
        cost: whether a variable that is left has a cost, `[kept]`.
        matrix: the coefficients of every row, `[probe row kept]`, exact zeros where they are zero.
        offset: its constants, `[probe row]`.
        size: the sum of the absolute values that each constant is a sum of, `[probe row]`.
    """

    kept: list[int]
    cost: np.ndarray
    matrix: np.ndarray
    offset: np.ndarray
    size: np.ndarray

    @property
    def rows(self) -> int:
        return self.matrix.shape[1]

    def offset_is_zero(self, row: int) -> bool:
        return bool(np.all(np.abs(self.offset[:, row]) <= ZERO * np.maximum(self.size[:, row], 1e-300)))

    def offset_is_known(self, row: int) -> bool:
        return bool(np.ptp(self.offset[:, row]) <= ZERO * np.max(self.size[:, row]))

    def same(self, row: int, other: int, sign: float) -> bool:
        """Whether two rows have the same coefficients, but for the sign."""
        first, second = self.matrix[:, row], sign * self.matrix[:, other]
        return bool(np.all(np.abs(first - second) <= ZERO * np.abs(first).max()))


@dataclasses.dataclass(frozen=True)
class Back:
    """The way back at some parameters: $z = S v + s$, and the rows $A z + b$."""

    kept: list[int]
    A: np.ndarray
    b: np.ndarray
    S: np.ndarray
    s: np.ndarray


def thetas(problem: CanonicalProblem) -> list[np.ndarray]:
    draws = np.random.default_rng(0)
    return [np.append(draws.uniform(0.5, 1.5, problem.linear.shape[1] - 1), 1.0) for _ in range(_PROBES)]


def way_back(problem: CanonicalProblem, pivots: list[tuple[int, int]], theta: np.ndarray) -> Back:
    size, count = problem.linear.shape[0], problem.offset.shape[0]
    rows, eliminated = [row for row, _ in pivots], [variable for _, variable in pivots]
    kept = sorted(set(range(size)) - set(eliminated))
    A, b = (problem.matrix @ theta).reshape(count, size, order="F"), problem.offset @ theta
    S, s = np.zeros((size, len(kept))), np.zeros(size)
    S[kept, range(len(kept))] = 1.0
    solved = np.linalg.solve(A[np.ix_(rows, eliminated)], np.column_stack([A[np.ix_(rows, kept)], b[rows]]))
    S[eliminated], s[eliminated] = -solved[:, :-1], -solved[:, -1]
    S[np.abs(S) <= ZERO * np.abs(S).max(initial=1.0)] = 0.0
    return Back(kept, A, b, S, s)


def probe(problem: CanonicalProblem, pivots: list[tuple[int, int]]) -> Probes:
    size = problem.linear.shape[0]
    kept: list[int] = []
    costs, matrices, offsets, sizes = [], [], [], []
    for theta in thetas(problem):
        back = way_back(problem, pivots, theta)
        kept, A, b, S, s = back.kept, back.A, back.b, back.S, back.s
        P, q = (problem.hessian @ theta).reshape(size, size), problem.linear @ theta
        costs.append(_clean(S.T, P @ S).any(axis=1) | (_clean(S.T, (P @ s + q)[:, None]) != 0)[:, 0])
        matrices.append(_clean(A, S))
        offsets.append(A @ s + b)
        sizes.append(np.abs(A) @ np.abs(s) + np.abs(b))
    return Probes(kept, np.any(costs, axis=0), np.stack(matrices), np.stack(offsets), np.stack(sizes))


def _clean(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """A product of matrices with exact zeros where it is zero but for rounding."""
    product = left @ right
    return np.where(np.abs(product) <= ZERO * (np.abs(left) @ np.abs(right)), 0.0, product)
