"""Decimation of images."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .checks import image
from .conjugate_gradients import implicit_solve
from .convolution import Convolution, filtered, transfer_function
from .operator import AbstractOperator


class Downsample(AbstractOperator):
    """Decimation: keeps every `factor`-th pixel in both directions, beginning with the first.

    The adjoint fills with zeros. After a blur, `Downsample(2) @ Convolution(kernel)` is the usual model of
    super-resolution, and its regularised solve is direct for a periodic boundary: $A A^T$ is then a periodic
    convolution of the small image,
    $$(A^T A + w I)^{-1} b = (b - A^T (A A^T + w I)^{-1} A b) / w.$$

    Args:
        factor: at least 1.

    Raises:
        ValueError: for a factor below 1, and for an image whose sizes are not multiples of it (crop or pad it; what
            the adjoint returns always is such a one, so that an observed image may have any size).

    Source: the direct solution is that of N. Zhao et al., "Fast single image super-resolution using a new
    analytical solution for l2-l2 problems", IEEE Trans. Image Processing 25, 2016.

    >>> import jax.numpy as jnp
    >>> from mbdl import inverse
    >>> inverse.Downsample(2)(jnp.arange(16.0).reshape(4, 4)).tolist()
    [[0.0, 2.0], [8.0, 10.0]]
    """

    factor: int = eqx.field(static=True)

    def __init__(self, factor: int):
        if not isinstance(factor, (int, np.integer)) or isinstance(factor, bool) or factor < 1:
            raise ValueError(f"Downsample: expected a whole factor of at least 1, got {factor!r}")
        self.factor = int(factor)

    def __call__(self, s: Float[Array, "height width *channel"]) -> Float[Array, "rows columns *channel"]:
        image(s, "Downsample")
        if s.shape[0] % self.factor or s.shape[1] % self.factor:
            height, width = (n - n % self.factor for n in s.shape[:2])
            raise ValueError(
                f"Downsample: the sizes of an image of shape {s.shape} are not multiples of the factor {self.factor}; "
                f"crop it to s[:{height}, :{width}] or pad it"
            )
        return s[:: self.factor, :: self.factor]

    def adjoint(self, x: Float[Array, "rows columns *channel"]) -> Float[Array, "height width *channel"]:
        image(x, "Downsample (adjoint)")
        d, (rows, columns, *channels) = self.factor, x.shape
        grid = x.reshape(rows, 1, columns, 1, *channels)
        widths = [(0, 0), (0, d - 1), (0, 0), (0, d - 1)] + [(0, 0)] * len(channels)
        return jnp.pad(grid, widths).reshape(rows * d, columns * d, *channels)

    def norm(self) -> Float[Array, ""]:
        return jnp.asarray(1.0)

    def regularised_solve(self, rhs: Any, weight: Float[Array, ""]) -> Any:
        image(rhs, "Downsample (regularised solve)")
        return (rhs - self.adjoint(self(rhs)) / (1 + weight)) / weight

    def norm_after(self, inner: AbstractOperator) -> Float[Array, ""]:
        """After a convolution: from the kernel of $A A^T$, exact for a periodic one without negative entries.

        The usual bound, the product of the norms, is `factor` times too large for a wide blur.
        """
        kernel = inner.autocorrelation() if isinstance(inner, Convolution) else inner.gram_kernel()
        if kernel is None:
            return super().norm_after(inner)
        return jnp.sqrt(jnp.sum(jnp.abs(_decimated(kernel, self.factor))))

    def regularised_solve_after(self, inner: AbstractOperator, rhs: Any, weight: Float[Array, ""]) -> Any:
        kernel = inner.gram_kernel()
        if kernel is None:
            return super().regularised_solve_after(inner, rhs, weight)
        whole = self @ inner

        def solve(b: Array) -> Array:
            observed = whole(b)
            size = observed.shape[:2]
            # A A^T is the autocorrelation of the kernel at every factor-th lag.
            eigenvalues = jnp.maximum(jnp.real(transfer_function(_decimated(kernel, self.factor), size)), 0)
            return (b - whole.adjoint(filtered(observed, 1 / (eigenvalues + weight), size))) / weight

        return implicit_solve(whole.regularised_gram(weight), rhs, solve)


def _decimated(kernel: Array, factor: int) -> Array:
    """Every `factor`-th entry of a centred kernel of odd size, counted from its middle."""
    first = tuple((n // 2) % factor for n in kernel.shape)
    return kernel[first[0] :: factor, first[1] :: factor]
