"""A canonical problem as a family of quadratic programs, in the order of its elimination."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array, Int

from .affine_map import AffineMap, affine_map
from .canonical import CanonicalProblem, Sparse
from .elimination import Elimination, eliminate
from .parametrised_program import ParametrisedProgram


def quadratic_family(problem: CanonicalProblem, dtype: Any) -> ParametrisedProgram:
    """The quadratic programs of a canonical problem without cones, with equalities and auxiliary variables eliminated.

    Args:
        problem: from `canonical`.
        dtype: of its numbers.

    Raises:
        ValueError: as `eliminate` does.
    """
    assert problem.hessian is not None
    left = eliminate(problem)
    size, theta = problem.linear.shape
    count = problem.offset.shape[0]
    parameters = sum(entries.index.size for entries in problem.parameters)
    variables = [variable for _, variable in left.pivots] + left.kept
    rows = _rows(left)
    place = {row: i - len(left.pivots) - len(left.equalities) for i, row in enumerate(rows)}
    standing = _inverse(variables, size)
    # The one, which is the last column there, stands between the parameters and the context here.
    column = np.concatenate([np.arange(parameters), np.arange(parameters + 1, theta), [parameters]])

    def matrix(entries: Sparse, rows: list[int], count: int, scale: np.ndarray) -> AffineMap:
        """A map to a matrix, whose columns stand one below another there, in the order of the rows here."""
        there = scipy.sparse.coo_array(entries)
        j, i = np.divmod(there.coords[0], count)
        i = _inverse(rows, count)[i]
        keep = (i >= 0) & (there.data != 0)
        i, j, k, value = i[keep], standing[j[keep]], column[there.coords[1][keep]], there.data[keep]
        return affine_map(i * size + j, k, value * scale[i], (len(rows), size), dtype)

    def vector(entries: Sparse, rows: list[int], scale: np.ndarray) -> AffineMap:
        """A map to a vector, as the matrix of its constant and of the coefficients of the context."""
        there = scipy.sparse.coo_array(scipy.sparse.csr_array(entries)[rows])
        i, k, value = there.coords[0], column[there.coords[1]], there.data
        shape = (len(rows), theta - parameters)
        position = i * shape[1] + np.maximum(k - parameters, 0)
        return affine_map(position, np.minimum(k, parameters), value * scale[i], shape, dtype)

    scale, one = 1 / left.scales[rows], np.ones(size)
    decided = problem.decision.index
    hessian = matrix(problem.hessian, variables, size, one)
    coefficients = matrix(problem.matrix, rows, count, scale)
    return ParametrisedProgram(
        hessian=hessian,
        linear=vector(problem.linear, variables, one),
        matrix=coefficients,
        offset=vector(problem.offset, rows, scale),
        general_lower=_layers([lower for lower, _ in left.general], place),
        general_upper=_layers([upper for _, upper in left.general], place),
        lower=_layers([lower for lower, _ in left.bounds], place),
        upper=_layers([upper for _, upper in left.bounds], place),
        conditions=jnp.asarray([place[row] for row in left.conditions], jnp.int32),
        place=jnp.asarray(standing, jnp.int32),
        decision=jnp.asarray(np.where(decided >= 0, standing[decided], -1), jnp.int32),
        pivots=len(left.pivots),
        equalities=len(left.equalities),
        fixed_matrices=all(bool(np.all(np.asarray(m.column) <= parameters)) for m in (hessian, coefficients)),
    )


def _rows(left: Elimination) -> list[int]:
    """The rows in their order here; those that are not needed are not among them."""
    general = [lower[0] for lower, _ in left.general]
    sides = [row for pair in (*left.general, *left.bounds) for side in pair for row in side]
    others = sorted(set(sides) - set(general)) + left.conditions
    return [row for row, _ in left.pivots] + left.equalities + general + others


def _inverse(order: list[int], size: int) -> np.ndarray:
    """Where each number below a size is in an order; -1 where it is not."""
    found = np.full(size, -1)
    found[order] = np.arange(len(order))
    return found


def _layers(sides: list[list[int]], place: dict[int, int]) -> Int[Array, "layers sides"]:
    """The rows of each side, one below another, filled up with -1."""
    filled = np.full((max(map(len, sides), default=0), len(sides)), -1, np.int32)
    for column, side in enumerate(sides):
        filled[: len(side), column] = [place[row] for row in side]
    return jnp.asarray(filled)
