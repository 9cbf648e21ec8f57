"""A small U-Net."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from .conv import Conv
from .denoiser import AbstractDenoiser
from .resampling import depth_to_space, space_to_depth


class UNet(AbstractDenoiser):
    """A network on several scales that predicts the noise of an image and subtracts it.

    At each scale two convolutions with rectifiers; between scales a 2×2 block of pixels becomes one pixel, by a learned
    map, with twice the channels, and back; on the way up the features of the way down are added. An image whose sides
    are no multiple of ``2^(scales - 1)`` is continued by its last row and column, and the result is cropped.

    Args:
        channels: channels of the image.
        width: channels of the hidden layers at the finest scale.
        scales: number of scales, at least 1.
        noise_conditioned: whether the network takes the noise level, as a constant extra channel.
        activation: a function on arrays that has a name (not a lambda), so that the network can be saved.
        dtype: floating-point type of the parameters.
        key: a JAX random key.

    Raises:
        ValueError: for no scale, or a width or number of channels below one.

    Differentiable in: the image, the noise level and all parameters.

    Source: O. Ronneberger, P. Fischer and T. Brox, "U-Net", MICCAI 2015. Features are added rather than concatenated,
    and the scales are changed by 2×2 convolutions of stride 2, as in K. Zhang et al., "Plug-and-play image restoration
    with deep denoiser prior", IEEE TPAMI 2021.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from mbdl import networks
        >>> unet = networks.UNet(width=4, scales=3, key=jax.random.key(0))
        >>> unet(jnp.zeros((13, 18))).shape
        (13, 18)
    """

    head: Conv
    down: tuple[tuple[Conv, Conv], ...]
    bottom: tuple[Conv, Conv]
    up: tuple[tuple[Conv, Conv], ...]
    shrink: tuple[Conv, ...]
    grow: tuple[Conv, ...]
    tail: Conv
    channels: int = eqx.field(static=True)
    noise_conditioned: bool = eqx.field(static=True)
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        channels: int = 1,
        width: int = 16,
        scales: int = 3,
        noise_conditioned: bool = False,
        *,
        activation: Callable[[Array], Array] = jax.nn.relu,
        dtype: DTypeLike = jnp.float32,
        key: PRNGKeyArray,
    ):
        if scales < 1:
            raise ValueError(f"UNet got scales={scales}, expected at least 1.")
        keys = iter(jax.random.split(key, 6 * scales - 2))

        def conv(a: int, b: int, size: int = 3, scale: float = 1.0) -> Conv:
            return Conv(a, b, size, scale=scale, dtype=dtype, key=next(keys))

        widths = [width * 2**scale for scale in range(scales)]
        fine = widths[:-1]
        self.head = conv(channels + noise_conditioned, width)
        self.down = tuple((conv(w, w), conv(w, w)) for w in fine)
        self.bottom = (conv(widths[-1], widths[-1]), conv(widths[-1], widths[-1]))
        self.up = tuple((conv(w, w), conv(w, w)) for w in fine)
        # No rectifier stands behind the maps between scales: half the variance keeps the size of the signal.
        self.shrink = tuple(conv(4 * w, 2 * w, 1, 0.5**0.5) for w in fine)
        self.grow = tuple(conv(2 * w, 4 * w, 1, 0.5**0.5) for w in fine)
        self.tail = conv(width, channels, scale=0.01)
        self.channels = channels
        self.noise_conditioned = noise_conditioned
        self.activation = activation

    def noise(self, image: Float[Array, "height width extended"]) -> Float[Array, "height width channel"]:
        """The predicted noise: down the scales and up again."""
        height, width, _ = image.shape
        multiple = 2 ** len(self.shrink)
        features = jnp.pad(image, ((0, -height % multiple), (0, -width % multiple), (0, 0)), mode="edge")
        features = self.head(features)
        skipped = []
        for block, shrink in zip(self.down, self.shrink, strict=True):
            features = self._block(block, features)
            skipped.append(features)
            features = shrink(space_to_depth(features, 2))
        features = self._block(self.bottom, features)
        for block, grow in zip(reversed(self.up), reversed(self.grow), strict=True):
            features = self._block(block, depth_to_space(grow(features), 2) + skipped.pop())
        return self.tail(features)[:height, :width]

    def _block(self, convolutions: tuple[Conv, Conv], features: Array) -> Array:
        for conv in convolutions:
            features = self.activation(conv(features))
        return features
