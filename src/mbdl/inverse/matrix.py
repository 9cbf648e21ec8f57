"""A dense matrix as an operator, and its factored form."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mbdl.core import as_leaf
from mbdl.core.checks import finite, floating, shaped

from .conjugate_gradients import implicit_solve
from .operator import AbstractOperator


class Matrix(AbstractOperator):
    """A dense matrix, $x = A s$.

    Args:
        matrix: $A$, `[observed signal]`, real or complex.

    Raises:
        ValueError: for what is not a matrix or not finite.

    `regularised_solve` factors anew in every call, $O(n^2 m)$; where it is called repeatedly, as in ADMM, use
    `factored`. Differentiable in the matrix.

    >>> import jax.numpy as jnp
    >>> from mbdl import inverse
    >>> A = inverse.Matrix(jnp.array([[1.0, 2.0, 0.0], [0.0, 1.0, 1.0]]))
    >>> A(jnp.ones(3)).tolist(), A.T(jnp.ones(2)).tolist()
    ([3.0, 2.0], [1.0, 3.0, 1.0])
    """

    matrix: Float[Array, "observed signal"]

    def __init__(self, matrix: Any):
        self.matrix = floating(as_leaf(matrix))
        shape = getattr(self.matrix, "shape", None)
        if shape is not None and (len(shape) != 2 or 0 in shape):
            raise ValueError(f"Matrix: expected an array [observed signal] with at least one entry, got shape {shape}")
        finite(self.matrix, "Matrix: the matrix")

    def __call__(self, s: Float[Array, " signal"]) -> Float[Array, " observed"]:
        shaped(s, (self.matrix.shape[1],), "Matrix: the signal")
        return self.matrix @ s

    def adjoint(self, x: Float[Array, " observed"]) -> Float[Array, " signal"]:
        shaped(x, (self.matrix.shape[0],), "Matrix: the observation")
        return self.matrix.conj().T @ x

    def norm(self) -> Float[Array, ""]:
        """The largest singular value, from the Gram matrix of the smaller side."""
        A = self.matrix
        gram = A @ A.conj().T if A.shape[0] < A.shape[1] else A.conj().T @ A
        return jnp.sqrt(jnp.linalg.eigvalsh(gram)[-1])

    def regularised_solve(self, rhs: Float[Array, " signal"], weight: Float[Array, ""]) -> Float[Array, " signal"]:
        A, (m, n) = self.matrix, self.matrix.shape

        def solve(b: Array) -> Array:
            if n <= m:
                factor = jax.scipy.linalg.cho_factor(A.conj().T @ A + weight * jnp.eye(n, dtype=A.dtype))
                return jax.scipy.linalg.cho_solve(factor, b)
            factor = jax.scipy.linalg.cho_factor(A @ A.conj().T + weight * jnp.eye(m, dtype=A.dtype))
            return (b - A.conj().T @ jax.scipy.linalg.cho_solve(factor, A @ b)) / weight

        return implicit_solve(self.regularised_gram(weight), rhs, solve)

    def factored(self) -> "FactoredMatrix":
        """The same operator held as its singular value decomposition, which solves for any weight by two products."""
        U, singular_values, Vt = jnp.linalg.svd(self.matrix, full_matrices=False)
        return FactoredMatrix(U, singular_values, Vt)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.matrix.shape[1:]

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.matrix.shape[:1]

    @property
    def dtype(self) -> np.dtype:
        return self.matrix.dtype


class FactoredMatrix(AbstractOperator):
    r"""A matrix held as its singular value decomposition $A = U \, \mathrm{diag}(\sigma) \, V^T$ and nothing else.

    $(A^T A + w I)^{-1} b = (b - V \, \mathrm{diag}(\sigma^2 / (\sigma^2 + w)) \, V^T b) / w$: any weight, learned or
    different in every layer, costs two products. There is no copy of $A$ beside the factors, so nothing can go stale.

    Made by `Matrix(A).factored()`.

    Args:
        U: `[observed rank]`, orthonormal columns.
        singular_values: $\sigma$, `[rank]`.
        Vt: `[rank signal]`, orthonormal rows.

    Differentiable in: the singular values, equal ones too, and the arguments; in `U` and `Vt` along changes that keep
    them orthogonal. A step of training does not, and the solve holds only as long as they are: learn the singular
    values, or an unfactored `Matrix`.
    """

    U: Float[Array, "observed rank"]
    singular_values: Float[Array, " rank"]
    Vt: Float[Array, "rank signal"]

    def __call__(self, s: Float[Array, " signal"]) -> Float[Array, " observed"]:
        shaped(s, self.input_shape, "FactoredMatrix: the signal")
        return self.U @ (self.singular_values * (self.Vt @ s))

    def adjoint(self, x: Float[Array, " observed"]) -> Float[Array, " signal"]:
        shaped(x, self.output_shape, "FactoredMatrix: the observation")
        return self.Vt.conj().T @ (self.singular_values * (self.U.conj().T @ x))

    def norm(self) -> Float[Array, ""]:
        return jnp.max(jnp.abs(self.singular_values))

    def regularised_solve(self, rhs: Float[Array, " signal"], weight: Float[Array, ""]) -> Float[Array, " signal"]:
        square, Vt, V = self.singular_values**2, self.Vt, self.Vt.conj().T

        def solve(b: Array) -> Array:
            coefficients = Vt @ b
            if Vt.shape[0] == Vt.shape[1]:
                return V @ (coefficients / (square + weight))
            return (b - V @ (square / (square + weight) * coefficients)) / weight

        # As long as U has orthonormal columns, it does not enter.
        return implicit_solve(lambda s: V @ (square * (Vt @ s)) + weight * s, rhs, solve)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.Vt.shape[1:]

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.U.shape[:1]

    @property
    def dtype(self) -> np.dtype:
        return self.U.dtype
