"""A denoiser whose convolutions act on a coarser grid."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from .denoiser import AbstractDenoiser
from .dncnn import DnCNN
from .resampling import depth_to_space, space_to_depth


class CoarseDenoiser(AbstractDenoiser):
    """A `DnCNN` on blocks of pixels: each block becomes one coarse pixel with more channels, and back.

    ``noise(x) = shuffle(noise_DnCNN(unshuffle(x)))``. Each convolution sees ``factor`` times further and costs
    ``factor²`` times less than one on the fine grid. Images whose sides are no multiples of the factor are continued by
    their outermost pixels first.

    Args:
        channels: channels of the image.
        width: channels of the hidden layers.
        depth: number of convolutions, at least 2.
        factor: side of the blocks, in pixels.
        noise_conditioned: whether the network takes the noise level, as one constant extra coarse channel.
        activation: a function on arrays that has a name (not a lambda), so that the network can be saved.
        dtype: floating-point type of the parameters.
        key: a JAX random key.

    Raises:
        ValueError: for a factor below one, or what `DnCNN` does not take.

    Differentiable in: the image, the noise level and all parameters.

    Source: K. Zhang, W. Zuo and L. Zhang, "FFDNet: toward a fast and flexible solution for CNN based image denoising",
    IEEE TIP 2018; without its batch normalisation and with the sum of residual learning.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from mbdl import networks
        >>> denoiser = networks.CoarseDenoiser(width=8, depth=3, key=jax.random.key(0))
        >>> denoiser(jnp.zeros((11, 12))).shape
        (11, 12)
    """

    inner: DnCNN
    channels: int = eqx.field(static=True)
    factor: int = eqx.field(static=True)
    noise_conditioned: bool = eqx.field(static=True)

    def __init__(
        self,
        channels: int = 1,
        width: int = 32,
        depth: int = 5,
        factor: int = 2,
        noise_conditioned: bool = False,
        *,
        activation: Callable[[Array], Array] = jax.nn.relu,
        dtype: DTypeLike = jnp.float32,
        key: PRNGKeyArray,
    ):
        if factor < 1:
            raise ValueError(f"CoarseDenoiser got factor={factor}, expected at least 1.")
        self.inner = DnCNN(
            channels * factor**2, width, depth, noise_conditioned, activation=activation, dtype=dtype, key=key
        )
        self.channels = channels
        self.factor = factor
        self.noise_conditioned = noise_conditioned

    def noise(self, image: Float[Array, "height width extended"]) -> Float[Array, "height width channel"]:
        """The noise that the network on blocks predicts."""
        height, width = image.shape[:2]
        rows, columns = -height % self.factor, -width % self.factor
        padded = jnp.pad(image, ((0, rows), (0, columns), (0, 0)), mode="edge")
        blocks = space_to_depth(padded[..., : self.channels], self.factor)
        if self.noise_conditioned:
            level = padded[:: self.factor, :: self.factor, self.channels :]
            blocks = jnp.concatenate([blocks, level], axis=-1)
        return depth_to_space(self.inner.noise(blocks), self.factor)[:height, :width]
