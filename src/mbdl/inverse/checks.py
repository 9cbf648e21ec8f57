"""What operators on images check of what they are given."""

from typing import Any

import jax.numpy as jnp


def image(s: Any, what: str) -> None:
    """Raise unless `s` is an image, `[height width]` or `[height width channel]`."""
    shape = jnp.shape(s)
    if len(shape) not in (2, 3):
        raise ValueError(
            f"{what}: expected an image [height width] or [height width channel], got shape {shape}; "
            "apply jax.vmap to a batch"
        )
