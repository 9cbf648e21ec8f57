"""The identity."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from .operator import AbstractOrthogonalOperator


class Identity(AbstractOrthogonalOperator):
    """The identity, $A s = s$: the operator of denoising.

    >>> import jax.numpy as jnp
    >>> from mbdl import inverse
    >>> inverse.Identity()(jnp.arange(3.0)).tolist()
    [0.0, 1.0, 2.0]
    """

    def __call__(self, s: Any) -> Any:
        return s

    def adjoint(self, x: Any) -> Any:
        return x

    def gram_kernel(self) -> Float[Array, "rows columns"]:
        return jnp.ones((1, 1))
