"""Entrywise weighting."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mbdl.core import as_leaf
from mbdl.core.checks import concrete, finite

from .operator import AbstractOperator


class Mask(AbstractOperator):
    r"""Keeps some entries and sets the others to zero, $x = m \odot s$: the operator of inpainting.

    Args:
        mask: $m$, boolean (`True` is observed) or real weights, of the shape of the signal; `[height width]` also
            masks every channel of `[height width channel]`.

    Raises:
        ValueError: for weights that are not finite.

    Differentiable in: real weights.

    >>> import jax.numpy as jnp
    >>> from mbdl import inverse
    >>> inverse.Mask(jnp.array([True, False]))(jnp.array([3.0, 4.0])).tolist()
    [3.0, 0.0]
    """

    mask: Bool[Array, "..."] | Float[Array, "..."]

    def __init__(self, mask: Any):
        self.mask = as_leaf(mask)
        if concrete(self.mask) is not None and self.mask.ndim == 0:
            raise ValueError("Mask: expected an array of the shape of the signal, got one number; scale with 2.0 * A")
        finite(self.mask, "Mask: the weights")

    def __call__(self, s: Float[Array, "*signal"]) -> Float[Array, "*signal"]:
        return self._broadcast(s, "Mask: the signal") * s

    def adjoint(self, x: Float[Array, "*signal"]) -> Float[Array, "*signal"]:
        return jnp.conj(self._broadcast(x, "Mask: the observation")) * x

    def _broadcast(self, s: Array, what: str) -> Array:
        channels = self.mask.ndim == 2 and s.ndim == 3
        if self.mask.shape != (s.shape[:2] if channels else s.shape):
            raise ValueError(f"{what} has shape {s.shape}, the mask {self.mask.shape}; apply jax.vmap to a batch")
        return self.mask[..., None] if channels else self.mask

    def norm(self) -> Float[Array, ""]:
        if self.dtype is None:
            return jnp.where(jnp.any(self.mask), 1.0, 0.0)
        return jnp.max(jnp.abs(self.mask))

    def regularised_solve(self, rhs: Float[Array, "*signal"], weight: Float[Array, ""]) -> Float[Array, "*signal"]:
        return rhs / (jnp.abs(self._broadcast(rhs, "Mask: the right-hand side")) ** 2 + weight)

    @property
    def dtype(self) -> np.dtype | None:
        return self.mask.dtype if jnp.issubdtype(self.mask.dtype, jnp.inexact) else None
