"""What every network on images does with its arguments: channels, and a noise level."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float


def on_channels(
    function: Callable[[Float[Array, "height width channel"]], Float[Array, "rows columns channel"]],
    image: Float[Array, "height width"] | Float[Array, "height width channel"],
    channels: int,
    name: str,
) -> Float[Array, "rows columns"] | Float[Array, "rows columns channel"]:
    """Applies a function of ``[height, width, channels]`` to an image that may lack, or repeat, its channel axis.

    A function of one channel acts on each channel of an image by itself, as the operators of ``mbdl.inverse`` do.

    Args:
        function: maps ``[height, width, channels]`` to an image with as many channels.
        image: ``[height, width]`` or ``[height, width, channel]``.
        channels: the number of channels that the function takes.
        name: what an error calls the network.

    Returns:
        The function's value, without a channel axis where the image has none.

    Raises:
        TypeError: if the image is not of a floating-point type.
        ValueError: if its shape does not fit.
    """
    image = jnp.asarray(image)
    if not jnp.issubdtype(image.dtype, jnp.floating):
        raise TypeError(f"{name} expected an image of floating-point numbers, got {image.dtype}; convert it first.")
    if image.ndim == 2 and channels == 1:
        return function(image[..., None])[..., 0]
    if image.ndim == 3 and image.shape[-1] == channels:
        return function(image)
    if image.ndim == 3 and channels == 1:
        return jax.vmap(lambda channel: function(channel[..., None])[..., 0], in_axes=-1, out_axes=-1)(image)
    wanted = "[height, width] or [height, width, channel]" if channels == 1 else f"[height, width, {channels}]"
    raise ValueError(f"{name} expected an image {wanted}, got the shape {image.shape}; map over a batch with jax.vmap.")


def check_noise_level(noise_level: ArrayLike | None, noise_conditioned: bool, name: str) -> None:
    """Raises unless a noise level is given to exactly those networks that take one.

    Args:
        noise_level: what the network was given.
        noise_conditioned: whether the network takes a noise level.
        name: what an error calls the network.

    Raises:
        TypeError: if a noise level is missing, is not wanted, or is not a scalar.
    """
    if noise_conditioned and noise_level is None:
        raise TypeError(
            f"This {name} takes a noise level and got none: call it as network(image, noise_level), "
            "or build it with noise_conditioned=False."
        )
    if not noise_conditioned and noise_level is not None:
        raise TypeError(
            f"This {name} takes no noise level and got one: call it as network(image), "
            "or build it with noise_conditioned=True."
        )
    if noise_level is not None and jnp.ndim(noise_level) != 0:
        raise TypeError(f"{name} expected a scalar noise level, got the shape {jnp.shape(noise_level)}.")


def with_noise_level(
    image: Float[Array, "height width channel"], noise_level: ArrayLike | None
) -> Float[Array, "height width extended"]:
    """Appends a constant channel that holds the noise level, if there is one.

    Args:
        image: ``[height, width, channel]``.
        noise_level: standard deviation of the noise, in the image's unit, or None.

    Returns:
        The image, with one channel more where a noise level is given.
    """
    if noise_level is None:
        return image
    level = jnp.broadcast_to(jnp.asarray(noise_level, image.dtype), (*image.shape[:2], 1))
    return jnp.concatenate([image, level], axis=-1)
