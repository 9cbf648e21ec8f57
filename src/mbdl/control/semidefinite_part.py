"""The positive semidefinite part of a symmetric matrix, with its derivative."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@jax.custom_jvp
def semidefinite_part(matrix: Float[Array, "size size"]) -> Float[Array, "size size"]:
    r"""The nearest positive semidefinite matrix, $\sum_i \max(\lambda_i, 0) v_i v_i^\top$.

    A matrix whose eigenvalues are not negative, to rounding, is returned as it is.

    Args:
        matrix: symmetric.

    Differentiable in: the matrix, by the divided differences of $\max(\lambda, 0)$, which exist where eigenvalues are
    repeated; an eigenvalue of zero counts as positive.
    """
    values, vectors, _ = _spectral(matrix)
    return matrix - (vectors * jnp.minimum(values, 0.0)) @ vectors.T


@semidefinite_part.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (matrix,), (change,) = primals, tangents
    values, vectors, negative = _spectral(matrix)
    lowered = jnp.minimum(values, 0.0)
    # The share of each pair of eigenvectors that is cut off: one where both are negative, zero where neither is.
    gap = values[:, None] - values[None, :]
    mixed = negative[:, None] != negative[None, :]
    share = (lowered[:, None] - lowered[None, :]) / jnp.where(mixed & (gap != 0), gap, 1.0)
    share = jnp.where(mixed, share, (negative[:, None] & negative[None, :]).astype(values.dtype))
    cut = vectors @ (share * (vectors.T @ change @ vectors)) @ vectors.T
    return matrix - (vectors * lowered) @ vectors.T, change - cut


def _spectral(matrix: Array) -> tuple[Array, Array, Array]:
    """Eigenvalues, those that are zero to rounding set to zero; eigenvectors; which eigenvalues are negative."""
    values, vectors = jnp.linalg.eigh(matrix)
    rounding = 10 * len(matrix) * jnp.finfo(matrix.dtype).eps * jnp.max(jnp.abs(values))
    negative = values < -rounding
    return jnp.where(negative | (values > 0), values, 0.0), vectors, negative
