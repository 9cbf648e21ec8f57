"""The observation of a point in space by a pinhole camera."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from mbdl.core import as_leaf
from mbdl.core.checks import positive

from .building import point
from .inputs import Moment
from .model import as_map


class Pinhole(eqx.Module):
    r"""The image of a point in space, the first three components $p$ of the state, in a pinhole camera,
    $$c = \Omega (p - o), \qquad y = f \, (c_1, c_2) / c_3 + y_0.$$

    Args:
        focal_length: $f$, in pixels.
        center: $y_0$, the image of the optical axis, `[2]`, in pixels.
        position: $o$, where the camera is, `[3]`; the origin by default.
        orientation: $\Omega$, the rotation from the world to the camera, `[3 3]`, whose third axis looks forward; by
            default the camera looks along the world's third axis.

    Raises:
        ValueError: for a focal length that is not positive, other shapes, or what is not finite.

    Differentiable in: the state and every parameter, in front of the camera. A point in the plane of the camera
    ($c_3 = 0$) has no image: the observation is not finite there.

    >>> import jax.numpy as jnp
    >>> from mbdl import tracking
    >>> camera = tracking.Pinhole(500.0, [320.0, 240.0])
    >>> camera(jnp.array([1.0, -0.5, 10.0]), tracking.Moment(0)).tolist()
    [370.0, 215.0]
    """

    focal_length: Float[Array, ""]
    center: Float[Array, "2"]
    position: Float[Array, "3"]
    orientation: Float[Array, "3 3"]

    def __init__(self, focal_length: Any, center: Any, position: Any = (0.0, 0.0, 0.0), orientation: Any = None):
        self.focal_length = positive(as_leaf(focal_length), "Pinhole: focal_length")
        self.center = point(center, 2, "Pinhole: center")
        self.position = point(position, 3, "Pinhole: position")
        if orientation is None:
            orientation = jnp.eye(3, dtype=self.position.dtype)
        self.orientation = as_map(orientation, 3, 3, "Pinhole: orientation")

    def __call__(self, state: Float[Array, " state"], moment: Moment) -> Float[Array, "2"]:
        seen = self.orientation @ (state[:3] - self.position)
        return self.focal_length * seen[:2] / seen[2] + self.center
