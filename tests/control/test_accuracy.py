"""The accuracy to which the solvers of quadratic programs are held, on the benchmark's batches of them."""

from pathlib import Path

import jax
import numpy as np
import pytest
from control.test_solve_qp import clarabel

from mbdl import control

ROOT = Path(__file__).parent.parent.parent

pytestmark = pytest.mark.skipif(not (ROOT / "benchmarks").is_dir(), reason="the benchmarks are not part of an install")


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("kind", ["bounds", "rows"])
def test_a_batch_is_exact_forward_and_backward(kind):
    """64 programs of 20 variables, of which 39 % are at a bound: the solution and the gradient by a factor of the
    hessian and by the linear term, against the exact ones on the active set; the solution against Clarabel."""
    from benchmarks import qp

    batch = qp.Batch.draw(64, 20)
    x, *slopes = map(np.asarray, qp.ours(batch, kind)())
    exact, *exact_slopes = batch.exact(x)
    assert np.mean(np.abs(exact) == qp.WIDTH) > 0.3
    np.testing.assert_allclose(x, exact, rtol=0, atol=1e-6)
    for k in range(64):
        for slope, expected in zip(slopes, exact_slopes, strict=True):
            assert np.linalg.norm(slope[k] - expected[k]) <= 1e-4 * np.linalg.norm(expected[k])
    eye = np.eye(20)
    sides = {"bounds": (-qp.WIDTH, qp.WIDTH)} if kind == "bounds" else {"inequality": (eye, -qp.WIDTH, qp.WIDTH)}
    for factor, linear, found in zip(batch.factors, batch.linear, x, strict=True):
        program = control.QuadraticProgram(factor.T @ factor, linear, **sides)
        np.testing.assert_allclose(found, clarabel(program)[0], rtol=0, atol=1e-6)
