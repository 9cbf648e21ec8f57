"""The convolution against SciPy, and its derivatives against central differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal

from mbdl import networks


def _image(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 4), (3, 2), (4, 1)])
def test_conv_is_scipys_correlation_with_zeros_outside(x64, size, inputs, outputs):
    conv = networks.Conv(inputs, outputs, size, dtype=jnp.float64, key=jax.random.key(size))
    image = _image((7, 9, inputs))
    before, after = (size - 1) // 2, size // 2
    padded = np.pad(image, ((before, after), (before, after), (0, 0)))
    expected = np.stack(
        [
            sum(
                scipy.signal.correlate(padded[..., c], np.asarray(conv.kernel[..., c, o]), "valid")
                for c in range(inputs)
            )
            for o in range(outputs)
        ],
        axis=-1,
    )
    np.testing.assert_allclose(conv(jnp.asarray(image)), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("boundary", "mode"), [("periodic", "wrap"), ("reflect", "mirror"), ("zero", "constant")])
@pytest.mark.parametrize("size", [3, 5])
def test_conv_boundaries_are_those_of_scipy(x64, boundary, mode, size):
    conv = networks.Conv(1, 1, size, boundary=boundary, dtype=jnp.float64, key=jax.random.key(1))
    image = _image((6, 8))
    expected = scipy.ndimage.correlate(image, np.asarray(conv.kernel[..., 0, 0]), mode=mode)
    np.testing.assert_allclose(conv(jnp.asarray(image)[..., None])[..., 0], expected, rtol=1e-12, atol=1e-12)


def test_conv_adds_its_bias_to_each_output_channel():
    conv = networks.Conv(1, 2, key=jax.random.key(0))
    assert conv.bias is not None
    shifted = networks.Conv(1, 2, key=jax.random.key(0))
    object.__setattr__(shifted, "bias", jnp.array([1.0, -2.0]))
    image = jnp.asarray(_image((4, 5, 1)), jnp.float32)
    np.testing.assert_allclose(shifted(image) - conv(image), np.broadcast_to([1.0, -2.0], (4, 5, 2)), atol=1e-6)
    assert networks.Conv(1, 2, bias=False, key=jax.random.key(0)).bias is None


def test_conv_is_initialised_with_he_variance():
    conv = networks.Conv(16, 64, 3, key=jax.random.key(0))
    # 9216 draws: the relative error of the variance is sqrt(2 / 9216) = 1.5 %; five of them.
    assert abs(float(jnp.var(conv.kernel)) * 9 * 16 / 2 - 1) < 0.075
    small = networks.Conv(16, 64, 3, scale=0.1, key=jax.random.key(0))
    np.testing.assert_allclose(small.kernel, 0.1 * conv.kernel, rtol=1e-6)


@pytest.mark.parametrize("boundary", ["zero", "periodic", "reflect"])
def test_conv_derivatives_are_central_differences_in_both_modes(x64, boundary):
    conv = networks.Conv(2, 3, boundary=boundary, dtype=jnp.float64, key=jax.random.key(2))
    image = jnp.asarray(_image((5, 6, 2), 3))

    def value(conv, image):
        return jnp.sum(jnp.sin(conv(image)))

    tangents = jax.tree.map(
        lambda leaf: jnp.asarray(_image(leaf.shape, 4)), (conv, image), is_leaf=lambda leaf: isinstance(leaf, jax.Array)
    )
    step = 1e-6
    ahead = jax.tree.map(lambda p, t: p + step * t, (conv, image), tangents)
    behind = jax.tree.map(lambda p, t: p - step * t, (conv, image), tangents)
    difference = (value(*ahead) - value(*behind)) / (2 * step)
    gradients = jax.grad(value, argnums=(0, 1))(conv, image)
    reverse = sum(jnp.vdot(g, t) for g, t in zip(jax.tree.leaves(gradients), jax.tree.leaves(tangents), strict=True))
    _, forward = jax.jvp(value, (conv, image), tangents)
    # Central differences in float64 are good to some 1e-9 of the value.
    np.testing.assert_allclose(forward, difference, rtol=1e-7)
    np.testing.assert_allclose(reverse, forward, rtol=1e-12)


def test_a_batch_is_one_convolution():
    conv = networks.Conv(1, 4, key=jax.random.key(0))
    images = jnp.asarray(_image((3, 5, 6, 1)), jnp.float32)
    np.testing.assert_allclose(
        jax.vmap(conv)(images), jnp.stack([conv(image) for image in images]), rtol=1e-5, atol=1e-6
    )
    convolutions = [
        e for e in jax.make_jaxpr(jax.vmap(conv))(images).eqns if e.primitive.name == "conv_general_dilated"
    ]
    assert [e.outvars[0].aval.shape for e in convolutions] == [(3, 5, 6, 4)]


def test_conv_computes_in_the_wider_dtype(x64):
    single = networks.Conv(1, 2, key=jax.random.key(0))
    image = jnp.asarray(_image((4, 4, 1)))
    assert single.kernel.dtype == jnp.float32
    assert single(image.astype(jnp.float32)).dtype == jnp.float32
    assert single(image).dtype == jnp.float64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 0, "out_channels": 1}, "in_channels=0"),
        ({"in_channels": 1, "out_channels": 0}, "out_channels=0"),
        ({"in_channels": 1, "out_channels": 1, "size": 0}, "size=0"),
        ({"in_channels": 1, "out_channels": 1, "boundary": "circular"}, "'circular'.*periodic"),
    ],
)
def test_conv_refuses_what_it_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        networks.Conv(**arguments, key=jax.random.key(0))


def test_conv_refuses_images_that_do_not_fit():
    conv = networks.Conv(3, 1, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"\[height, width, 3\], got the shape \(5, 5, 1\)"):
        conv(jnp.zeros((5, 5, 1)))
    with pytest.raises(ValueError, match=r"jax\.vmap"):
        conv(jnp.zeros((2, 5, 5, 3)))
    with pytest.raises(ValueError, match="too small to be reflected by 2"):
        networks.Conv(1, 1, 5, boundary="reflect", key=jax.random.key(0))(jnp.zeros((2, 9, 1)))
