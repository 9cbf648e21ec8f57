"""The factored matrix: the same operator, and a derivative that no decomposition spoils."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inverse.tools import normal

from mbdl import inverse


@pytest.mark.parametrize("shape", [(3, 7), (7, 3), (5, 5)])
def test_the_factored_matrix_is_the_matrix(shape, x64):
    A = inverse.Matrix(normal(0, *shape))
    F = A.factored()
    s, x = normal(1, shape[1]), normal(2, shape[0])
    np.testing.assert_allclose(F(s), A(s), atol=1e-12)
    np.testing.assert_allclose(F.adjoint(x), A.adjoint(x), atol=1e-12)
    for weight in (1e-3, 10.0):
        np.testing.assert_allclose(F.regularised_solve(s, weight), A.regularised_solve(s, weight), rtol=1e-9, atol=1e-9)
    assert (F.input_shape, F.output_shape, F.dtype) == (A.input_shape, A.output_shape, A.dtype)


@pytest.mark.parametrize("kind", ["matrix", "factored"])
def test_derivatives_are_right_at_repeated_singular_values(kind, x64):
    matrix = jnp.asarray(np.linalg.qr(np.random.default_rng(3).normal(size=(6, 4)))[0].T)  # all singular values are 1
    b, target = normal(4, 6), normal(5, 6)

    def value(weight, b, scale):
        A = inverse.Matrix(matrix)
        if kind == "factored":
            F = A.factored()
            A = inverse.FactoredMatrix(F.U, F.singular_values * scale, F.Vt)
        else:
            A = inverse.Matrix(matrix * scale)
        return jnp.vdot(target, A.regularised_solve(b, weight))

    at = (0.3, b, jnp.asarray(1.0))
    slopes = jax.grad(value, (0, 1, 2))(*at)
    # With A^T A = c^2 P for a projection P: the solution is (b - c^2 / (c^2 + w) P b) / w.
    P = matrix.T @ matrix

    def closed(weight, b, scale):
        return jnp.vdot(target, (b - scale**2 / (scale**2 + weight) * (P @ b)) / weight)

    for slope, expected in zip(slopes, jax.grad(closed, (0, 1, 2))(*at), strict=True):
        np.testing.assert_allclose(slope, expected, rtol=1e-10)


def test_the_derivative_along_a_rotation_of_the_factors(x64):
    F = inverse.Matrix(normal(6, 3, 4)).factored()
    b, target, generator = normal(7, 4), normal(8, 4), normal(9, 4, 4)

    def value(t):
        Vt = F.Vt @ jax.scipy.linalg.expm(t * (generator - generator.T))
        return jnp.vdot(target, inverse.FactoredMatrix(F.U, F.singular_values, Vt).regularised_solve(b, 0.1))

    numeric = (value(1e-6) - value(-1e-6)) / 2e-6
    np.testing.assert_allclose(jax.grad(value)(0.0), numeric, rtol=1e-7)


def test_a_complex_matrix(x64):
    matrix = normal(7, 3, 4) + 1j * normal(8, 3, 4)
    A = inverse.Matrix(matrix)
    s, x = normal(9, 4) + 1j * normal(10, 4), normal(11, 3) - 1j * normal(12, 3)
    np.testing.assert_allclose(jnp.vdot(x, A(s)), jnp.vdot(A.adjoint(x), s), rtol=1e-12)
    np.testing.assert_allclose(A.norm(), np.linalg.norm(matrix, 2), rtol=1e-12)
    expected = np.linalg.solve(matrix.conj().T @ matrix + 0.2 * np.eye(4), s)
    for operator in (A, A.factored()):
        np.testing.assert_allclose(operator.regularised_solve(s, 0.2), expected, rtol=1e-10)

    def value(weight, b):
        return jnp.sum(jnp.abs(A.regularised_solve(b, weight)) ** 2)

    slope, slope_b = jax.grad(value, (0, 1))(0.2, s)
    step, direction = 1e-6, normal(13, 4) + 1j * normal(14, 4)
    np.testing.assert_allclose(slope, (value(0.2 + step, s) - value(0.2 - step, s)) / (2 * step), rtol=1e-7)
    along = (value(0.2, s + step * direction) - value(0.2, s - step * direction)) / (2 * step)
    np.testing.assert_allclose(jnp.real(jnp.sum(slope_b * direction)), along, rtol=1e-7)


def test_integers_become_floating_point():
    assert inverse.Matrix(np.array([[1, 2], [3, 4]])).dtype == np.dtype("float32")
