"""Examples 3-6 and 3-8 of N. Shlezinger and Y. Eldar, "Model-Based Deep Learning", 2023, with the published numbers."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from mbdl import inverse


@pytest.fixture(scope="module")
def example():
    """Five spikes among a thousand seen through 256 orthonormal rows, drawn as the book's notebook draws them."""
    random = np.random.RandomState(0)  # the legacy generator, which the notebook uses
    matrix = scipy.linalg.orth(random.randn(256, 1000).T).T
    truth = np.zeros(1000)
    support = random.permutation(1000)[:5]
    truth[support] = 0.5 * random.randn(5)
    x = matrix @ truth + 0.01 * random.randn(256)
    np.testing.assert_allclose(np.sum(truth**2), 2.190, atol=5e-4)
    if abs(np.sum(x**2) - 0.63491) > 1e-4:
        pytest.skip("this machine's LAPACK turns the orthonormal rows otherwise, so that the noise is another one")
    return matrix, truth, x


@pytest.mark.parametrize(("weight", "residual", "error", "kept"), [(0.01, 0.02185, 0.01316, 33), (0.2, 0.338, 1.12, 2)])
def test_ista(example, weight, residual, error, kept, x64):
    matrix, truth, x = example
    fidelity = inverse.LeastSquares(inverse.Matrix(matrix))
    s = inverse.ISTA(fidelity, inverse.L1(weight), step_size=0.1, iterations=1000)(jnp.asarray(x))
    # The published numbers are rounded to three and four digits.
    np.testing.assert_allclose(2 * fidelity(s, x), residual, rtol=2e-3)
    np.testing.assert_allclose(jnp.sum((s - truth) ** 2), error, rtol=2e-3)
    assert int(jnp.sum(jnp.abs(s) > 1e-3)) == kept


def test_ista_with_the_full_step_needs_a_tenth_of_the_iterations(example, x64):
    matrix, _, x = example
    rule = inverse.ISTA(inverse.LeastSquares(inverse.Matrix(matrix)), inverse.L1(0.01), iterations=119)
    np.testing.assert_allclose(rule.step_size, 1.0, rtol=1e-9)
    changes = jnp.sum(jnp.abs(jnp.diff(rule(jnp.asarray(x), trace=True), axis=0)), axis=1)
    # The notebook, which counts from zero, stops in iteration 118: there the change is at most 1e-7 for the first time.
    assert float(changes[117]) <= 1e-7 < float(changes[116])


def test_admm_with_the_published_effective_weight_fits_the_noise(example, x64):
    matrix, truth, x = example
    fidelity = inverse.LeastSquares(inverse.Matrix(matrix).factored())
    rule = inverse.ADMM(fidelity, inverse.L1(4e-6), penalty=1e-3)
    s = rule.solve(jnp.asarray(x)).decision
    # The published rule stops early, at an error of 0.0625; its residual of 7.4e-9 has the same effective weight.
    np.testing.assert_allclose(2 * fidelity(s, x), 7.4e-9, rtol=0.02)
    np.testing.assert_allclose(jnp.sum((s - truth) ** 2), 0.0625, rtol=0.1)
