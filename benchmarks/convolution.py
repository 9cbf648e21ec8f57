"""Which form of a 3×3 convolution is fastest, for the kinds of layer that a denoiser has.

The library's `networks.Conv` against the same map as a product with gathered patches, as nine shifted products, and as
one product whose result is shifted, of a batch under `jax.vmap`: forward, and with both gradients.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from mbdl import networks

from .timing import Contender, Tables, measure

LAYERS = ((1, 32), (32, 32), (32, 1))


def run(*, rounds: int = 15, batch: int = 8, size: int = 64, layers: tuple[tuple[int, int], ...] = LAYERS) -> Tables:
    """Measures each kind of layer.

    Args:
        rounds: repetitions.
        batch: images in a batch.
        size: side of the images in pixels.
        layers: input and output channels of each kind of layer.

    Yields:
        The title of each table with its measurements, once it is measured.
    """
    for inputs, outputs in layers:
        conv = networks.Conv(inputs, outputs, bias=False, key=jax.random.key(0))
        images = jax.random.normal(jax.random.key(1), (batch, size, size, inputs))
        forms = {"networks.Conv": library, "patches": patches, "shifted products": shifted, "shifted result": product}
        for kind, transform in (("forward", _forward), ("gradients", _gradients)):
            title = f"Convolution {inputs}→{outputs}, batch {batch}×{size}², {kind}"
            yield (
                title,
                measure(
                    [Contender(name, _builder(transform(form), conv.kernel, images)) for name, form in forms.items()],
                    rounds=rounds,
                ),
            )


def library(kernel: Array, image: Array) -> Array:
    """The library's own layer."""
    conv = networks.Conv(kernel.shape[2], kernel.shape[3], bias=False, key=jax.random.key(0))
    object.__setattr__(conv, "kernel", kernel)
    return conv(image)


def patches(kernel: Array, image: Array) -> Array:
    """One product with the gathered 3×3 patches ("im2col")."""
    return jnp.concatenate(_windows(image), axis=-1) @ kernel.reshape(-1, kernel.shape[-1])


def shifted(kernel: Array, image: Array) -> Array:
    """The sum of nine products with the shifted image."""
    return sum(
        (window @ weight for window, weight in zip(_windows(image), kernel.reshape(9, *kernel.shape[2:]), strict=True)),
        start=jnp.zeros(()),
    )


def product(kernel: Array, image: Array) -> Array:
    """One product, whose nine parts are shifted and added."""
    height, width, _ = image.shape
    padded = jnp.pad(image, ((1, 1), (1, 1), (0, 0)))
    parts = jnp.split(padded @ kernel.transpose(2, 0, 1, 3).reshape(kernel.shape[2], -1), 9, axis=-1)
    return sum(
        (part[i // 3 : i // 3 + height, i % 3 : i % 3 + width] for i, part in enumerate(parts)), start=jnp.zeros(())
    )


def _windows(image: Array) -> list[Array]:
    height, width, _ = image.shape
    padded = jnp.pad(image, ((1, 1), (1, 1), (0, 0)))
    return [padded[i : i + height, j : j + width] for i in range(3) for j in range(3)]


def _forward(form: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    return jax.vmap(form, in_axes=(None, 0))


def _gradients(form: Callable[[Array, Array], Array]) -> Callable[[Array, Array], tuple[Array, Array]]:
    return jax.grad(lambda kernel, images: jnp.sum(_forward(form)(kernel, images) ** 2), argnums=(0, 1))


def _builder(function: Callable, *arguments: Array) -> Callable[[], Callable]:
    compiled = jax.jit(function)
    return lambda: lambda: compiled(*arguments)
