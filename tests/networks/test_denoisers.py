"""What DnCNN and U-Net share: shapes, noise levels, derivatives; and what each is alone."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from mbdl import networks

KINDS = {
    "DnCNN": lambda **options: networks.DnCNN(width=4, depth=3, **options),
    "UNet": lambda **options: networks.UNet(width=4, scales=3, **options),
}


@pytest.fixture(params=KINDS)
def make(request):
    return KINDS[request.param]


def _louder(network, factor=30.0):
    """The same network with a last layer that is far from zero."""
    return jax.tree.map(lambda leaf: leaf * factor if leaf.size and jnp.std(leaf) < 0.02 else leaf, network)


def _normal(shape, seed=0, dtype=jnp.float32):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)


@pytest.mark.parametrize("shape", [(8, 8), (1, 1), (5, 7), (2, 9), (13, 4), (6, 5, 1)])
def test_any_size_keeps_its_shape(make, shape):
    network = make(key=jax.random.key(0))
    image = _normal(shape)
    out = network(image)
    assert out.shape == shape
    assert out.dtype == jnp.float32
    assert bool(jnp.all(jnp.isfinite(out)))


@pytest.mark.parametrize("shape", [(6, 7, 3), (4, 4, 3)])
def test_colour_networks_mix_channels_and_grey_ones_do_not(make, shape):
    image = _normal(shape)
    other = image.at[..., 2].add(1.0)
    colour = _louder(make(channels=3, key=jax.random.key(0)))
    assert colour(image).shape == shape
    assert not np.allclose(colour(image)[..., 0], colour(other)[..., 0], atol=1e-3)
    grey = _louder(make(key=jax.random.key(0)))
    np.testing.assert_allclose(
        grey(image), jnp.stack([grey(image[..., c]) for c in range(3)], axis=-1), rtol=1e-5, atol=1e-5
    )


def test_a_batch_is_the_loop_over_its_examples(make):
    network = _louder(make(noise_conditioned=True, key=jax.random.key(0)))
    images, levels = _normal((4, 7, 6)), jnp.linspace(0.1, 0.4, 4)
    alone = jnp.stack([network(image, level) for image, level in zip(images, levels, strict=True)])
    np.testing.assert_allclose(jax.vmap(network)(images, levels), alone, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(eqx.filter_jit(network)(images[0], levels[0]), alone[0], rtol=1e-5, atol=1e-5)


def test_the_noise_level_matters_to_those_that_take_one_and_only_to_them(make):
    conditioned, plain = make(noise_conditioned=True, key=jax.random.key(0)), make(key=jax.random.key(0))
    assert conditioned.noise_conditioned
    assert not plain.noise_conditioned
    image = _normal((6, 6))
    assert not np.allclose(_louder(conditioned)(image, 0.1), _louder(conditioned)(image, 1.0), atol=1e-3)
    with pytest.raises(TypeError, match=r"takes a noise level and got none.*network\(image, noise_level\)"):
        conditioned(image)
    with pytest.raises(TypeError, match=r"takes no noise level and got one.*noise_conditioned=True"):
        plain(image, 0.1)
    with pytest.raises(TypeError, match=r"scalar noise level, got the shape \(6, 6\)"):
        conditioned(image, jnp.ones((6, 6)))


def test_images_that_do_not_fit_are_refused(make):
    network = make(key=jax.random.key(0))
    with pytest.raises(TypeError, match="floating-point numbers, got int32"):
        network(jnp.ones((4, 4), jnp.int32))
    with pytest.raises(ValueError, match=r"got the shape \(2, 4, 4, 1\)"):
        network(jnp.ones((2, 4, 4, 1)))
    with pytest.raises(ValueError, match=r"\[height, width, 3\], got the shape \(4, 4\)"):
        make(channels=3, key=jax.random.key(0))(jnp.ones((4, 4)))


def test_it_starts_near_the_identity_with_a_gradient_for_every_parameter(make):
    network = make(key=jax.random.key(0))
    image = _normal((16, 16))
    assert float(jnp.std(network(image) - image)) < 0.1
    gradient = eqx.filter_jit(jax.grad(lambda n: jnp.sum(n(image) ** 2)))(network)
    assert all(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(gradient))


def test_derivatives_are_central_differences(make, x64):
    network = _louder(make(noise_conditioned=True, activation=jnp.tanh, dtype=jnp.float64, key=jax.random.key(0)))
    arguments = (network, _normal((5, 6), 1, jnp.float64), jnp.asarray(0.3))

    def value(network, image, level):
        return jnp.sum(jnp.sin(network(image, level)))

    tangents = jax.tree.map(lambda leaf: _normal(leaf.shape, leaf.size, jnp.float64), arguments)
    step = 1e-6
    ahead, behind = (jax.tree.map(lambda p, t, s=s: p + s * t, arguments, tangents) for s in (step, -step))
    compiled = eqx.filter_jit(value)
    difference = (compiled(*ahead) - compiled(*behind)) / (2 * step)
    gradient = eqx.filter_jit(jax.grad(value, argnums=(0, 1, 2)))(*arguments)
    reverse = sum(jnp.vdot(g, t) for g, t in zip(jax.tree.leaves(gradient), jax.tree.leaves(tangents), strict=True))
    np.testing.assert_allclose(reverse, difference, rtol=1e-6)
    np.testing.assert_allclose(
        eqx.filter_jit(lambda p, t: jax.jvp(value, p, t)[1])(arguments, tangents), reverse, rtol=1e-11
    )


def test_dncnn_is_its_textbook_formula(x64):
    network = _louder(networks.DnCNN(width=2, depth=3, dtype=jnp.float64, key=jax.random.key(3)))
    image = np.random.default_rng(0).standard_normal((6, 5))
    features = [image]
    for number, layer in enumerate(network.layers):
        kernel = np.asarray(layer.kernel)
        features = [
            sum(scipy.ndimage.correlate(f, kernel[..., c, o], mode="constant") for c, f in enumerate(features))
            for o in range(kernel.shape[-1])
        ]
        if number < 2:
            features = [np.maximum(f, 0) for f in features]
    np.testing.assert_allclose(network(jnp.asarray(image)), image - features[0], rtol=1e-12, atol=1e-12)


def test_a_bias_free_dncnn_scales_with_its_input():
    network = _louder(networks.DnCNN(width=4, depth=3, bias=False, key=jax.random.key(0)))
    image = _normal((6, 6))
    np.testing.assert_allclose(network(3 * image), 3 * network(image), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("channels", "width", "depth", "level"), [(1, 32, 5, False), (3, 6, 2, True)])
def test_dncnn_holds_the_numbers_that_its_formula_says(channels, width, depth, level):
    network = networks.DnCNN(channels, width, depth, level, key=jax.random.key(0))
    c, w, n = channels, width, int(level)
    expected = 9 * (c + n) * w + w + (depth - 2) * (9 * w * w + w) + 9 * w * c + c
    assert sum(leaf.size for leaf in jax.tree.leaves(network)) == expected


def test_unet_sees_further_than_its_finest_scale():
    network = _louder(networks.UNet(width=4, scales=3, key=jax.random.key(0)))
    image = _normal((32, 32))
    change = jnp.abs(network(image.at[16, 16].add(1.0)) - network(image))
    # Six convolutions at full resolution reach six pixels; the coarser scales reach further.
    assert float(jnp.max(change[:8])) > 0


def test_networks_refuse_what_they_cannot_be():
    with pytest.raises(ValueError, match="depth=1"):
        networks.DnCNN(depth=1, key=jax.random.key(0))
    with pytest.raises(ValueError, match="scales=0"):
        networks.UNet(scales=0, key=jax.random.key(0))
    with pytest.raises(ValueError, match="out_channels=0"):
        networks.UNet(width=0, key=jax.random.key(0))


def test_cast_changes_the_arrays_and_nothing_else(make, x64):
    network = make(key=jax.random.key(0))
    double = networks.cast(network, jnp.float64)
    assert {leaf.dtype for leaf in jax.tree.leaves(double)} == {np.dtype("float64")}
    assert jax.tree.structure(double) == jax.tree.structure(network)
    image = _normal((4, 4), 0, jnp.float64)
    assert double(image).dtype == jnp.float64
    np.testing.assert_allclose(double(image), network(image.astype(jnp.float32)), rtol=1e-5, atol=1e-5)
    with pytest.raises(TypeError, match="floating-point type"):
        networks.cast(network, jnp.int32)
