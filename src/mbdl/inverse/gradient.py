"""Finite differences of images."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from .checks import image
from .operator import AbstractOperator


class Gradient(AbstractOperator):
    """Forward differences of an image down and to the right, zero at the far edges.

    $x_{0ij} = s_{i+1,j} - s_{ij}$, $x_{1ij} = s_{i,j+1} - s_{ij}$: `[height width]` becomes `[2 height width]`, and
    each channel of `[height width channel]` likewise.

    >>> import jax.numpy as jnp
    >>> from mbdl import inverse
    >>> inverse.Gradient()(jnp.array([[1.0, 2.0], [4.0, 4.0]])).tolist()
    [[[3.0, 2.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]]]
    """

    def __call__(self, s: Float[Array, "height width *channel"]) -> Float[Array, "2 height width *channel"]:
        image(s, "Gradient")
        return jnp.stack(differences(s))

    def adjoint(self, x: Float[Array, "2 height width *channel"]) -> Float[Array, "height width *channel"]:
        if x.ndim not in (3, 4) or x.shape[0] != 2:
            raise ValueError(
                f"Gradient (adjoint): expected differences [2 height width] or [2 height width channel], got {x.shape}"
            )
        return negative_divergence(x[0], x[1])

    def norm(self) -> Float[Array, ""]:
        r"""$\sqrt 8$, which large images approach from below."""
        return jnp.sqrt(jnp.asarray(8.0))


def differences(s: Array) -> tuple[Array, Array]:
    """Forward differences along the first and the second axis, zero at the far edges."""
    rest = [(0, 0)] * (s.ndim - 2)
    return jnp.pad(s[1:] - s[:-1], [(0, 1), (0, 0), *rest]), jnp.pad(s[:, 1:] - s[:, :-1], [(0, 0), (0, 1), *rest])


def negative_divergence(down: Any, right: Any) -> Array:
    """The adjoint of `differences`."""
    rest = [(0, 0)] * (down.ndim - 2)
    down, right = down[:-1], right[:, :-1]
    return (
        jnp.pad(down, [(1, 0), (0, 0), *rest])
        - jnp.pad(down, [(0, 1), (0, 0), *rest])
        + jnp.pad(right, [(0, 0), (1, 0), *rest])
        - jnp.pad(right, [(0, 0), (0, 1), *rest])
    )
