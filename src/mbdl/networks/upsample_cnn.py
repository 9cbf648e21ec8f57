"""A residual network for super-resolution that works at the low resolution."""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from .conv import Conv
from .images import on_channels
from .resampling import depth_to_space, upsample


class UpsampleCNN(eqx.Module):
    """A super-resolution network without a model: residual blocks at low resolution, then a sub-pixel shuffle.

    ``h_0 = W_in * x``, ``h_{l+1} = h_l + V_l * activation(U_l * h_l)`` for ``depth`` blocks,
    ``s = bicubic(x) + shuffle(W_out * (h_depth + h_0))``. All convolutions act on the small image, so that a network
    costs ``factor²`` times less than one of the same size on the large image. It works on images of any size and holds
    ``9 c w + w + 2 depth (9 w² + w) + 9 w c f² + c f²`` numbers for ``c`` channels, width ``w`` and factor ``f``. The
    last layer starts near zero, so that the network starts near bicubic interpolation.

    Args:
        factor: how many times larger each side becomes.
        channels: channels of the image.
        width: channels of the hidden layers.
        depth: number of residual blocks, each of two convolutions.
        offset: where the first coarse pixel lies on the fine grid, as in `upsample`.
        activation: a function on arrays that has a name (not a lambda), so that the network can be saved.
        dtype: floating-point type of the parameters.
        key: a JAX random key.

    Raises:
        ValueError: for a factor, width or number of channels below one, or a negative depth.

    Differentiable in: the image and all parameters.

    Source: B. Lim et al., "Enhanced deep residual networks for single image super-resolution" (EDSR), CVPR Workshops
    2017, with the sub-pixel shuffle of W. Shi et al. (ESPCN), CVPR 2016; the sum with the interpolated image is that
    of J. Kim et al. (VDSR), CVPR 2016.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from mbdl import networks
        >>> network = networks.UpsampleCNN(3, width=8, depth=2, key=jax.random.key(0))
        >>> network(jnp.zeros((7, 5))).shape
        (21, 15)
    """

    head: Conv
    blocks: tuple[tuple[Conv, Conv], ...]
    tail: Conv
    factor: int = eqx.field(static=True)
    channels: int = eqx.field(static=True)
    offset: float = eqx.field(static=True)
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        factor: int,
        channels: int = 1,
        width: int = 64,
        depth: int = 8,
        *,
        offset: float = 0.0,
        activation: Callable[[Array], Array] = jax.nn.relu,
        dtype: DTypeLike = jnp.float32,
        key: PRNGKeyArray,
    ):
        if factor < 1:
            raise ValueError(f"UpsampleCNN got factor={factor}, expected at least 1.")
        if depth < 0:
            raise ValueError(f"UpsampleCNN got depth={depth}, expected the number of residual blocks, at least 0.")
        keys = jax.random.split(key, 2 * depth + 2)
        # No rectifier stands behind the first layer, and the sum over the blocks shall not grow with their number.
        second = math.sqrt(0.5 / max(depth, 1))
        self.head = Conv(channels, width, scale=math.sqrt(0.5), dtype=dtype, key=keys[0])
        self.blocks = tuple(
            (
                Conv(width, width, dtype=dtype, key=keys[2 * block + 1]),
                Conv(width, width, scale=second, dtype=dtype, key=keys[2 * block + 2]),
            )
            for block in range(depth)
        )
        self.tail = Conv(width, channels * factor**2, scale=0.01, dtype=dtype, key=keys[-1])
        self.factor = factor
        self.channels = channels
        self.offset = offset
        self.activation = activation

    def __call__(
        self, image: Float[Array, "height width"] | Float[Array, "height width channel"]
    ) -> Float[Array, "height*factor width*factor"] | Float[Array, "height*factor width*factor channel"]:
        """Enlarges one image.

        Args:
            image: ``[height, width]`` or ``[height, width, channel]``. A network of one channel treats each channel of
                a colour image by itself.

        Returns:
            The image with both sides ``factor`` times as long.

        Raises:
            TypeError: if the image does not hold floating-point numbers.
            ValueError: if its shape does not fit.
        """
        return on_channels(self._enlarge, image, self.channels, type(self).__name__)

    def _enlarge(self, image: Array) -> Array:
        start = features = self.head(image)
        for first, second in self.blocks:
            features = features + second(self.activation(first(features)))
        detail = depth_to_space(self.tail(features + start), self.factor)
        return upsample(image, self.factor, offset=self.offset) + detail.astype(image.dtype)
