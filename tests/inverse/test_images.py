"""Operators on images against scipy and PyWavelets."""

import sys

import jax
import jax.numpy as jnp
import jaxwavelets
import numpy as np
import pytest
import pywt
from inverse.tools import BLUR, KERNEL, dense, normal
from scipy import ndimage

from mbdl import inverse


@pytest.mark.parametrize("shape", [(12, 9), (3, 4), (1, 2), (2, 1)])
@pytest.mark.parametrize(("boundary", "mode"), [("periodic", "wrap"), ("zero", "constant")])
def test_convolution_is_that_of_scipy(boundary, mode, shape, x64):
    s = normal(0, *shape)
    # scipy repeats an image only once, so a kernel larger than the image sees a larger periodic image.
    tiled = np.tile(s, (9, 9)) if boundary == "periodic" else np.asarray(s)
    expected = ndimage.convolve(tiled, KERNEL, mode=mode)[tuple(slice(4 * n, 5 * n) for n in shape)]
    if boundary == "zero":
        expected = ndimage.convolve(np.asarray(s), KERNEL, mode=mode)
    np.testing.assert_allclose(inverse.Convolution(KERNEL, boundary)(s), expected, atol=1e-12)


@pytest.mark.parametrize("boundary", ["periodic", "zero"])
def test_channels_are_convolved_by_themselves(boundary, x64):
    A, s = inverse.Convolution(KERNEL, boundary), normal(1, 6, 5, 3)
    np.testing.assert_allclose(A(s), jnp.stack([A(s[..., c]) for c in range(3)], -1), atol=1e-12)


def test_a_gaussian_kernel_is_the_density_and_has_a_derivative(x64):
    kernel = inverse.gaussian_kernel(1.5)
    offsets = np.arange(-6, 7)
    density = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    np.testing.assert_allclose(kernel, density / density.sum(), rtol=1e-12)
    slope = jax.grad(lambda w: inverse.gaussian_kernel(w, 2)[2, 2])(1.5)
    numeric = (inverse.gaussian_kernel(1.5 + 1e-6, 2) - inverse.gaussian_kernel(1.5 - 1e-6, 2))[2, 2] / 2e-6
    np.testing.assert_allclose(slope, numeric, rtol=1e-6)
    with pytest.raises(TypeError, match="needs a radius when the width is traced"):
        jax.grad(lambda w: inverse.gaussian_kernel(w).sum())(1.5)


def test_downsampling_keeps_every_third_pixel():
    s = normal(2, 6, 9)
    np.testing.assert_array_equal(inverse.Downsample(3)(s), np.asarray(s)[::3, ::3])
    filled = np.zeros((6, 9), np.float32)
    filled[::3, ::3] = inverse.Downsample(3)(s)
    np.testing.assert_array_equal(inverse.Downsample(3).adjoint(inverse.Downsample(3)(s)), filled)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_the_solve_of_super_resolution_is_direct(factor, x64, monkeypatch):
    monkeypatch.setattr(inverse.operator, "conjugate_gradients", None)
    A = inverse.Downsample(factor) @ inverse.Convolution(KERNEL)
    b = normal(3, 3 * factor, 2 * factor)
    matrix = dense(A, b.shape)
    expected = np.linalg.solve(matrix.T @ matrix + 0.01 * np.eye(b.size), np.ravel(b))
    np.testing.assert_allclose(np.ravel(A.regularised_solve(b, 0.01)), expected, rtol=1e-9, atol=1e-10)


def test_the_solve_of_super_resolution_in_single_precision():
    A = inverse.Downsample(2) @ inverse.Convolution(BLUR)
    b, weight = A.adjoint(normal(4, 8, 8)) + 0.01 * normal(5, 16, 16), 0.01
    matrix = dense(A, b.shape).astype(float)
    expected = np.linalg.solve(matrix.T @ matrix + weight * np.eye(b.size), np.ravel(b).astype(float))
    # The difference of two terms of size |b| / w loses a factor of 1 / w of the precision.
    bound = 4 * np.finfo(np.float32).eps / weight * np.abs(b).max()
    np.testing.assert_allclose(np.ravel(A.regularised_solve(b, weight)), expected, atol=bound)


