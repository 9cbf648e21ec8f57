"""Changing the resolution of an image: blocks of pixels as channels, and cubic interpolation."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def space_to_depth(
    image: Float[Array, "height width channel"], factor: int
) -> Float[Array, "height/factor width/factor channel*factor**2"]:
    """Moves each block of ``factor × factor`` pixels into the channels of one pixel.

    ``y[i, j, (u factor + v) channel + c] = x[factor i + u, factor j + v, c]``.

    Args:
        image: ``[height, width, channel]``, both sides a multiple of the factor.
        factor: side of the blocks.

    Returns:
        ``[height / factor, width / factor, channel · factor²]``.

    Raises:
        ValueError: if a side is no multiple of the factor.

    Differentiable in: the image.

    Example:
        >>> import jax.numpy as jnp
        >>> from mbdl import networks
        >>> networks.space_to_depth(jnp.zeros((4, 6, 3)), 2).shape
        (2, 3, 12)
    """
    height, width, channels = image.shape
    if height % factor or width % factor:
        raise ValueError(
            f"space_to_depth got the sides {height} and {width}, expected multiples of {factor}; pad first."
        )
    blocks = image.reshape(height // factor, factor, width // factor, factor, channels)
    return blocks.transpose(0, 2, 1, 3, 4).reshape(height // factor, width // factor, factor * factor * channels)


def depth_to_space(
    image: Float[Array, "height width channel"], factor: int
) -> Float[Array, "height*factor width*factor channel/factor**2"]:
    """Spreads the channels of each pixel over a block of ``factor × factor`` pixels: the inverse of `space_to_depth`.

    ``y[factor i + u, factor j + v, c] = x[i, j, (u factor + v) channel + c]`` (the sub-pixel shuffle).

    Args:
        image: ``[height, width, channel]``, the channels a multiple of the square of the factor.
        factor: side of the blocks.

    Returns:
        ``[height · factor, width · factor, channel / factor²]``.

    Raises:
        ValueError: if the channels are no multiple of the factor's square.

    Differentiable in: the image.

    Source: W. Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel convolutional
    neural network", CVPR 2016.

    Example:
        >>> import jax.numpy as jnp
        >>> from mbdl import networks
        >>> networks.depth_to_space(jnp.zeros((2, 3, 12)), 2).shape
        (4, 6, 3)
    """
    height, width, channels = image.shape
    if channels % factor**2:
        raise ValueError(f"depth_to_space got {channels} channels, expected a multiple of {factor**2}.")
    blocks = image.reshape(height, width, factor, factor, channels // factor**2).transpose(0, 2, 1, 3, 4)
    return blocks.reshape(height * factor, width * factor, channels // factor**2)


def upsample(
    image: Float[Array, "height width"] | Float[Array, "height width channel"], factor: int, *, offset: float = 0.0
) -> Float[Array, "height*factor width*factor"] | Float[Array, "height*factor width*factor channel"]:
    """Enlarges an image by cubic interpolation along both axes ("bicubic").

    The value at the fine position ``o`` is that of Keys' interpolant (a = -1/2) at the coarse position
    ``(o - offset) / factor``; the image is continued by its outermost pixels. A cubic's values at the coarse positions
    are the pixels themselves, and polynomials of degree two are reproduced away from the border.

    Args:
        image: ``[height, width]`` or ``[height, width, channel]``.
        factor: how many times larger each side becomes, at least 1.
        offset: where the first coarse pixel lies on the fine grid, in fine pixels: 0 if the coarse image holds every
            ``factor``-th pixel of the fine one (``mbdl.inverse.Downsample``), ``(factor - 1) / 2`` if it holds the
            means of blocks.

    Returns:
        The image with both sides ``factor`` times as long.

    Raises:
        ValueError: for a factor below one, or an array that is no image.

    Differentiable in: the image.

    Source: R. Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP 1981.

    Example:
        >>> import jax.numpy as jnp
        >>> from mbdl import networks
        >>> networks.upsample(jnp.arange(12.0).reshape(3, 4), 2).shape
        (6, 8)
    """
    if factor < 1:
        raise ValueError(f"upsample got factor={factor}, expected at least 1.")
    if image.ndim not in (2, 3):
        raise ValueError(f"upsample expected [height, width] or [height, width, channel], got the shape {image.shape}.")
    positions = [(phase - offset) / factor for phase in range(factor)]
    first = math.floor(min(positions)) - 1
    last = math.floor(max(positions)) + 2
    weights = np.array([[_keys(position - tap) for tap in range(first, last + 1)] for position in positions])
    for axis in range(2):
        image = _interpolate(image, weights, first, axis)
    return image


def _keys(distance: float) -> float:
    d = abs(distance)
    if d <= 1:
        return (1.5 * d - 2.5) * d * d + 1
    return ((-0.5 * d + 2.5) * d - 4) * d + 2 if d < 2 else 0.0


def _interpolate(image: Array, weights: np.ndarray, first: int, axis: int) -> Array:
    """Each phase of the fine grid is one short filter of the coarse one."""
    size = image.shape[axis]
    phases, taps = weights.shape
    # `first` may be positive when the offset is negative: then the continuation in front is cut off again.
    before, after = max(-first, 0), max(first + taps - 1, 0)
    padded = jnp.pad(image, [(before, after) if a == axis else (0, 0) for a in range(image.ndim)], mode="edge")
    start = first + before
    windows = [
        padded[tuple(slice(start + t, start + t + size) if a == axis else slice(None) for a in range(image.ndim))]
        for t in range(taps)
    ]
    fine = [
        sum(float(weight) * window for weight, window in zip(row, windows, strict=True) if weight != 0.0)
        for row in weights
    ]
    stacked = jnp.stack(fine, axis=axis + 1)
    return stacked.reshape(*image.shape[:axis], size * phases, *image.shape[axis + 1 :])
