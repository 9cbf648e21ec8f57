"""How the input features of a learned gain are scaled."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mbdl.core import as_leaf
from mbdl.core.checks import floating, positive

SMALLEST_NORM = 1e-12


class AbstractNormalisation(eqx.Module):
    """A map of one feature onto a bounded set."""

    @abc.abstractmethod
    def __call__(self, feature: Float[Array, " size"]) -> Float[Array, " size"]:
        """The feature, bounded."""


class UnitNorm(AbstractNormalisation):
    r"""A feature of unit length, $v / \max(\|v\|_2, 10^{-12})$: its direction without its magnitude.

    Differentiable; at exactly zero, where the direction jumps, the derivative is zero.

    Source: the normalisation of KalmanNet (G. Revach et al., "KalmanNet: Neural network aided Kalman filtering for
    partially known dynamics", IEEE Transactions on Signal Processing 70, 2022).

    >>> import jax.numpy as jnp
    >>> from mbdl import tracking
    >>> tracking.UnitNorm()(jnp.array([0.0, 4.0])).tolist()
    [0.0, 1.0]
    """

    def __call__(self, feature: Float[Array, " size"]) -> Float[Array, " size"]:
        return _direction(feature)


@jax.custom_jvp
def _direction(feature: Float[Array, " size"]) -> Float[Array, " size"]:
    return feature / jnp.maximum(jnp.sqrt(jnp.sum(feature**2)), SMALLEST_NORM)


@_direction.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # A recursion stores the direction and one number for each step.
    (feature,), (change,) = primals, tangents
    square = jnp.sum(feature**2)
    norm = jnp.sqrt(jnp.where(square > 0, square, 1.0))
    bounded = jnp.maximum(norm, SMALLEST_NORM)
    direction = feature / bounded
    along = jnp.where(norm > SMALLEST_NORM, direction, 0.0)
    inverse = jnp.where(square > 0, 1 / bounded, 0.0)
    return direction, inverse * (change - along * jnp.sum(along * change))


class Saturation(AbstractNormalisation):
    r"""A feature in units of its nominal scale, saturated component by component: $\tanh(v_i / \sigma_i)$.

    It keeps the magnitude of what is small, which `UnitNorm` discards, and an outlier moves it by no more than one. So
    a learned gain can tell an outlier from an innovation of the usual size, and can weigh it down.

    Args:
        scale: $\sigma$, `[size]` or one number, positive; two or three nominal standard deviations.

    Raises:
        ValueError: for a scale that is not positive.

    Differentiable in: the feature and the scale.

    >>> import jax.numpy as jnp
    >>> from mbdl import tracking
    >>> tracking.Saturation(2.0)(jnp.array([0.0, -1e6])).tolist()
    [0.0, -1.0]
    """

    scale: Float[Array, "..."]

    def __init__(self, scale: Any):
        self.scale = positive(floating(as_leaf(scale)), "Saturation: the scale")

    def __call__(self, feature: Float[Array, " size"]) -> Float[Array, " size"]:
        return jnp.tanh(feature / self.scale)