@pytest.mark.parametrize("name", ["haar", "db2", "db4", "db9", "sym5", "sym8", "coif1", "coif3"])
@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.filterwarnings("ignore:Level value:UserWarning")
def test_the_wavelet_transform_is_that_of_pywavelets(name, levels, x64):
    s = normal(6, 16, 24)
    expected, _ = pywt.coeffs_to_array(pywt.wavedec2(np.asarray(s), name, mode="periodization", level=levels))
    np.testing.assert_allclose(inverse.Wavelet(name, levels)(s), expected, atol=1e-10)


@pytest.mark.parametrize("shape", [(16, 24), (7, 9), (1, 6), (13, 4), (1, 1), (2, 2), (5, 6, 3)])
def test_the_wavelet_transform_is_orthogonal_for_images_of_any_size(shape, x64):
    W = inverse.Wavelet("db3", 3)
    matrix = dense(W, shape)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(np.prod(shape)), atol=1e-10)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(np.prod(shape)), atol=1e-10)


def test_every_wavelet_of_the_package_is_orthogonal(x64):
    names = [f"db{n}" for n in range(2, 21)] + [f"sym{n}" for n in range(2, 21)] + [f"coif{n}" for n in range(1, 6)]
    for name in names:
        coarse, detail = (np.asarray(taps) for taps in inverse.Wavelet(name, 1).filters)
        for a, b, expected in ((coarse, coarse, 1), (detail, detail, 1), (coarse, detail, 0)):
            products = np.convolve(a, b[::-1])[(len(a) - 1) % 2 :: 2]
            # The published taps of long filters have some ten digits.
            np.testing.assert_allclose(products, expected * (np.arange(len(products)) == len(products) // 2), atol=1e-7)


def test_a_wavelet_that_is_not_orthogonal_is_refused(monkeypatch):
    taps = np.array([0.25, 0.75, 0.75, 0.25])
    monkeypatch.setattr(jaxwavelets, "get_wavelet", lambda name: (taps, taps, taps, taps))
    with pytest.raises(ValueError, match="'spline' is not orthogonal"):
        inverse.Wavelet("spline", 1)


def test_only_the_details_are_sparse():
    W = inverse.Wavelet("haar", 2)
    sparse = np.asarray(W.sparse(jnp.zeros((5, 8))))
    expected = np.ones((5, 8), bool)
    expected[:1, :2] = False  # the coarse part
    expected[4, :4] = True  # along the odd row there are details in the other direction,
    expected[4, :2] = False  # and a coarse part
    assert sparse[:4].sum() == 4 * 8 - 2
    np.testing.assert_array_equal(sparse[:4], expected[:4])
    assert W.sparse(jnp.zeros((4, 4, 3))).shape == (4, 4, 1)
    # A constant image is coarse only.
    coefficients = np.asarray(W(jnp.ones((8, 8))))
    np.testing.assert_allclose(coefficients[np.asarray(W.sparse(jnp.zeros((8, 8))))], 0, atol=1e-6)


def test_the_gradient_is_numpys_difference():
    s = normal(7, 4, 5, 2)
    down, right = inverse.Gradient()(s)
    np.testing.assert_array_equal(down[:-1], np.diff(s, axis=0))
    np.testing.assert_array_equal(right[:, :-1], np.diff(s, axis=1))
    np.testing.assert_array_equal(down[-1], 0)
    np.testing.assert_array_equal(right[:, -1], 0)


def test_a_wavelet_is_made_while_tracing():
    made = jax.jit(lambda s: inverse.Wavelet("db2", 1)(s))(jnp.ones((4, 4)))
    np.testing.assert_allclose(made, inverse.Wavelet("db2", 1)(jnp.ones((4, 4))), atol=1e-6)


def test_importing_the_library_does_not_load_the_wavelets(tmp_path):
    import subprocess

    code = "import sys, mbdl; sys.exit(int(any(n.split('.')[0] in ('jaxwavelets', 'pywt') for n in sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False).returncode == 0
