"""Bicubic interpolation as a rule and as a first iterate, and rules on images continued by reflection."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

import mbdl
from mbdl import inverse

generator = np.random.default_rng(0)


def test_bicubic_agrees_with_keys_kernel_inside(x64):
    image = generator.random((9, 11))

    def keys(t):
        t = np.abs(t)
        near = 1.5 * t**3 - 2.5 * t**2 + 1
        far = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
        return np.where(t <= 1, near, np.where(t < 2, far, 0))

    def matrix(size):
        return keys(np.arange(3 * size)[:, None] / 3 - np.arange(size)[None])

    oracle = matrix(9) @ image @ matrix(11).T
    found = inverse.Bicubic(3)(jnp.asarray(image))
    np.testing.assert_allclose(found[6:-9, 6:-9], oracle[6:-9, 6:-9], atol=1e-12)
    linear = map_coordinates(np.add.outer(np.arange(9.0), np.arange(11.0)), [[2.5], [3.5]], order=1)[0]
    ramp = inverse.Bicubic(2)(jnp.asarray(np.add.outer(np.arange(9.0), np.arange(11.0))))
    assert ramp[5, 7] == pytest.approx(linear)


def test_the_first_iterate_is_bicubic():
    operator = inverse.Downsample(2) @ inverse.Convolution(inverse.gaussian_kernel(0.7))
    solver = inverse.ISTA(
        inverse.LeastSquares(operator), inverse.Zero(), step_size=1e-9, iterations=1, initial=inverse.Interpolated(2)
    )
    image = jnp.asarray(generator.random((6, 7)), jnp.float32)
    np.testing.assert_allclose(solver(image), inverse.Bicubic(2)(image), atol=1e-6)


class Shift(mbdl.DecisionRule):
    """Moves an image by one pixel, periodically."""

    scale: jax.Array

    def decide(self, x):
        return self.scale * jnp.roll(x, 1, 0)


def test_reflection_stands_beyond_the_edges():
    image = jnp.asarray(generator.random((4, 5)), jnp.float32)
    found = inverse.Reflected(Shift(1.0), 2)(image)
    np.testing.assert_array_equal(found[1:], image[:-1])
    np.testing.assert_array_equal(found[0], image[0])
    np.testing.assert_array_equal(inverse.Reflected(Shift(1.0), 0)(image)[0], image[-1])


def test_colours_keep_their_channels():
    image = jnp.asarray(generator.random((4, 5, 3)), jnp.float32)
    found = inverse.Reflected(inverse.Bicubic(2), 2)(image)
    assert found.shape == (8, 10, 3)
    one = inverse.Reflected(inverse.Bicubic(2), 2)(image[..., 1])
    np.testing.assert_allclose(found[..., 1], one, atol=1e-6)


def test_the_margin_keeps_the_wrapped_edge_away():
    operator = inverse.Downsample(2) @ inverse.Convolution(inverse.gaussian_kernel(1.0))
    scene = np.add.outer(np.linspace(0, 1, 60), np.zeros(60)).astype(np.float32)
    observed = np.asarray(operator(scene))[4:-4, 4:-4]
    solver = inverse.FISTA(inverse.LeastSquares(operator), inverse.TotalVariation(1e-4), iterations=50)
    errors = [
        np.abs(np.asarray(rule(observed)) - scene[8:-8, 8:-8]).max() for rule in (solver, inverse.Reflected(solver, 6))
    ]
    assert errors[1] < 0.25 * errors[0]


def test_a_nested_rule_is_trained_counted_and_saved(tmp_path):
    rule = mbdl.learn(inverse.Reflected(Shift(2.0), 1), lambda r: r.rule.scale)
    assert mbdl.spectrum(rule).learned == 1
    image = jnp.ones((3, 3))
    assert float(jax.grad(lambda r: r(image).sum(), allow_int=True)(rule).rule.scale.raw) == pytest.approx(9.0)
    mbdl.save(tmp_path / "r.mbdl", inverse.Reflected(inverse.Bicubic(2), 3))
    assert mbdl.load(tmp_path / "r.mbdl")(image[:3]).shape == (6, 6)


def test_errors():
    with pytest.raises(ValueError, match="factor of at least 1, got 0"):
        inverse.Bicubic(0)
    with pytest.raises(ValueError, match="margin of at least 0"):
        inverse.Reflected(inverse.Bicubic(2), -1)
    with pytest.raises(ValueError, match="2×3 is smaller than the margin of 4"):
        inverse.Reflected(inverse.Bicubic(2), 4)(jnp.ones((2, 3)))
