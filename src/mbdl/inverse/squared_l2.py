"""Tikhonov's prior."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mbdl.core import as_leaf
from mbdl.core.checks import nonnegative

from .conjugate_gradients import inner
from .functional import AbstractProximable, AbstractSmooth


class SquaredL2(AbstractSmooth, AbstractProximable):
    r"""Tikhonov's prior, $f(s) = \tfrac{\lambda}{2} \|s\|^2$; its proximal map is $v / (1 + \mu \lambda)$.

    Args:
        weight: $\lambda \ge 0$.

    Raises:
        ValueError: for a negative weight.

    Differentiable in: the weight and in the point.

    >>> import jax.numpy as jnp
    >>> from mbdl import inverse
    >>> inverse.SquaredL2(1.0).prox(jnp.array([2.0, -4.0]), 1.0).tolist()
    [1.0, -2.0]
    """

    weight: Float[Array, ""]

    def __init__(self, weight: Any):
        self.weight = nonnegative(as_leaf(weight), "SquaredL2: the weight")

    def __call__(self, s: Any) -> Float[Array, ""]:
        return 0.5 * self.weight * inner(s, s)

    def prox(self, point: Any, step: Float[Array, ""]) -> Any:
        return jax.tree.map(lambda v: v / (1 + step * self.weight), point)

    def gradient(self, s: Any) -> Any:
        return jax.tree.map(lambda v: self.weight * v, s)

    def lipschitz(self) -> Float[Array, ""]:
        return jnp.asarray(self.weight)
