"""Covariances: factors of singular and badly scaled ones, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mbdl import tracking
from mbdl.tracking.covariance import as_covariance, draw, symmetric


def positive_definite(size, seed=0):
    factor = np.random.default_rng(seed).normal(size=(size, size))
    return factor @ factor.T


@pytest.mark.parametrize("size", [1, 2, 5, 12])  # Small ones are written out, larger ones are a loop.
def test_the_factor_of_a_definite_matrix_is_that_of_cholesky(size, x64):
    matrix = positive_definite(size)
    np.testing.assert_allclose(
        tracking.semidefinite_cholesky(matrix), np.linalg.cholesky(matrix), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize(("size", "rank"), [(4, 0), (4, 1), (4, 3), (9, 4)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_singular_matrix_has_a_factor(size, rank, dtype, x64):
    half = np.random.default_rng(1).normal(size=(size, rank)).astype(dtype)
    matrix = jnp.asarray(half @ half.T)
    factor = tracking.semidefinite_cholesky(matrix)
    assert factor.dtype == dtype
    np.testing.assert_array_equal(factor, np.tril(factor))
    # A pivot of some precisions that is dropped is an error of as much of the diagonal.
    scale = np.finfo(dtype).eps * max(float(np.max(np.abs(matrix), initial=0.0)), 1e-30)
    np.testing.assert_allclose(factor @ factor.T, matrix, rtol=0, atol=20 * scale)


def test_a_component_without_noise_in_the_middle(x64):
    matrix = np.diag([4.0, 0.0, 9.0])
    matrix[0, 2] = matrix[2, 0] = 3.0
    expected = [[2, 0, 0], [0, 0, 0], [1.5, 0, np.sqrt(6.75)]]
    np.testing.assert_allclose(tracking.semidefinite_cholesky(matrix), expected)


@pytest.mark.parametrize("size", [3, 8])
def test_the_factor_is_differentiable(size, x64):
    matrix = jnp.asarray(positive_definite(size))

    def value(matrix):
        return jnp.sum(jnp.sin(tracking.semidefinite_cholesky(symmetric(matrix))))

    direction = jnp.asarray(positive_definite(size, seed=4))
    slope = jnp.vdot(jax.grad(value)(matrix), direction)
    numeric = (value(matrix + 1e-6 * direction) - value(matrix - 1e-6 * direction)) / 2e-6
    np.testing.assert_allclose(slope, numeric, rtol=1e-7)
    # At a singular matrix, along what keeps its zero pivots zero: the derivative of sqrt(t) [1, 1] at t = 1.
    low = jnp.ones((2, 2))
    change = jax.jvp(tracking.semidefinite_cholesky, (low,), (low,))[1]
    np.testing.assert_allclose(change, [[0.5, 0], [0.5, 0]])
    assert bool(jnp.all(jnp.isfinite(jax.jacrev(tracking.semidefinite_cholesky)(jnp.zeros((2, 2))))))


def test_a_factor_is_its_covariance(x64):
    half = np.random.default_rng(2).normal(size=(3, 2))
    held = tracking.Factor(half)
    np.testing.assert_allclose(tracking.dense(held), half @ half.T)
    np.testing.assert_array_equal(tracking.factor_of(held), half)
    matrix = positive_definite(3)
    assert tracking.dense(matrix) is matrix
    factor = tracking.factor_of(matrix)
    np.testing.assert_allclose(factor @ factor.T, matrix)


def test_samples_have_the_covariance(x64):
    covariance = tracking.Factor(jnp.asarray([[2.0, 0.0], [1.0, 0.5], [0.0, 1.0]]))
    samples = np.asarray(jax.vmap(lambda key: draw(key, covariance))(jax.random.split(jax.random.key(0), 20_000)))
    expected = np.asarray(tracking.dense(covariance))
    deviations = np.sqrt(np.diag(expected))
    # Each entry of a sample covariance spreads by sqrt((1 + correlation^2) / N), at most 0.01, of the deviations.
    scale = np.outer(deviations, deviations)
    np.testing.assert_allclose(np.cov(samples.T) / scale, expected / scale, atol=0.05)
    np.testing.assert_allclose(samples.mean(0) / deviations, 0, atol=0.05)


@pytest.mark.parametrize(
    "matrix",
    [
        np.zeros((2, 2)),
        np.diag([1.0, 0.0]),
        np.diag([1e-20, 1e10]),
        1e-8 * positive_definite(3),
        np.ones((3, 3), np.float32),
        np.array([[1.0, 1e5], [1e5, 1e10]]),  # of correlation one
        np.array([[1, 0], [0, 2]]),
    ],
)
def test_semidefinite_matrices_are_covariances(matrix):
    held = as_covariance(matrix, len(matrix), "P")
    np.testing.assert_allclose(held, matrix)
    assert jnp.issubdtype(held.dtype, jnp.floating)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            np.array([[1.0, 0.5], [0.4, 1.0]]),
            "P: a covariance is symmetric, .* by 0.1 of its diagonal. Give \\(P \\+ P",
        ),
        (np.diag([1.0, -1.0]), "P: a covariance is positive semidefinite, but this one has a negative eigenvalue"),
        (np.array([[1.0, 2.0], [2.0, 1.0]]), "smallest of its correlation matrix: -1\\)"),
        (np.array([[1e10, 2.0], [2.0, 1e-10]]), "smallest of its correlation matrix: -1\\)"),  # hidden by the scale
        (np.array([[0.0, 1.0], [1.0, 1.0]]), "negative eigenvalue"),
        (np.eye(3), "P: expected 2 rows, got shape \\(3, 3\\)"),
        (np.ones((2, 1)), "P: expected a square matrix, got shape \\(2, 1\\). Hold a factor by tracking.Factor"),
        (np.ones(2), "P: expected 2 rows, got shape \\(2,\\)"),
        (1.0, "P: expected 2 rows, got shape \\(\\)"),
        (np.diag([1.0, np.nan]), "P must be finite, but 1 of its 4 values are not"),
        (tracking.Factor(np.ones((3, 1))), "P: expected 2 rows, got shape \\(3, 1\\)"),
    ],
)
def test_what_is_no_covariance_is_refused(value, message):
    with pytest.raises(ValueError, match=message):
        as_covariance(value, 2, "P")


def test_a_covariance_of_any_size_is_a_matrix():
    with pytest.raises(ValueError, match="P: expected a matrix, got shape \\(2,\\)"):
        as_covariance(np.ones(2), None, "P")


def test_what_is_no_factor_is_refused():
    with pytest.raises(ValueError, match="Factor: expected a matrix \\[size rank\\], got shape \\(2,\\)"):
        tracking.Factor(np.ones(2))
    with pytest.raises(ValueError, match="Factor: the factor must be finite"):
        tracking.Factor(np.full((2, 1), np.inf))
