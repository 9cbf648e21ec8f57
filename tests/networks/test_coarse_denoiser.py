"""A denoiser on blocks of pixels is a DnCNN on the rearranged image."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mbdl.core import count
from mbdl.networks import CoarseDenoiser, DnCNN

generator = np.random.default_rng(0)


def test_it_is_a_dncnn_on_blocks():
    network = CoarseDenoiser(width=5, depth=3, factor=2, key=jax.random.key(0))
    image = jnp.asarray(generator.random((6, 8)), jnp.float32)
    blocks = jnp.stack([image[0::2, 0::2], image[0::2, 1::2], image[1::2, 0::2], image[1::2, 1::2]], axis=-1)
    inner = network.inner(blocks)
    found = eqx.filter_jit(network)(image)
    for channel, (row, column) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        np.testing.assert_allclose(found[row::2, column::2], inner[..., channel], atol=1e-5)


def test_the_noise_level_is_one_channel():
    network = CoarseDenoiser(width=5, depth=2, noise_conditioned=True, key=jax.random.key(0))
    assert count(network) == count(DnCNN(4, 5, 2, True, key=jax.random.key(0)))
    image = jnp.asarray(generator.random((6, 8)), jnp.float32)
    first, second = network(image, 0.0), network(image, 1.0)
    assert not np.allclose(first, second)
    with pytest.raises(TypeError):
        network(image)


def test_odd_sizes_and_colours():
    network = CoarseDenoiser(3, width=5, depth=2, factor=3, key=jax.random.key(0))
    image = jnp.asarray(generator.random((7, 11, 3)), jnp.float32)
    assert network(image).shape == image.shape
    padded = jnp.pad(image, ((0, 2), (0, 1), (0, 0)), mode="edge")
    np.testing.assert_allclose(network(padded)[:7, :11], network(image), atol=1e-6)


def test_errors():
    with pytest.raises(ValueError, match="factor=0"):
        CoarseDenoiser(factor=0, key=jax.random.key(0))
