"""The positive semidefinite part: projections by hand, and its derivative where eigenvalues repeat or vanish."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mbdl.control.semidefinite_part import semidefinite_part


def rotated(*values):
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((len(values),) * 2))[0]
    return jnp.asarray(basis @ np.diag(values) @ basis.T), jnp.asarray(basis)


def test_negative_eigenvalues_become_zero_and_others_stay(x64):
    matrix, basis = rotated(2.0, 2.0, -1.0, -3.0)
    np.testing.assert_allclose(semidefinite_part(matrix), 2 * basis[:, :2] @ basis[:, :2].T, atol=1e-14)


@pytest.mark.parametrize("values", [(2.0, 0.5, -1.0, -3.0), (2.0, 2.0, -1.0, -1.0), (1.0, 1.0, 1.0, 1.0)])
def test_the_derivative_is_that_of_central_differences(x64, values):
    matrix, _ = rotated(*values)
    change = np.random.default_rng(1).standard_normal((4, 4))
    change = jnp.asarray(change + change.T)
    step = 1e-6
    numeric = (semidefinite_part(matrix + step * change) - semidefinite_part(matrix - step * change)) / (2 * step)
    exact = jax.jvp(semidefinite_part, (matrix,), (change,))[1]
    np.testing.assert_allclose(exact, numeric, atol=1e-8)
    weight = jnp.arange(16.0).reshape(4, 4)
    backwards = jax.grad(lambda m: jnp.sum(weight * semidefinite_part(m)))(matrix)
    np.testing.assert_allclose(jnp.sum(backwards * change), jnp.sum(weight * exact), rtol=1e-10)


def test_a_singular_matrix_that_is_semidefinite_stays_with_the_derivative_of_the_identity():
    matrix = jnp.diag(jnp.array([1.0, 0.0, 0.0]))
    np.testing.assert_array_equal(semidefinite_part(matrix), matrix)
    change = jnp.ones((3, 3))
    np.testing.assert_array_equal(jax.jvp(semidefinite_part, (matrix,), (change,))[1], change)
