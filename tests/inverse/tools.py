"""What several tests of this package use."""

import jax
import jax.numpy as jnp
import numpy as np

from mbdl import inverse

KERNEL = np.array([[0.0, 0.2, -0.1], [0.3, 0.5, 0.1], [0.1, -0.2, 0.4], [0.0, 0.1, 0.0], [0.2, 0.0, 0.1]])
BLUR = np.outer([1.0, 2.0, 1.0], [1.0, 3.0, 1.0]) / 20


def normal(seed, *shape):
    """Standard normal numbers in JAX's default dtype."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.result_type(float))


def dense(operator, shape):
    """The matrix of an operator on signals of a shape, column by column."""
    size = int(np.prod(shape))
    columns = jax.vmap(lambda s: jnp.concatenate([jnp.ravel(x) for x in jax.tree.leaves(operator(s.reshape(shape)))]))
    return np.asarray(columns(jnp.eye(size))).T


def operators():
    """Every kind of operator and combination, with shapes of signals for it."""
    blur, signed = inverse.Convolution(BLUR), inverse.Convolution(KERNEL)
    zero = inverse.Convolution(KERNEL, "zero")
    mask = np.random.default_rng(5).random((6, 4)) < 0.6
    matrix = inverse.Matrix(normal(6, 4, 7))
    images = [(6, 4), (2, 4, 3)]
    return {
        "Matrix": (matrix, [(7,)]),
        "FactoredMatrix, wide": (matrix.factored(), [(7,)]),
        "FactoredMatrix, tall": (inverse.Matrix(normal(7, 7, 4)).factored(), [(4,)]),
        "Convolution, periodic": (signed, [*images, (1, 1), (7, 5)]),
        "Convolution, periodic, nonnegative": (blur, images),
        "Convolution, zero": (zero, [*images, (1, 1), (7, 5)]),
        "Downsample": (inverse.Downsample(2), images),
        "Mask": (inverse.Mask(mask), [(6, 4), (6, 4, 2)]),
        "Mask, weights": (inverse.Mask(normal(8, 5)), [(5,)]),
        "Gradient": (inverse.Gradient(), [*images, (1, 5), (5, 1)]),
        "Identity": (inverse.Identity(), images),
        "Wavelet": (inverse.Wavelet("db2", 2), [*images, (7, 5), (1, 3)]),
        "Adjoint": (inverse.Gradient().T, [(2, 4, 3)]),
        "Scaled": (-1.5 * signed, images),
        "Stack": (inverse.Stack(blur, 0.5 * inverse.Identity(), inverse.Gradient()), images),
        "Downsample @ Convolution, periodic": (inverse.Downsample(2) @ signed, images),
        "Downsample @ Convolution, nonnegative": (inverse.Downsample(2) @ blur, images),
        "Downsample @ Convolution, zero": (inverse.Downsample(2) @ zero, images),
        "Downsample @ Scaled Convolution @ Wavelet.T": (
            inverse.Downsample(2) @ (0.5 * signed) @ inverse.Wavelet("haar", 1).T,
            images,
        ),
        "Downsample @ Identity": (inverse.Downsample(2) @ inverse.Identity(), images),
        "Wavelet @ Convolution": (inverse.Wavelet("haar", 1) @ signed, images),
        "Wavelet @ Downsample @ Convolution": (
            inverse.Wavelet("haar", 1) @ inverse.Downsample(3) @ blur,
            [(6, 9)],
        ),
        "Mask @ Convolution": (inverse.Mask(mask) @ blur, [(6, 4)]),
        "Matrix @ Matrix": (inverse.Matrix(normal(9, 3, 4)) @ matrix, [(7,)]),
    }


CASES = {f"{name} {shape}": (name, shape) for name, (_, shapes) in operators().items() for shape in shapes}
EXACT = {
    "Matrix",
    "FactoredMatrix, wide",
    "FactoredMatrix, tall",
    "Convolution, periodic, nonnegative",
    "Downsample",
    "Mask",
    "Mask, weights",
    "Identity",
    "Wavelet",
    "Downsample @ Convolution, nonnegative",
    "Downsample @ Identity",
    "Wavelet @ Downsample @ Convolution",
}
