"""Rotations, by which the experiments of the literature make a model wrong."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def plane_rotation(size: int, degrees: Any, plane: tuple[int, int] = (0, 1)) -> Float[Array, "size size"]:
    r"""The rotation by an angle in the plane of two components,
    $\begin{bmatrix} \cos\alpha & -\sin\alpha \\ \sin\alpha & \cos\alpha \end{bmatrix}$; the others stay.

    Args:
        size: the number of components.
        degrees: the angle, in degrees.
        plane: the indices of the two components.

    >>> from mbdl import tracking
    >>> print(tracking.plane_rotation(2, 30.0).round(2))
    [[ 0.87 -0.5 ]
     [ 0.5   0.87]]
    """
    i, j = plane
    angle = jnp.deg2rad(degrees)
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    rotation = jnp.eye(size, dtype=cosine.dtype)
    rows, columns = np.array([[i, i], [j, j]]), np.array([[i, j], [i, j]])
    return rotation.at[rows, columns].set(jnp.stack([jnp.stack([cosine, -sine]), jnp.stack([sine, cosine])]))


def axes_rotation(degrees: Any) -> Float[Array, "3 3"]:
    r"""The rotation in space by the same angle about the first axis, then the second, then the third,
    $R_3(\alpha) R_2(\alpha) R_1(\alpha)$.

    Args:
        degrees: the angle $\alpha$, in degrees.

    >>> import jax.numpy as jnp, numpy as np
    >>> from mbdl import tracking
    >>> print(np.asarray(tracking.axes_rotation(90.0) @ jnp.array([1.0, 2.0, 3.0])).round(3))
    [ 3. 2. -1.]
    """
    about_first, about_second, about_third = (plane_rotation(3, degrees, p) for p in ((1, 2), (2, 0), (0, 1)))
    return about_third @ about_second @ about_first
