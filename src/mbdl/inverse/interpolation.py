"""Interpolation of small images: as a rule of its own, and as a solver's first iterate."""

from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from mbdl.core import DecisionRule
from mbdl.networks import upsample

from .initial import AbstractInitial
from .least_squares import AbstractFidelity


class Bicubic(DecisionRule):
    """Enlargement by cubic interpolation, the rule that knows neither blur nor noise.

    Args:
        factor: how many times larger each side becomes. The small image's pixels are every `factor`-th of the large
            one's, beginning with the first, as in `Downsample`.

    Raises:
        ValueError: for a factor below one.

    Differentiable in: the image.

    Source: R. Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP 1981.

    >>> import jax.numpy as jnp
    >>> from mbdl import inverse
    >>> inverse.Bicubic(2)(jnp.ones((3, 4))).shape
    (6, 8)
    """

    factor: int = eqx.field(static=True)

    def __init__(self, factor: int):
        if factor < 1:
            raise ValueError(f"Bicubic: expected a factor of at least 1, got {factor}")
        self.factor = factor

    def decide(self, x: Float[Array, "rows columns *channel"]) -> Float[Array, "height width *channel"]:
        return upsample(x, self.factor)


class Interpolated(AbstractInitial):
    """Begin super-resolution at the observation enlarged by cubic interpolation.

    Args:
        factor: that of the operator's `Downsample`.
    """

    factor: int = eqx.field(static=True)

    def __call__(self, fidelity: AbstractFidelity, x: Any) -> Any:
        return upsample(x, self.factor)
