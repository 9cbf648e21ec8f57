"""The difference of observations that hold angles."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class WrappedDifference(eqx.Module):
    r"""The difference of two observations, in which some components are angles: these differ by an angle in
    $[-\pi, \pi]$, whatever multiples of $2 \pi$ the observations hold.

    Args:
        angles: the indices of the components that are angles, in radians.

    Raises:
        ValueError: for an index that is negative or occurs twice.

    Differentiable in: both observations, but for a jump where the angles are opposite.

    >>> import jax.numpy as jnp, numpy as np
    >>> from mbdl import tracking
    >>> difference = tracking.WrappedDifference([1])
    >>> print(np.asarray(difference(jnp.array([7.0, 0.1]), jnp.array([0.0, 2 * jnp.pi - 0.1]))).round(3))
    [7. 0.2]
    """

    angles: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, angles: Sequence[int]):
        self.angles = tuple(int(index) for index in angles)
        if any(index < 0 for index in self.angles) or len(set(self.angles)) != len(self.angles):
            raise ValueError(f"WrappedDifference: expected distinct indices of components, got {self.angles}")

    def __call__(
        self, observed: Float[Array, " observation"], expected: Float[Array, " observation"]
    ) -> Float[Array, " observation"]:
        difference = observed - expected
        size = difference.shape[-1]
        if any(index >= size for index in self.angles):
            raise ValueError(
                f"WrappedDifference: the angles are the components {self.angles}, and an observation has {size}"
            )
        is_angle = np.isin(np.arange(size), self.angles)
        turns = jnp.round(difference / (2 * jnp.pi))
        return jnp.where(is_angle, difference - 2 * jnp.pi * turns, difference)
