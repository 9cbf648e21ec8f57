"""The convolution that every image network of the library is made of."""

import math
from typing import Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

Boundary = Literal["zero", "periodic", "reflect"]

_PAD_MODES = {"periodic": "wrap", "reflect": "reflect"}


class Conv(eqx.Module):
    """A convolution of an image with channels last, as large as its input.

    ``y[i, j, o] = bias[o] + sum_{u, v, c} kernel[u, v, c, o] x[i + u - p, j + v - p, c]``, with
    ``p = (size - 1) // 2``: the convolution of neural networks, a correlation. The kernel is drawn from a normal
    distribution of variance ``2 / (size² in_channels)`` times ``scale²``, and the bias is zero.

    It acts on one image; under ``jax.vmap`` a batch becomes one batched convolution of the compiler's library. A loop
    over it belongs in ``mbdl.core.loop``, which unrolls it on a CPU.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        size: side of the square kernel, in pixels.
        bias: whether a number per output channel is added.
        boundary: what lies outside of the image: ``"zero"``, ``"periodic"``, or ``"reflect"`` (mirrored about the
            outermost pixels).
        scale: factor on the kernel's standard deviation; small for a layer that shall start near zero.
        dtype: floating-point type of the parameters.
        key: a JAX random key.

    Raises:
        ValueError: for a size or a number of channels below one, or an unknown boundary.

    Differentiable in: the image, the kernel and the bias, in forward and reverse mode.

    Source: K. He et al., "Delving deep into rectifiers", ICCV 2015, for the variance.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from mbdl import networks
        >>> conv = networks.Conv(1, 8, 3, key=jax.random.key(0))
        >>> conv(jnp.ones((5, 7, 1))).shape
        (5, 7, 8)
    """

    kernel: Float[Array, "size size in_channels out_channels"]
    bias: Float[Array, " out_channels"] | None
    boundary: Boundary = eqx.field(static=True)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: int = 3,
        *,
        bias: bool = True,
        boundary: Boundary = "zero",
        scale: float = 1.0,
        dtype: DTypeLike = jnp.float32,
        key: PRNGKeyArray,
    ):
        if min(in_channels, out_channels, size) < 1:
            raise ValueError(
                f"Conv got in_channels={in_channels}, out_channels={out_channels}, size={size}: all must be at least 1."
            )
        if boundary not in get_args(Boundary):
            raise ValueError(f"Conv got boundary={boundary!r}, expected one of {', '.join(get_args(Boundary))}.")
        deviation = scale * math.sqrt(2 / (size * size * in_channels))
        self.kernel = deviation * jax.random.normal(key, (size, size, in_channels, out_channels), dtype)
        self.bias = jnp.zeros(out_channels, dtype) if bias else None
        self.boundary = boundary

    def __call__(self, image: Float[Array, "height width in_channels"]) -> Float[Array, "height width out_channels"]:
        """Convolves one image.

        Args:
            image: array ``[height, width, in_channels]``.

        Returns:
            The convolved image ``[height, width, out_channels]``, in the wider dtype of image and kernel.

        Raises:
            ValueError: if the image is not of this shape, or too small to be reflected.
        """
        size, _, in_channels, _ = self.kernel.shape
        if image.ndim != 3 or image.shape[-1] != in_channels:
            raise ValueError(
                f"Conv expected an image [height, width, {in_channels}], got the shape {image.shape}; "
                "map over a batch with jax.vmap."
            )
        dtype = jnp.result_type(image, self.kernel)
        before, after = (size - 1) // 2, size // 2
        padding = ((before, after), (before, after))
        if self.boundary != "zero":
            if self.boundary == "reflect" and min(image.shape[:2]) <= after:
                raise ValueError(
                    f"Conv got the image {image.shape[:2]}, too small to be reflected by {after} pixels; "
                    'use a larger image or boundary="zero".'
                )
            image = jnp.pad(image, (*padding, (0, 0)), mode=_PAD_MODES[self.boundary])
            padding = ((0, 0), (0, 0))
        output = jax.lax.conv_general_dilated(
            image.astype(dtype)[None],
            self.kernel.astype(dtype),
            window_strides=(1, 1),
            padding=padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )[0]
        return output if self.bias is None else output + self.bias
