"""The observation of a point in the plane by its bearing and range."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .building import point
from .inputs import Moment


class BearingRange(eqx.Module):
    r"""The bearing and the range of a point in the plane, the first two components $p$ of the state, from a sensor at
    $c$: $y = (\operatorname{atan2}(p_2 - c_2, p_1 - c_1), \; \|p - c\|)$, the bearing in radians.

    The bearing wraps: a model with this observation has `difference=WrappedDifference([0])`.

    Args:
        sensor: $c$, `[2]`, the origin by default.

    Raises:
        ValueError: for a position of another shape, or not finite.

    Differentiable in: the state and the position of the sensor, but not where they meet.

    >>> import jax.numpy as jnp
    >>> from mbdl import tracking
    >>> print(tracking.BearingRange([1.0, 0.0])(jnp.array([1.0, 3.0]), tracking.Moment(0)))
    [1.5707964 3. ]
    """

    sensor: Float[Array, "2"]

    def __init__(self, sensor: Any = (0.0, 0.0)):
        self.sensor = point(sensor, 2, "BearingRange: sensor")

    def __call__(self, state: Float[Array, " state"], moment: Moment) -> Float[Array, "2"]:
        x, y = state[0] - self.sensor[0], state[1] - self.sensor[1]
        return jnp.stack([jnp.arctan2(y, x), jnp.linalg.norm(jnp.stack([x, y]))])
