"""Priors that are sets, and no prior at all."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mbdl.core import as_leaf
from mbdl.core.checks import concrete

from .functional import AbstractFunctional, AbstractProximable, AbstractSmooth


class Zero(AbstractSmooth, AbstractProximable):
    """No prior, $f(s) = 0$."""

    def __call__(self, s: Any) -> Float[Array, ""]:
        return jnp.asarray(0.0)

    def prox(self, point: Any, step: Float[Array, ""]) -> Any:
        return point

    def gradient(self, s: Any) -> Any:
        return jax.tree.map(jnp.zeros_like, s)

    def lipschitz(self) -> Float[Array, ""]:
        return jnp.asarray(0.0)


class NonNegative(AbstractFunctional, AbstractProximable):
    r"""The constraint $s \ge 0$: zero where it holds, else infinity. Its proximal map is the projection.

    >>> import jax.numpy as jnp
    >>> from mbdl import inverse
    >>> inverse.NonNegative().prox(jnp.array([1.0, -1.0]), 1.0).tolist()
    [1.0, 0.0]
    """

    def __call__(self, s: Any) -> Float[Array, ""]:
        return _indicator(s, lambda v: v >= 0)

    def prox(self, point: Any, step: Float[Array, ""]) -> Any:
        return jax.tree.map(lambda v: jnp.maximum(v, 0), point)


class Box(AbstractFunctional, AbstractProximable):
    r"""The constraint $a \le s \le b$: zero where it holds, else infinity. Its proximal map is the projection.

    Args:
        lower, upper: $a \le b$, numbers or arrays that broadcast against the signal; may be infinite.

    Raises:
        ValueError: for a lower bound above the upper one, or a bound that is NaN.

    Differentiable in: the bounds.

    >>> import jax.numpy as jnp
    >>> from mbdl import inverse
    >>> inverse.Box(0.0, 1.0).prox(jnp.array([-1.0, 0.5, 3.0]), 1.0).tolist()
    [0.0, 0.5, 1.0]
    """

    lower: Float[Array, "..."]
    upper: Float[Array, "..."]

    def __init__(self, lower: Any, upper: Any):
        self.lower, self.upper = as_leaf(lower), as_leaf(upper)
        low, high = concrete(self.lower), concrete(self.upper)
        if low is not None and high is not None and not np.all(low <= high):
            raise ValueError(f"Box: expected lower <= upper everywhere, got {lower!r} and {upper!r}")

    def __call__(self, s: Any) -> Float[Array, ""]:
        return _indicator(s, lambda v: (v >= self.lower) & (v <= self.upper))

    def prox(self, point: Any, step: Float[Array, ""]) -> Any:
        return jax.tree.map(lambda v: jnp.clip(v, self.lower, self.upper), point)


def _indicator(s: Any, holds: Any) -> Float[Array, ""]:
    inside = jnp.all(jnp.stack([jnp.all(holds(leaf)) for leaf in jax.tree.leaves(s)]))
    return jnp.where(inside, 0.0, jnp.inf)
