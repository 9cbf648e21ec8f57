"""Convolution of images by FFT."""

import math
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mbdl.core import as_leaf
from mbdl.core.checks import concrete, finite, floating

from .checks import image
from .conjugate_gradients import implicit_solve
from .operator import AbstractOperator

Boundary = Literal["periodic", "zero"]


class Convolution(AbstractOperator):
    r"""Blur: each channel of an image convolved with one kernel, the result as large as the image.

    $$x_{ij} = \sum_{ab} k_{ab} \, s_{i - a, j - b}$$ with the kernel's middle at $a = b = 0$ and, beyond the edge, the
    image repeated (`"periodic"`) or zero (`"zero"`).

    Args:
        kernel: $k$, `[rows columns]`, both odd.
        boundary: `"periodic"` (solved directly in the Fourier domain) or `"zero"`.

    Raises:
        ValueError: for a kernel of even size, not two-dimensional or not finite, and for an unknown boundary.

    Works on images of any size, also smaller than the kernel. Nothing is precomputed. Differentiable in the kernel.

    >>> import jax.numpy as jnp
    >>> from mbdl import inverse
    >>> blur = inverse.Convolution(inverse.gaussian_kernel(1.0))
    >>> bool(jnp.allclose(blur(jnp.ones((8, 6))), 1.0))
    True
    """

    kernel: Float[Array, "rows columns"]
    boundary: Boundary = eqx.field(static=True)

    def __init__(self, kernel: Any, boundary: Boundary = "periodic"):
        self.kernel = floating(as_leaf(kernel))
        shape = getattr(self.kernel, "shape", None)
        if shape is not None and (len(shape) != 2 or shape[0] % 2 == 0 or shape[1] % 2 == 0):
            raise ValueError(
                f"Convolution: expected a kernel [rows columns] of odd sizes, which has a middle, got shape {shape}; "
                "pad an even one with a row and a column of zeros"
            )
        if boundary not in ("periodic", "zero"):
            raise ValueError(f'Convolution: unknown boundary {boundary!r}; expected "periodic" or "zero"')
        finite(self.kernel, "Convolution: the kernel")
        self.boundary = boundary

    def __call__(self, s: Float[Array, "height width *channel"]) -> Float[Array, "height width *channel"]:
        image(s, "Convolution")
        return self._filter(s, conjugate=False)

    def adjoint(self, x: Float[Array, "height width *channel"]) -> Float[Array, "height width *channel"]:
        image(x, "Convolution")
        return self._filter(x, conjugate=True)

    def _filter(self, s: Array, conjugate: bool) -> Array:
        size = s.shape[0], s.shape[1]
        if self.boundary == "zero":
            rows, columns = (good_size(n + k - 1) for n, k in zip(size, self.kernel.shape, strict=True))
            size = rows, columns
        transfer = transfer_function(self.kernel, size)
        return filtered(s, jnp.conj(transfer) if conjugate else transfer, size)

    def norm(self) -> Float[Array, ""]:
        r"""$\sum |k|$: a bound for every size; exact for a periodic boundary and a kernel without negative entries."""
        return jnp.sum(jnp.abs(self.kernel))

    def autocorrelation(self) -> Float[Array, "rows columns"]:
        """The kernel of $A^T A$ without regard to the boundary, twice as large less one."""
        size = tuple(2 * n - 1 for n in self.kernel.shape)
        spectrum = jnp.abs(jnp.fft.rfft2(self.kernel, s=size)) ** 2
        return jnp.fft.fftshift(jnp.fft.irfft2(spectrum, s=size))

    def gram_kernel(self) -> Float[Array, "rows columns"] | None:
        return self.autocorrelation() if self.boundary == "periodic" else None

    def regularised_solve(
        self, rhs: Float[Array, "height width *channel"], weight: Float[Array, ""]
    ) -> Float[Array, "height width *channel"]:
        if self.boundary != "periodic":
            return super().regularised_solve(rhs, weight)

        def solve(b: Array) -> Array:
            size = b.shape[0], b.shape[1]
            return filtered(b, 1 / (jnp.abs(transfer_function(self.kernel, size)) ** 2 + weight), size)

        return implicit_solve(self.regularised_gram(weight), rhs, solve)

    @property
    def dtype(self) -> np.dtype:
        return self.kernel.dtype


def transfer_function(kernel: Array, size: tuple[int, int]) -> Array:
    """The half spectrum (`rfft2`) of periodic convolution of images of a size with a centred kernel of odd size."""
    middle = tuple(n // 2 for n in kernel.shape)
    # A kernel larger than the image wraps around it.
    widths = [(0, -k % n) for k, n in zip(kernel.shape, size, strict=True)]
    padded = jnp.pad(kernel, widths)
    if padded.shape != size:
        repeats = [k // n for k, n in zip(padded.shape, size, strict=True)]
        padded = padded.reshape(repeats[0], size[0], repeats[1], size[1]).sum((0, 2))
    return jnp.fft.rfft2(jnp.roll(padded, (-middle[0], -middle[1]), (0, 1)))


def filtered(s: Array, transfer: Array, size: tuple[int, int]) -> Array:
    """An image, zero-padded to a size, times a half spectrum, and cut to its own size."""
    if s.ndim == 3:
        transfer = transfer[..., None]
    result = jnp.fft.irfft2(jnp.fft.rfft2(s, s=size, axes=(0, 1)) * transfer, s=size, axes=(0, 1))
    return result[: s.shape[0], : s.shape[1]]


def good_size(size: int) -> int:
    """The smallest even number from `size` on with no prime factor above five."""
    candidate = size + size % 2
    while True:
        rest = candidate
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return candidate
        candidate += 2


def gaussian_kernel(width: float, radius: int | None = None) -> Float[Array, "rows columns"]:
    r"""A Gaussian blur kernel that sums to one, sampled at whole pixels.

    Args:
        width: the standard deviation in pixels; positive.
        radius: the kernel has $2 \cdot \text{radius} + 1$ rows and columns; by default four standard deviations,
            rounded up.

    Raises:
        ValueError: for a width that is not positive or a radius below zero.
        TypeError: for a traced width without a radius.

    Differentiable in: the width, given a radius.

    >>> from mbdl import inverse
    >>> inverse.gaussian_kernel(1.0).shape
    (9, 9)
    """
    known = concrete(width)
    if known is not None and not (np.isfinite(known) and known > 0):
        raise ValueError(f"gaussian_kernel: expected a positive width in pixels, got {width}")
    if radius is None:
        if known is None:
            raise TypeError("gaussian_kernel: the size of the kernel needs a radius when the width is traced")
        radius = math.ceil(4 * float(known))
    if radius < 0:
        raise ValueError(f"gaussian_kernel: expected a radius of at least 0, got {radius}")
    offsets = jnp.arange(-radius, radius + 1)
    profile = jnp.exp(-0.5 * (offsets / width) ** 2)
    profile = profile / profile.sum()
    return jnp.outer(profile, profile)
