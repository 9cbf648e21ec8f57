"""Metrics: functions of one decision and its target by which rules are compared."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from mbdl.training.losses import _same_shape, absolute_square, mae, mse
from mbdl.training.ssim import crop_border, ssim

__all__ = ["mae", "mse", "nmse", "nmse_db", "psnr", "ssim"]


def nmse(decision: Inexact[Array, "..."], target: Inexact[Array, "..."]) -> Float[Array, ""]:
    """Normalised squared error of one example, ‖ŝ − s‖² / ‖s‖².

    Args:
        decision: the decision ŝ, real or complex.
        target: the target s, of the same shape, not all zero (else the result is infinite or NaN).

    Returns:
        A ratio; 1 is what the decision 0 scores.

    Raises:
        ValueError: if the shapes differ.

    Differentiable in both arguments.

    >>> import jax.numpy as jnp
    >>> float(nmse(jnp.array([1.0, 0.0]), jnp.array([1.0, 1.0])))
    0.5
    """
    _same_shape(decision, target, "nmse")
    return jnp.sum(absolute_square(decision - target)) / jnp.sum(absolute_square(target))


def nmse_db(decision: Inexact[Array, "..."], target: Inexact[Array, "..."]) -> Float[Array, ""]:
    """Normalised squared error of one example in decibels, 10 log₁₀(‖ŝ − s‖² / ‖s‖²).

    A mean of this over examples is a mean of decibels, not the decibels of a mean.

    Args:
        decision: the decision ŝ, real or complex.
        target: the target s, of the same shape, not all zero.

    Returns:
        Decibels, lower is better; −∞ where the decision is exact.

    Raises:
        ValueError: if the shapes differ.

    Differentiable in both arguments where they differ.

    >>> import jax.numpy as jnp
    >>> round(float(nmse_db(jnp.array([0.9]), jnp.array([1.0]))), 3)
    -20.0
    """
    return 10.0 * jnp.log10(nmse(decision, target))


def psnr(
    decision: Float[Array, "..."],
    target: Float[Array, "..."],
    *,
    data_range: float | Array = 1.0,
    crop: int = 0,
) -> Float[Array, ""]:
    """Peak signal-to-noise ratio of one image in decibels, 10 log₁₀(L² / mean (ŝ − s)²).

    Nothing is clipped, rounded or cropped unless asked for. A mean of this over images is a mean of decibels.

    Args:
        decision: the image ŝ, `[height width]` or `[height width channel]`.
        target: the image s, of the same shape.
        data_range: L, the distance between the smallest and the largest possible value.
        crop: the number of pixels cut off at each side of both images first (super-resolution papers cut off the
            scale).

    Returns:
        Decibels, higher is better; infinite where the images are equal.

    Raises:
        ValueError: if the shapes differ, or if the crop leaves nothing.

    Differentiable in both images where they differ.

    >>> import jax.numpy as jnp
    >>> round(float(psnr(jnp.full((8, 8), 0.4), jnp.full((8, 8), 0.5))), 3)
    20.0
    """
    _same_shape(decision, target, "psnr")
    decision, target = crop_border(decision, crop), crop_border(target, crop)
    return -10.0 * jnp.log10(jnp.mean((decision - target) ** 2) / data_range**2)
