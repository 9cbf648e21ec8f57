"""Affine maps from a vector to matrices and vectors, by the entries that are not zero."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


class AffineMap(eqx.Module):
    r"""A linear map from a vector, one of whose entries is one, to a matrix, $M_{ij} = \sum_k a_{ijk} \theta_k$.

    Attributes:
        position: $i$ and $j$ of each entry that is not zero, as one number.
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


def affine_map(
    position: np.ndarray, column: np.ndarray, value: np.ndarray, shape: tuple[int, int], dtype: Any
) -> AffineMap:
    """An `AffineMap` from NumPy arrays."""
    return AffineMap(jnp.asarray(position, jnp.int32), jnp.asarray(column, jnp.int32), jnp.asarray(value, dtype), shape)


def with_one(
    parameters: Float[Array, " parameters"], context: Float[Array, " context"] | None = None
) -> Float[Array, " theta"]:
    """The vector $(p, 1, c)$ that maps start from, or $(p, 1)$ without a context."""
    parts = [parameters, jnp.ones(1, parameters.dtype)]
    return jnp.concatenate(parts if context is None else [*parts, context])


def affine(matrix: Float[Array, "rows affine"], context: Float[Array, " context"]) -> Float[Array, " rows"]:
    """The vector $g_0 + G c$ that the matrix $(g_0, G)$ stands for."""
    return matrix[:, 0] + matrix[:, 1:] @ context
