"""Applying a saved rule to an image of any size."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from mbdl.core import DecisionRule

TILE = 256
"""The side of the pieces that a large image is cut into, in its own pixels."""

OVERLAP = 24
"""How far pieces reach into each other; what is computed there is used from the piece that has more around it."""


def enlargement(rule: Any) -> int:
    """By how much a rule enlarges an image.

    Args:
        rule: what a file held.

    Returns:
        The factor, 1 for a rule that keeps the size.

    Raises:
        ValueError: if it is not a decision rule, or not one that takes a grey image and gives one.
    """
    if not isinstance(rule, DecisionRule):
        raise ValueError(f"the file holds a {type(rule).__name__}, which is a part of a rule and not a rule")
    name = type(rule).__name__
    shape = (TILE, TILE + 2)
    try:
        decision = jax.eval_shape(rule, jax.ShapeDtypeStruct(shape, np.float32))
    except Exception as error:
        raise ValueError(
            f"the rule ({name}) is not for images: given one of {shape[0]}×{shape[1]}, it says: {error}"
        ) from error
    found = getattr(decision, "shape", None)
    if (
        found is None
        or len(found) != 2
        or found[0] % shape[0]
        or found
        != (
            shape[0] * (found[0] // shape[0]),
            shape[1] * (found[0] // shape[0]),
        )
    ):
        raise ValueError(
            f"the rule ({name}) is not for images: of one of {shape[0]}×{shape[1]} it makes {found or 'no array'}"
        )
    return found[0] // shape[0]


def apply(
    rule: DecisionRule,
    values: Float[np.ndarray, "height width channels"],
    *,
    tile: int = TILE,
    overlap: int = OVERLAP,
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> Float[np.ndarray, "height*factor width*factor channels"]:
    """Applies a rule to each channel of an image, in overlapping pieces where it is large.

    A colour image is treated channel by channel, red, green and blue: rules act on one channel, and each has noise.

    Args:
        rule: a rule that takes a grey image of any size and gives one.
        values: the image in [0, 1].
        tile: the side of the pieces; memory grows with its square.
        overlap: how far pieces reach into each other, at least the rule's reach.
        tell: is told how many pieces of how many are done.

    Returns:
        The result, clipped to [0, 1].

    Raises:
        ValueError: if the rule is not for images or its decision is not finite.
    """
    factor = enlargement(rule)
    height, width, channels = values.shape
    rows, columns = list(_pieces(height, tile, overlap)), list(_pieces(width, tile, overlap))
    result = np.empty((height * factor, width * factor, channels), np.float32)
    total, done = len(rows) * len(columns) * channels, 0
    for top, bottom, row, row_end in rows:
        for left, right, column, column_end in columns:
            for channel in range(channels):
                decision = np.asarray(rule(values[top:bottom, left:right, channel]))
                result[row * factor : row_end * factor, column * factor : column_end * factor, channel] = decision[
                    (row - top) * factor : (row_end - top) * factor,
                    (column - left) * factor : (column_end - left) * factor,
                ]
                done += 1
                tell(done, total)
    return np.clip(result, 0.0, 1.0)


def _pieces(size: int, tile: int, overlap: int) -> Iterator[tuple[int, int, int, int]]:
    """Pieces of one axis: where each begins and ends, and between where and where it is used.

    All are equally long, so that a rule is compiled once.
    """
    if size <= tile:
        yield 0, size, 0, size
        return
    count = -(-(size - overlap) // (tile - overlap))
    starts = [round(index * (size - tile) / (count - 1)) for index in range(count)]
    for index, start in enumerate(starts):
        begin = 0 if index == 0 else (starts[index - 1] + tile + start) // 2
        end = size if index == count - 1 else (start + tile + starts[index + 1]) // 2
        yield start, start + tile, begin, end
