"""Sparsity."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mbdl.core import as_leaf
from mbdl.core.checks import nonnegative

from .functional import AbstractFunctional, AbstractProximable
from .operator import AbstractOrthogonalOperator


class L1(AbstractFunctional, AbstractProximable):
    r"""Sparsity of the signal or of its orthogonal transform, $f(s) = \lambda \|W s\|_1$.

    Its proximal map soft-thresholds, $W^T \mathcal{T}_{\mu \lambda}(W v)$. Of a `Wavelet` transform only the details
    are penalised and thresholded: the coarse part is a small image, not sparse.

    Args:
        weight: $\lambda \ge 0$, a number or an array that broadcasts against the coefficients.
        transform: $W$, an `AbstractOrthogonalOperator` such as `Wavelet("db4", 3)`; `None` for the signal itself.

    Raises:
        ValueError: for a negative weight.
        TypeError: for a transform that is not orthogonal.

    Differentiable in: the weight and in the point, almost everywhere.

    >>> import jax.numpy as jnp
    >>> from mbdl import inverse
    >>> inverse.L1(0.5).prox(jnp.array([2.0, 0.2]), 1.0).tolist()
    [1.5, 0.0]
    """

    weight: Float[Array, "..."]
    transform: AbstractOrthogonalOperator | None

    def __init__(self, weight: Any, transform: AbstractOrthogonalOperator | None = None):
        if transform is not None and not isinstance(transform, AbstractOrthogonalOperator):
            raise TypeError(
                f"L1: {type(transform).__name__} is not an orthogonal operator, so the proximal map is unknown. "
                "Use an orthogonal transform such as Wavelet, or TotalVariation for differences"
            )
        self.weight = nonnegative(as_leaf(weight), "L1: the weight")
        self.transform = transform

    def __call__(self, s: Any) -> Float[Array, ""]:
        if self.transform is None:
            return jax.tree.reduce(jnp.add, jax.tree.map(lambda v: jnp.sum(self.weight * jnp.abs(v)), s))
        coefficients = self.transform(s)
        return jnp.sum(jnp.where(self.transform.sparse(coefficients), self.weight * jnp.abs(coefficients), 0))

    def prox(self, point: Any, step: Float[Array, ""]) -> Any:
        threshold = self.weight * step
        if self.transform is None:
            return jax.tree.map(lambda v: soft_threshold(v, threshold), point)
        coefficients = self.transform(point)
        sparse = self.transform.sparse(coefficients)
        return self.transform.adjoint(jnp.where(sparse, soft_threshold(coefficients, threshold), coefficients))


def soft_threshold(value: Array, threshold: Any) -> Array:
    r"""$\mathcal{T}_t(v) = v \max(1 - t / |v|, 0)$, entry by entry, real or complex.

    Differentiable in: both almost everywhere; the derivative at zero is zero.

    >>> import jax.numpy as jnp
    >>> from mbdl import inverse
    >>> inverse.soft_threshold(jnp.array([-3.0, 0.0, 1.0]), 2.0).tolist()
    [-1.0, 0.0, 0.0]
    """
    if not jnp.iscomplexobj(value):
        return jnp.sign(value) * jnp.maximum(jnp.abs(value) - threshold, 0)
    square = jnp.real(value) ** 2 + jnp.imag(value) ** 2
    kept = square > threshold**2
    size = jnp.sqrt(jnp.where(kept, square, 1))
    return jnp.where(kept, value * (1 - threshold / size), 0)
