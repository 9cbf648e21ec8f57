"""Patches of images, drawn at random places and in random orientations."""

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Array, Float, Key


def orientation(image: Float[np.ndarray, "height width"], index: int) -> Float[np.ndarray, "rows columns"]:
    """One of the eight flips and quarter turns of an image.

    Args:
        image: the image.
        index: 0 to 7; 0 is the image itself, 4 to 7 are mirrored.

    Returns:
        The image in that orientation.

    Raises:
        ValueError: if the index is outside 0 to 7.

    Example:
        >>> import numpy as np
        >>> from mbdl import data
        >>> data.orientation(np.array([[1, 2], [3, 4]]), 1)
        array([[2, 4],
               [1, 3]])
    """
    if not 0 <= index <= 7:
        raise ValueError(f"there are eight orientations, 0 to 7; got {index}")
    turned = np.rot90(image, index % 4)
    return turned[:, ::-1] if index >= 4 else turned


def patches(
    images: Sequence[Float[np.ndarray, "height width"]],
    count: int,
    size: int,
    *,
    key: Key[Array, ""],
    augment: bool = True,
) -> Float[np.ndarray, "count size size"]:
    """Square patches from random images, at random places, in random orientations.

    Each image is drawn equally often whatever its size, each place in it equally often.

    Args:
        images: the images to draw from.
        count: how many patches.
        size: their height and width in pixels.
        key: a random key.
        augment: whether to turn and flip the patches at random.

    Returns:
        The patches, in the dtype of the images.

    Raises:
        ValueError: if there is no image, or one is smaller than a patch.

    Example:
        >>> import jax, numpy as np
        >>> from mbdl import data
        >>> data.patches([np.zeros((20, 30))], 5, 8, key=jax.random.key(0)).shape
        (5, 8, 8)
    """
    if not images:
        raise ValueError("there is no image to draw patches from")
    for index, image in enumerate(images):
        if min(image.shape) < size:
            raise ValueError(f"image {index} is {image.shape[0]}×{image.shape[1]}, smaller than a {size}×{size} patch")
    draws = np.asarray(jax.random.uniform(key, (count, 4)), dtype=np.float64)
    result = np.empty((count, size, size), dtype=np.result_type(*images))
    for index, (which, row, column, turn) in enumerate(draws):
        image = images[int(which * len(images))]
        top = int(row * (image.shape[0] - size + 1))
        left = int(column * (image.shape[1] - size + 1))
        patch = image[top : top + size, left : left + size]
        result[index] = orientation(patch, int(turn * 8) if augment else 0)
    return result
