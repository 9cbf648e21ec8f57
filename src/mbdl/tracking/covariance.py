"""Covariances: as matrices, or by a factor where they are singular or badly scaled."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from mbdl.core import as_leaf
from mbdl.core.checks import concrete, finite, floating


class Factor(eqx.Module):
    r"""A covariance held by a factor, $\Sigma = L L^\top$: positive semidefinite whatever $L$ is.

    The way to hold and to learn a covariance that is singular (a state without noise) or badly scaled.

    Args:
        factor: $L$, `[size rank]`.

    Raises:
        ValueError: for what is no matrix or not finite.

    >>> import jax.numpy as jnp
    >>> from mbdl import tracking
    >>> tracking.dense(tracking.Factor(jnp.array([[0.5], [1.0]]))).tolist()
    [[0.25, 0.5], [0.5, 1.0]]
    """

    factor: Float[Array, "size rank"]

    def __init__(self, factor: Any):
        self.factor = floating(as_leaf(factor))
        shape = getattr(self.factor, "shape", None)
        if shape is not None and len(shape) != 2:
            raise ValueError(f"Factor: expected a matrix [size rank], got shape {shape}")
        finite(self.factor, "Factor: the factor")


Covariance = Float[Array, "size size"] | Factor


def dense(covariance: Any) -> Float[Array, "size size"]:
    """A covariance as a matrix."""
    return covariance.factor @ covariance.factor.T if isinstance(covariance, Factor) else covariance


def factor_of(covariance: Any) -> Float[Array, "size rank"]:
    r"""A factor $L$ of a covariance, $\Sigma = L L^\top$."""
    return covariance.factor if isinstance(covariance, Factor) else semidefinite_cholesky(covariance)


WRITTEN_OUT = 5
"""The size up to which a factor is written out, column by column; a loop over those of a larger one compiles faster."""


def semidefinite_cholesky(matrix: Float[Array, "size size"]) -> Float[Array, "size size"]:
    r"""The lower triangular $L$ with $L L^\top = \Sigma$ for a positive semidefinite matrix, singular ones included.

    A column whose pivot is zero to rounding is zero; so is its derivative. Differentiable in the matrix, along changes
    that keep the zero pivots zero.
    """
    matrix = jnp.asarray(matrix)
    size = matrix.shape[0]
    tolerance = size * jnp.finfo(matrix.dtype).eps * jnp.diagonal(matrix)

    def column(j: Any, rest: Array) -> Array:
        """A column of the factor, from that of the matrix less what the columns before it give."""
        positive = rest[j] > tolerance[j]
        scale = jnp.where(positive, jax.lax.rsqrt(jnp.where(positive, rest[j], 1.0)), 0.0)
        return jnp.where(jnp.arange(size) >= j, rest * scale, 0.0)

    if size > WRITTEN_OUT:

        def with_column(j: Array, L: Array) -> Array:
            return L.at[:, j].set(column(j, matrix[:, j] - L @ L[j]))

        return jax.lax.fori_loop(0, size, with_column, jnp.zeros_like(matrix))
    columns: list[Array] = []
    for j in range(size):
        columns.append(column(j, matrix[:, j] - sum(before * before[j] for before in columns)))
    return jnp.stack(columns, axis=1)


def symmetric(matrix: Float[Array, "size size"]) -> Float[Array, "size size"]:
    """The symmetric part of a matrix, against rounding."""
    return 0.5 * (matrix + matrix.T)


def draw(key: PRNGKeyArray, covariance: Any) -> Float[Array, " size"]:
    """A sample of the normal distribution of mean zero with a covariance, a matrix or a `Factor`."""
    factor = factor_of(covariance)
    return factor @ jax.random.normal(key, factor.shape[1:], factor.dtype)


def as_covariance(value: Any, size: int | None, what: str) -> Any:
    """A covariance leaf of a model, checked where it is concrete; factors and functions of the moment as they are.

    Raises:
        ValueError: for a wrong shape, a matrix that is not symmetric, or one that has a negative eigenvalue.
    """
    if callable(value):
        return value
    held = value.factor if isinstance(value, Factor) else value
    if not isinstance(value, Factor):
        value = held = floating(as_leaf(value))
    shape = getattr(held, "shape", None)
    if shape is not None and (len(shape) != 2 or (size is not None and shape[0] != size)):
        wanted = "a matrix" if size is None else f"{size} rows"
        raise ValueError(f"{what}: expected {wanted}, got shape {shape}")
    if isinstance(value, Factor):
        return value
    if shape is not None and shape[0] != shape[1]:
        raise ValueError(f"{what}: expected a square matrix, got shape {shape}. Hold a factor by tracking.Factor")
    finite(value, what)
    known = concrete(value)
    if known is not None:
        _check_semidefinite(known, what)
    return value


def check_square(covariance: Any, what: str) -> None:
    """Raise for a factor that knows a direction which its square, rounded, does not know any more.

    Raises:
        ValueError: saying which precision or form holds it.
    """
    known = concrete(covariance.factor) if isinstance(covariance, Factor) else None
    if known is None or not known.size:
        return
    precision = np.finfo(known.dtype).eps
    length = np.linalg.norm(known, axis=1)
    values = np.linalg.svd(known.astype(np.float64) / np.where(length > 0, length, 1.0)[:, None], compute_uv=False)
    relative = values / values[0] if values[0] > 0 else values
    lost = (relative > 10 * len(known) * precision) & (relative**2 < 10 * len(known) * precision)
    if np.any(lost):
        raise ValueError(
            f"{what}: the factor of the initial covariance has a condition of {1 / np.min(relative[lost]):.1g}, whose "
            f"square {known.dtype} does not hold. Use float64, or a filter with tracking.SquareRootGain"
        )


def _check_semidefinite(matrix: np.ndarray, what: str) -> None:
    precision = np.finfo(matrix.dtype).eps
    matrix = matrix.astype(np.float64)
    deviations = np.sqrt(np.maximum(np.abs(np.diagonal(matrix)), 1e-200))
    scale = np.outer(deviations, deviations)
    worst = np.max(np.abs(matrix - matrix.T) / scale)
    if worst > 1e3 * precision:
        raise ValueError(
            f"{what}: a covariance is symmetric, but this one differs from its transpose by {worst:.2g} of its "
            "diagonal. Give (P + P.T) / 2 if that is rounding"
        )
    # Of the correlation matrix, so that a bad scaling of the components does not hide or feign a negative eigenvalue.
    smallest = np.linalg.eigvalsh(matrix / scale)[0]
    if np.any(np.diagonal(matrix) < 0) or smallest < -1e2 * len(matrix) * precision:
        raise ValueError(
            f"{what}: a covariance is positive semidefinite, but this one has a negative eigenvalue (smallest of its "
            f"correlation matrix: {smallest:.3g})"
        )
