"""Enlarging images: blocks of pixels, cubic interpolation, and the network on top of them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mbdl import networks


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_space_and_depth_are_inverse_and_place_pixels_as_said(factor):
    image = jnp.arange(6 * 6 * 2.0).reshape(6, 6, 2)
    deep = networks.space_to_depth(image, factor)
    np.testing.assert_array_equal(networks.depth_to_space(deep, factor), image)
    for u in range(factor):
        for v in range(factor):
            first = (u * factor + v) * 2
            np.testing.assert_array_equal(deep[..., first : first + 2], image[u::factor, v::factor])


def test_blocks_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="multiples of 2"):
        networks.space_to_depth(jnp.zeros((3, 4, 1)), 2)
    with pytest.raises(ValueError, match="3 channels, expected a multiple of 4"):
        networks.depth_to_space(jnp.zeros((3, 4, 3)), 2)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_upsample_of_block_means_is_jax_image_resize_in_the_middle(x64, factor):
    image = jnp.asarray(np.random.default_rng(0).standard_normal((9, 8)))
    expected = jax.image.resize(image, (9 * factor, 8 * factor), "cubic")
    # The two differ in how they continue the image: compare where four coarse pixels are known on each axis.
    inside = slice(2 * factor, -2 * factor)
    result = networks.upsample(image, factor, offset=(factor - 1) / 2)
    np.testing.assert_allclose(result[inside, inside], expected[inside, inside], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
@pytest.mark.parametrize("offset", [0.0, 1.0, -2.5])
def test_upsample_reproduces_quadratics_away_from_the_border(x64, factor, offset):
    def surface(i, j):
        return 1 + 0.5 * i - 0.3 * j + 0.2 * i * i - 0.1 * j * j + 0.05 * i * j

    coarse = surface(*np.meshgrid(np.arange(12.0), np.arange(11.0), indexing="ij"))
    fine = networks.upsample(jnp.asarray(coarse), factor, offset=offset)
    rows, columns = (np.arange(n * factor, dtype=float) - offset for n in coarse.shape)
    expected = surface(*np.meshgrid(rows / factor, columns / factor, indexing="ij"))
    inside = slice(5 * factor, -5 * factor)
    np.testing.assert_allclose(fine[inside, inside], expected[inside, inside], rtol=1e-9, atol=1e-9)


def test_upsample_passes_through_the_pixels_and_keeps_constants(x64):
    image = jnp.asarray(np.random.default_rng(0).standard_normal((5, 4, 2)))
    fine = networks.upsample(image, 3)
    assert fine.shape == (15, 12, 2)
    np.testing.assert_allclose(fine[::3, ::3], image, rtol=1e-12)
    np.testing.assert_allclose(networks.upsample(jnp.full((1, 2), 4.0), 4, offset=1.5), 4.0, rtol=1e-12)
    assert networks.upsample(image.astype(jnp.float32), 2).dtype == jnp.float32


def test_upsample_refuses_what_is_no_image():
    with pytest.raises(ValueError, match="factor=0"):
        networks.upsample(jnp.zeros((3, 3)), 0)
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        networks.upsample(jnp.zeros(3), 2)


@pytest.mark.parametrize(("factor", "channels", "width", "depth"), [(2, 1, 4, 2), (3, 3, 5, 0)])
def test_upsample_cnn_holds_the_numbers_that_its_formula_says(factor, channels, width, depth):
    network = networks.UpsampleCNN(factor, channels, width, depth, key=jax.random.key(0))
    c, w, f = channels, width, factor
    expected = 9 * c * w + w + 2 * depth * (9 * w * w + w) + 9 * w * c * f * f + c * f * f
    assert sum(leaf.size for leaf in jax.tree.leaves(network)) == expected


@pytest.mark.parametrize("shape", [(5, 7), (1, 1), (4, 6, 1), (4, 6, 3)])
def test_upsample_cnn_starts_near_interpolation_at_any_size(shape):
    network = networks.UpsampleCNN(3, width=8, depth=2, key=jax.random.key(0))
    image = jax.random.uniform(jax.random.key(1), shape)
    result = eqx.filter_jit(network)(image)
    assert result.shape == (3 * shape[0], 3 * shape[1], *shape[2:])
    np.testing.assert_allclose(result, networks.upsample(image, 3), atol=0.1)
    assert not np.array_equal(result, networks.upsample(image, 3))


def test_upsample_cnn_is_batched_and_all_of_it_learns():
    network = networks.UpsampleCNN(2, 3, width=4, depth=2, key=jax.random.key(0))
    images = jax.random.normal(jax.random.key(1), (3, 5, 4, 3))
    alone = eqx.filter_jit(network)
    np.testing.assert_allclose(jax.vmap(network)(images), jnp.stack([alone(i) for i in images]), rtol=1e-5, atol=1e-5)
    gradient = eqx.filter_jit(jax.grad(lambda n: jnp.sum(n(images[0]) ** 2)))(network)
    assert all(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(gradient))


def test_upsample_cnn_works_in_double_precision(x64):
    network = networks.UpsampleCNN(2, width=4, depth=1, activation=jnp.tanh, dtype=jnp.float64, key=jax.random.key(0))
    image = jax.random.normal(jax.random.key(1), (4, 5), jnp.float64)
    assert network(image).dtype == jnp.float64

    def value(network):
        return jnp.sum(jnp.sin(network(image)))

    tangent = jax.tree.map(lambda leaf: jnp.ones_like(leaf), network)
    ahead, behind = (value(jax.tree.map(lambda p, t, s=s: p + s * t, network, tangent)) for s in (1e-6, -1e-6))
    slope = jax.jvp(value, (network,), (tangent,))[1]
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-6, rtol=1e-6)


def test_upsample_cnn_refuses_what_it_cannot_be():
    with pytest.raises(ValueError, match="factor=0"):
        networks.UpsampleCNN(0, key=jax.random.key(0))
    with pytest.raises(ValueError, match="depth=-1"):
        networks.UpsampleCNN(2, depth=-1, key=jax.random.key(0))
    with pytest.raises(TypeError, match="floating-point numbers"):
        networks.UpsampleCNN(2, width=2, depth=0, key=jax.random.key(0))(jnp.zeros((4, 4), jnp.int32))
