"""The proximal map of total variation against exact solutions, and its duality gap."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inverse.tools import dense, normal
from scipy import optimize
from skimage import restoration

from mbdl import inverse
from mbdl.core import loops


def exact(v, radius, isotropic):
    """The minimiser from the dual, a small smooth problem over bounds or discs, by scipy."""
    D = dense(inverse.Gradient(), v.shape)
    size = v.size

    def dual(q):
        residual = np.ravel(v) - D.T @ q
        return 0.5 * residual @ residual, -D @ residual

    if not isotropic:
        bounds = [(-radius, radius)] * (2 * size)
        q = optimize.minimize(
            dual, np.zeros(2 * size), jac=True, bounds=bounds, options={"ftol": 1e-16, "gtol": 1e-10}
        ).x
    else:
        discs = {
            "type": "ineq",
            "fun": lambda q: radius**2 - q[:size] ** 2 - q[size:] ** 2,
            "jac": lambda q: np.hstack([-2 * np.diag(q[:size]), -2 * np.diag(q[size:])]),
        }
        options = {"ftol": 1e-15, "maxiter": 500}
        q = optimize.minimize(dual, np.zeros(2 * size), jac=True, constraints=discs, method="SLSQP", options=options).x
    return (np.ravel(v) - D.T @ q).reshape(v.shape)


@pytest.mark.parametrize("isotropic", [True, False])
@pytest.mark.parametrize("radius", [0.05, 0.4, 3.0])
def test_the_proximal_map_is_the_exact_one(radius, isotropic, x64):
    v = normal(0, 4, 3)
    prior = inverse.TotalVariation(radius / 0.5, iterations=3000, isotropic=isotropic)
    found, gap = prior.prox(v, 0.5), float(prior.duality_gap(v, 0.5))
    expected = exact(np.asarray(v), radius, isotropic)
    assert -1e-12 <= gap < 1e-6
    # Half the squared distance to the minimiser is at most the gap; scipy's own error is some 1e-6.
    assert float(jnp.sum((found - expected) ** 2)) / 2 <= gap + 1e-10
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_one_dimension_is_exact_by_the_taut_string(x64):
    """In one dimension the cumulative sum of the solution is the shortest string in a tube around that of the data."""
    v, radius = np.array([0.0, 0.1, -0.1, 1.0, 1.2, 0.9, 0.3]), 0.25
    total = np.cumsum(v)
    n = len(v)

    def length(knots):
        return np.sum(np.sqrt(1 + np.diff(np.concatenate([[0.0], knots, [total[-1]]])) ** 2))

    bounds = [(t - radius, t + radius) for t in total[:-1]]
    knots = optimize.minimize(length, total[:-1], bounds=bounds, options={"ftol": 1e-16, "gtol": 1e-10}).x
    expected = np.diff(np.concatenate([[0.0], knots, [total[-1]]]))
    found = inverse.TotalVariation(radius, iterations=2000).prox(jnp.asarray(v)[None], 1.0)[0]
    assert found.shape == (n,)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_scikit_image_agrees(x64):
    v = np.clip(0.5 + 0.2 * normal(2, 24, 20), 0, 1)
    # Its weight multiplies the same functional, with the same differences.
    reference = restoration.denoise_tv_chambolle(np.asarray(v), weight=0.15, eps=1e-8, max_num_iter=5000)
    found = inverse.TotalVariation(0.15, iterations=500).prox(v, 1.0)
    np.testing.assert_allclose(found, reference, atol=5e-3)


def test_twenty_iterations_are_close_where_the_threshold_is_small():
    v = normal(3, 16, 16)
    prior = inverse.TotalVariation(0.02)
    # The gap bounds half the squared distance; relative to the image this is a root mean square error of 0.1 %.
    assert float(prior.duality_gap(v, 1.0)) / v.size <= 0.5 * (1e-3) ** 2


def test_the_gap_falls_as_the_square_of_the_iterations_or_faster(x64):
    v = normal(4, 12, 12)
    gaps = [float(inverse.TotalVariation(0.5, iterations=n).duality_gap(v, 1.0)) for n in (20, 80, 320)]
    assert gaps[1] < gaps[0] / 16
    assert gaps[2] < gaps[1] / 16


def test_channels_are_treated_by_themselves():
    v = normal(5, 6, 5, 3)
    prior = inverse.TotalVariation(0.3)
    np.testing.assert_allclose(
        prior.prox(v, 1.0), jnp.stack([prior.prox(v[..., c], 1.0) for c in range(3)], -1), atol=1e-6
    )
    np.testing.assert_allclose(prior(v), sum(float(prior(v[..., c])) for c in range(3)), rtol=1e-5)


def test_weight_zero_changes_nothing_and_has_derivatives(x64):
    v = normal(6, 5, 4)
    np.testing.assert_array_equal(inverse.TotalVariation(0.0).prox(v, 1.0), v)
    slope = jax.grad(lambda w: jnp.sum(inverse.TotalVariation(w).prox(v, 1.0) ** 2))(0.0)
    assert jnp.isfinite(slope)
    assert jnp.all(jnp.isfinite(jax.grad(lambda v: inverse.TotalVariation(0.3)(v))(jnp.ones((3, 3)))))


@pytest.mark.parametrize("isotropic", [True, False])
def test_derivatives_match_central_differences(isotropic, x64):
    v, target, direction = normal(7, 5, 4), normal(8, 5, 4), normal(9, 5, 4)

    def value(w, v):
        return jnp.vdot(target, inverse.TotalVariation(w, isotropic=isotropic).prox(v, 0.7))

    slope_w, slope_v = jax.grad(value, (0, 1))(0.4, v)
    step = 1e-6
    np.testing.assert_allclose(slope_w, (value(0.4 + step, v) - value(0.4 - step, v)) / (2 * step), rtol=1e-6)
    along = (value(0.4, v + step * direction) - value(0.4, v - step * direction)) / (2 * step)
    np.testing.assert_allclose(jnp.vdot(slope_v, direction), along, rtol=1e-6)


def test_equal_calls_give_equal_results_and_the_loop_is_that_of_the_library(monkeypatch):
    v = normal(10, 4, 4)
    prior = inverse.TotalVariation(0.3)
    np.testing.assert_array_equal(prior.prox(v, 1.0), prior.prox(v, 1.0))
    lengths = []
    original = loops.loop
    monkeypatch.setattr(
        inverse.total_variation, "loop", lambda *a, **k: lengths.append(k["length"]) or original(*a, **k)
    )
    prior.prox(v, 1.0)
    assert lengths == [20]


def test_what_is_no_image_raises():
    with pytest.raises(ValueError, match=r"TotalVariation \(prox\): expected an image"):
        inverse.TotalVariation(0.1).prox(jnp.ones(4), 1.0)
