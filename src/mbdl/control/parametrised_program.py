"""A quadratic program whose data depend on parameters and on a context, with what can be eliminated eliminated."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array, Float, Int

from .canonical import CanonicalProblem, Sparse
from .elimination import eliminate
from .quadratic_program import QuadraticProgram


class AffineMap(eqx.Module):
    r"""An affine map from a vector to a matrix, $M_{ij} = \sum_k a_{ijk} \theta_k$, by its entries that are not zero.

    Attributes:
        position: $i$ and $j$ of each, as one number.
        column: $k$ of each.
        coefficient: $a_{ijk}$.
        shape: of the matrix.
    """

    position: Int[Array, " entries"]
    column: Int[Array, " entries"]
    coefficient: Float[Array, " entries"]
    shape: tuple[int, int] = eqx.field(static=True)

    def __call__(self, theta: Float[Array, " theta"]) -> Float[Array, "rows columns"]:
        rows, columns = self.shape
        flat = jnp.zeros(rows * columns, self.coefficient.dtype)
        return flat.at[self.position].add(self.coefficient * theta[self.column]).reshape(self.shape)


class ReducedProgram(eqx.Module):
    r"""A quadratic program in what is left of its variables, $v$, whose vectors are affine in the context.

    A vector $g$ is held as the matrix $(g_0, G)$ of $g = g_0 + G c$.
    """

    hessian: Float[Array, "left left"]
    linear: Float[Array, "left affine"]
    equality: Float[Array, "equalities left"]
    equality_offset: Float[Array, "equalities affine"]
    inequality: Float[Array, "inequalities left"]
    inequality_offset: Float[Array, "rows affine"]
    decision: Float[Array, "decision left"]
    decision_offset: Float[Array, "decision affine"]


class ParametrisedProgram(eqx.Module):
    r"""A family of quadratic programs in parameters $p$ and a context $c$,
    $$\min_z \tfrac12 z^\top P z + q^\top z \quad \text{s.t.} \quad A z + b \; (= 0 \text{ or } \ge 0),$$
    with $P$, $q$, $A$ and $b$ affine in $(p, c)$.

    The variables stand with the eliminated ones first, and the rows with those that eliminate them first: with
    $A_1 z_1 + A_2 v + b_1 = 0$ the others are $z_1 = -A_1^{-1} (A_2 v + b_1)$, and $A_1$ is invertible for all
    parameters. Then come the rows that are left of the equalities, and the inequalities.

    Attributes:
        hessian, linear, matrix, offset: the maps from $(p, 1, c)$ to $P$ and $A$ and from $(p, 1)$ to $(q_0, Q)$ and
            $(b_0, B)$ with $q = q_0 + Q c$ and $b = b_0 + B c$.
        general_lower, general_upper: the rows that bound each two-sided inequality, -1 for none; several along the
            first axis.
        lower, upper: the same for each variable that is left.
        place: where each variable of the problem stands.
        decision: where the entries of the decision stand, -1 for one that is zero.
        pivots, equalities: how many rows eliminate a variable, and how many equalities are left.
        fixed_matrices: whether $P$ and $A$ do not depend on the context.
    """

    hessian: AffineMap
    linear: AffineMap
    matrix: AffineMap
    offset: AffineMap
    general_lower: Int[Array, "layers inequalities"]
    general_upper: Int[Array, "layers inequalities"]
    lower: Int[Array, "layers left"]
    upper: Int[Array, "layers left"]
    place: Int[Array, " variables"]
    decision: Int[Array, " decision"]
    pivots: int = eqx.field(static=True)
    equalities: int = eqx.field(static=True)
    fixed_matrices: bool = eqx.field(static=True)

    @property
    def left(self) -> int:
        """How many variables are left."""
        return self.hessian.shape[0] - self.pivots

    def solution(
        self,
        parameters: Float[Array, " parameters"],
        context: Float[Array, " context"],
        left: Float[Array, " left"],
    ) -> Float[Array, " variables"]:
        """All variables of the problem, from those that are left."""
        S, s = self._back(*self._rows(parameters, None if self.fixed_matrices else context))
        return (S @ left + affine(s, context))[self.place]

    def reduced(
        self, parameters: Float[Array, " parameters"], context: Float[Array, " context"] | None = None
    ) -> ReducedProgram:
        """The program in what is left of its variables.

        Args:
            parameters: $p$.
            context: $c$, where the matrices depend on it.
        """
        P = self.hessian(_theta(parameters, context))
        q = self.linear(_theta(parameters, None))
        A, b = self._rows(parameters, context)
        S, s = self._back(A, b)
        K, m, n = self.pivots, self.equalities, self.general_lower.shape[1]
        P = 0.5 * (P + P.T)
        rows = A[K : K + m + n] @ S
        offsets = A[K:] @ s + b[K:]
        decision, decision_offset = (
            jnp.concatenate([part, jnp.zeros_like(part[:1])])[self.decision] for part in (S, s)
        )
        return ReducedProgram(
            hessian=S.T @ P @ S,
            linear=S.T @ (P @ s + q),
            equality=rows[:m],
            equality_offset=offsets[:m],
            inequality=rows[m:],
            inequality_offset=offsets[m:],
            decision=decision,
            decision_offset=decision_offset,
        )

    def at(self, reduced: ReducedProgram, context: Float[Array, " context"]) -> QuadraticProgram:
        """The quadratic program of one context."""
        values = affine(reduced.inequality_offset, context)
        equality = inequality = bounds = None
        if self.equalities:
            equality = reduced.equality, -affine(reduced.equality_offset, context)
        if self.general_lower.shape[1]:
            sides = -_smallest(values, self.general_lower), _smallest(values, self.general_upper)
            inequality = reduced.inequality, *sides
        if self.lower.shape[0] or self.upper.shape[0]:
            bounds = -_smallest(values, self.lower), _smallest(values, self.upper)
        return QuadraticProgram(
            reduced.hessian, affine(reduced.linear, context), equality=equality, inequality=inequality, bounds=bounds
        )

    def _rows(self, parameters: Array, context: Array | None) -> tuple[Array, Array]:
        return self.matrix(_theta(parameters, context)), self.offset(_theta(parameters, None))

    def _back(self, A: Array, b: Array) -> tuple[Array, Array]:
        K, n = self.pivots, self.left
        identity, nothing = jnp.eye(n, dtype=A.dtype), jnp.zeros((n, b.shape[1]), A.dtype)
        if K == 0:
            return identity, nothing
        solved = jnp.linalg.solve(A[:K, :K], jnp.concatenate([A[:K, K:], b[:K]], axis=1))
        return jnp.concatenate([-solved[:, :n], identity]), jnp.concatenate([-solved[:, n:], nothing])


def affine(matrix: Float[Array, "rows affine"], context: Float[Array, " context"]) -> Float[Array, " rows"]:
    """The vector that a matrix of a constant and of the coefficients of the context stands for."""
    return matrix[:, 0] + matrix[:, 1:] @ context


def _theta(parameters: Array, context: Array | None) -> Array:
    parts = [parameters, jnp.ones(1, parameters.dtype)]
    return jnp.concatenate(parts if context is None else [*parts, context])


def _smallest(values: Array, rows: Array) -> Array:
    """The smallest of the values at rows, along the first axis; infinite where there is none."""
    padded = jnp.concatenate([values, jnp.full(1, jnp.inf, values.dtype)])
    return jnp.min(padded[rows], axis=0, initial=jnp.inf)


def parametrised_program(problem: CanonicalProblem, dtype: Any) -> ParametrisedProgram:
    """The program of a canonical problem that has no cones, with its equalities and auxiliary variables eliminated.

    Args:
        problem: from `canonical`.
        dtype: of its numbers.

    Raises:
        ValueError: as `eliminate` does.
    """
    assert problem.hessian is not None
    left = eliminate(problem)
    size = problem.linear.shape[0]
    count = sum(entries.index.size for entries in problem.parameters)
    variables = [variable for _, variable in left.pivots] + left.kept
    general = [lower[0] for lower, _ in left.general]
    rows = [row for row, _ in left.pivots] + left.equalities + general
    sides = [row for pair in (*left.general, *left.bounds) for side in pair for row in side]
    rows += sorted(set(sides) - set(general))
    place = {row: i - len(left.pivots) - len(left.equalities) for i, row in enumerate(rows)}
    where = np.full(size + 1, -1)
    where[variables] = np.arange(size)
    columns = problem.linear.shape[1]
    # The one stands between the parameters and the context.
    column = np.concatenate([np.arange(count), np.arange(count + 1, columns), [count]])
    scale = 1 / left.scales[rows]

    def matrix(entries: Sparse, rows: list[int], shape: tuple[int, int], by: np.ndarray) -> AffineMap:
        """A map to a matrix whose columns stand one below another, with its rows and columns in another order."""
        coordinates = scipy.sparse.coo_array(entries)
        new = np.full(shape[0], -1)
        new[rows] = np.arange(len(rows))
        j, i = np.divmod(coordinates.coords[0], shape[0])
        keep = (new[i] >= 0) & (coordinates.data != 0)
        i, j, k, value = new[i[keep]], where[j[keep]], coordinates.coords[1][keep], coordinates.data[keep]
        position = i * size + j
        return _map(position, column[k], value * by[i], (len(rows), size), dtype)

    def vector(entries: Sparse, rows: list[int], by: np.ndarray) -> AffineMap:
        """A map to vectors, as matrices of their constants and of the coefficients of the context."""
        coordinates = scipy.sparse.coo_array(scipy.sparse.csr_array(entries)[rows])
        i, k, value = coordinates.coords[0], column[coordinates.coords[1]], coordinates.data
        shape = (len(rows), columns - count)
        position = i * shape[1] + np.maximum(k - count, 0)
        return _map(position, np.minimum(k, count), value * by[i], shape, dtype)

    one = np.ones(size)
    decided = problem.decision.index
    hessian = matrix(problem.hessian, variables, (size, size), one)
    coefficients = matrix(problem.matrix, rows, (problem.offset.shape[0], size), scale)
    fixed = all(bool(np.all(np.asarray(held.column) <= count)) for held in (hessian, coefficients))
    return ParametrisedProgram(
        hessian=hessian,
        linear=vector(problem.linear, variables, one),
        matrix=coefficients,
        offset=vector(problem.offset, rows, scale),
        general_lower=_layers([lower for lower, _ in left.general], place),
        general_upper=_layers([upper for _, upper in left.general], place),
        lower=_layers([lower for lower, _ in left.bounds], place),
        upper=_layers([upper for _, upper in left.bounds], place),
        place=jnp.asarray(where[:-1], jnp.int32),
        decision=jnp.asarray(np.where(decided >= 0, where[decided], -1), jnp.int32),
        pivots=len(left.pivots),
        equalities=len(left.equalities),
        fixed_matrices=fixed,
    )


def _map(position: np.ndarray, column: np.ndarray, value: np.ndarray, shape: tuple[int, int], dtype: Any) -> AffineMap:
    return AffineMap(jnp.asarray(position, jnp.int32), jnp.asarray(column, jnp.int32), jnp.asarray(value, dtype), shape)


def _layers(sides: list[list[int]], place: dict[int, int]) -> Int[Array, "layers sides"]:
    """The rows of each side, one below another, filled up with -1."""
    filled = np.full((max(map(len, sides), default=0), len(sides)), -1, np.int32)
    for column, side in enumerate(sides):
        filled[: len(side), column] = [place[row] for row in side]
    return jnp.asarray(filled)
