"""The residual convolutional denoiser DnCNN."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from .conv import Boundary, Conv
from .denoiser import AbstractDenoiser


class DnCNN(AbstractDenoiser):
    """A chain of convolutions with rectifiers that predicts the noise of an image and subtracts it.

    ``h_0 = x``, ``h_{l+1} = activation(W_l * h_l + b_l)``, ``s = x - (W_{depth-1} * h_{depth-1} + b_{depth-1})``. It
    works on images of any size and holds ``9 (c + n) w + w + (depth - 2) (9 w² + w) + 9 w c + c`` numbers for ``c``
    channels, width ``w`` and ``n = 1`` if it takes a noise level (else 0). The last layer starts near zero, so that
    the network starts near the identity.

    Args:
        channels: channels of the image.
        width: channels of the hidden layers.
        depth: number of convolutions, at least 2.
        noise_conditioned: whether the network takes the noise level, as a constant extra channel.
        bias: whether the convolutions have biases. Without them (and without a noise level) the network scales with its
            input, and so generalises better to noise levels that it has not seen.
        boundary: what the convolutions see outside of the image, as in `Conv`.
        activation: a function on arrays that has a name (not a lambda), so that the network can be saved.
        dtype: floating-point type of the parameters.
        key: a JAX random key.

    Raises:
        ValueError: for fewer than two layers, or a width or number of channels below one.

    Differentiable in: the image, the noise level and all parameters.

    Source: K. Zhang et al., "Beyond a Gaussian denoiser: residual learning of deep CNN for image denoising", IEEE TIP
    2017; without its batch normalisation, which makes a decision depend on other examples. The constant noise channel
    is that of K. Zhang et al., "FFDNet", IEEE TIP 2018; bias-free networks are those of S. Mohan et al., ICLR 2020.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from mbdl import networks
        >>> denoiser = networks.DnCNN(width=8, depth=3, key=jax.random.key(0))
        >>> denoiser(jnp.zeros((10, 12))).shape
        (10, 12)
        >>> aware = networks.DnCNN(3, width=8, depth=3, noise_conditioned=True, key=jax.random.key(0))
        >>> aware(jnp.zeros((10, 12, 3)), 0.1).shape
        (10, 12, 3)
    """

    layers: tuple[Conv, ...]
    channels: int = eqx.field(static=True)
    noise_conditioned: bool = eqx.field(static=True)
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        channels: int = 1,
        width: int = 32,
        depth: int = 5,
        noise_conditioned: bool = False,
        *,
        bias: bool = True,
        boundary: Boundary = "zero",
        activation: Callable[[Array], Array] = jax.nn.relu,
        dtype: DTypeLike = jnp.float32,
        key: PRNGKeyArray,
    ):
        if depth < 2:
            raise ValueError(f"DnCNN got depth={depth}, expected at least 2 layers.")
        sizes = (channels + noise_conditioned, *([width] * (depth - 1)), channels)
        keys = jax.random.split(key, depth)
        self.layers = tuple(
            Conv(
                sizes[layer],
                sizes[layer + 1],
                bias=bias,
                boundary=boundary,
                scale=1.0 if layer < depth - 1 else 0.01,
                dtype=dtype,
                key=keys[layer],
            )
            for layer in range(depth)
        )
        self.channels = channels
        self.noise_conditioned = noise_conditioned
        self.activation = activation

    def noise(self, image: Float[Array, "height width extended"]) -> Float[Array, "height width channel"]:
        """The predicted noise: the chain of convolutions."""
        for layer in self.layers[:-1]:
            image = self.activation(layer(image))
        return self.layers[-1](image)
