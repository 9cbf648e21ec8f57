"""Proximal maps: brute force, firm non-expansiveness, Moreau's identity; scaling and sums."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inverse.tools import normal
from scipy import optimize

from mbdl import inverse

PRIORS = {
    "L1": (inverse.L1(0.4), (3,)),
    "L1, weights": (inverse.L1(np.array([0.1, 0.0, 2.0])), (3,)),
    "L1 of wavelets": (inverse.L1(0.3, inverse.Wavelet("haar", 1)), (2, 3)),
    "NonNegative": (inverse.NonNegative(), (3,)),
    "Box": (inverse.Box(-0.2, 0.5), (3,)),
    "Zero": (inverse.Zero(), (3,)),
    "SquaredL2": (inverse.SquaredL2(0.7), (3,)),
    "multiple": (2.5 * inverse.L1(0.2), (3,)),
    "L1 + NonNegative": (inverse.L1(0.4) + inverse.NonNegative(), (3,)),
    "elastic net in a box": (inverse.Box(-1.0, 0.8) + 0.5 * inverse.SquaredL2(0.6) + 2.0 * inverse.L1(0.1), (3,)),
    "L1 of wavelets + SquaredL2": (inverse.L1(0.3, inverse.Wavelet("haar", 1)) + inverse.SquaredL2(0.5), (2, 3)),
    "TotalVariation": (inverse.TotalVariation(0.3, iterations=400), (2, 3)),
    "TotalVariation, anisotropic": (inverse.TotalVariation(0.3, iterations=400, isotropic=False), (2, 3)),
}
every_prior = pytest.mark.parametrize(("prior", "shape"), PRIORS.values(), ids=PRIORS.keys())


@every_prior
def test_the_proximal_map_minimises_by_brute_force(prior, shape, x64):
    """Nelder-Mead from the map's own result finds nothing lower, and the map is optimal to first order."""
    value = jax.jit(lambda s: prior(s))
    for seed, step in ((0, 0.8), (1, 2.0)):
        v = 1.5 * normal(seed, *shape)
        found = prior.prox(v, step)

        def objective(s, v=v, step=step):
            s = jnp.asarray(s).reshape(shape)
            # The simplex subtracts values, which may not be infinite.
            return min(float(step * value(s) + 0.5 * jnp.sum((s - v) ** 2)), 1e6)

        best = objective(np.ravel(found))
        assert best < 1e6
        options = {"xatol": 1e-8, "fatol": 1e-12, "maxiter": 600}
        lowest = min(
            optimize.minimize(objective, np.ravel(start), method="Nelder-Mead", options=options).fun
            for start in (found, v)
        )
        # The objective is strongly convex: a value within 1e-8 of the minimum is within 2e-4 of the minimiser.
        assert best <= lowest + 1e-8
        at_random = np.ravel(found) + 1e-3 * np.random.default_rng(seed).normal(size=(50, v.size))
        assert all(objective(s) >= best - 1e-9 for s in at_random)


@every_prior
def test_the_proximal_map_is_firmly_nonexpansive(prior, shape, x64):
    prox = jax.jit(lambda v, step: prior.prox(v, step))

    @hypothesis.settings(max_examples=20, deadline=None, database=None)
    @hypothesis.given(st.integers(0, 10**6), st.floats(1e-3, 10.0), st.floats(0.01, 100.0))
    def law(seed, step, size):
        u, v = size * normal(seed, *shape), size * normal(seed + 1, *shape)
        p, q = prox(u, step), prox(v, step)
        # An inexact map, that of total variation, is so only up to its own error.
        slack = 1e-4 * size * (size + step) if isinstance(prior, inverse.TotalVariation) else 1e-10 * size**2
        assert jnp.vdot(p - q, u - v) >= jnp.sum((p - q) ** 2) - slack

    law()


def test_moreaus_identity_of_l1(x64):
    """The conjugate of the norm is the indicator of the unit ball of the largest entry."""

    @hypothesis.settings(max_examples=25, deadline=None, database=None)
    @hypothesis.given(st.integers(0, 10**6), st.floats(1e-2, 10.0), st.floats(0.0, 5.0))
    def law(seed, step, weight):
        v = 3 * normal(seed, 6)
        dual = inverse.Box(-weight, weight).prox(v / step, 1 / step)
        np.testing.assert_allclose(inverse.L1(weight).prox(v, step) + step * dual, v, atol=1e-12)

    law()


def test_moreaus_identity_of_the_nonnegative_cone(x64):
    v = normal(0, 20)
    np.testing.assert_allclose(inverse.NonNegative().prox(v, 1.0) - inverse.NonNegative().prox(-v, 1.0), v)


def test_values():
    s = jnp.array([1.0, -2.0])
    assert float(inverse.L1(0.5)(s)) == 1.5
    assert float(inverse.SquaredL2(0.5)(s)) == 1.25
    assert float(inverse.Zero()(s)) == 0
    assert float(inverse.NonNegative()(s)) == np.inf
    assert float((0.0 * inverse.NonNegative())(s)) == np.inf
    assert float(inverse.Box(-2.0, 1.0)(s)) == 0
    assert float((inverse.L1(0.5) + 2.0 * inverse.SquaredL2(0.5))(s)) == 4.0
    assert float(inverse.Separable(inverse.L1(1.0), inverse.SquaredL2(2.0))((s, s))) == 8.0


def test_the_wavelet_prior_leaves_the_coarse_part_alone():
    prior = inverse.L1(10.0, inverse.Wavelet("haar", 1))
    s = jnp.array([[1.0, 3.0], [5.0, 7.0]])
    np.testing.assert_allclose(prior.prox(s, 1.0), jnp.full((2, 2), 4.0), atol=1e-5)
    np.testing.assert_allclose(prior(s), 10 * (4 + 2 + 0), atol=1e-4)


def test_a_separable_prior_acts_on_each_part():
    prior = inverse.Separable(inverse.L1(1.0), inverse.NonNegative())
    a, b = prior.prox((jnp.array([3.0]), jnp.array([-3.0])), 2.0)
    assert (a.tolist(), b.tolist()) == ([1.0], [0.0])
    with pytest.raises(ValueError, match="expected a tuple of 2 parts, got"):
        prior.prox(jnp.ones(3), 1.0)


def test_the_complex_soft_threshold_keeps_the_phase_and_has_a_derivative_at_zero(x64):
    v = jnp.array([3 + 4j, 0.1j, 0])
    np.testing.assert_allclose(inverse.soft_threshold(v, 1.0), [0.8 * (3 + 4j), 0, 0])
    slope = jax.grad(lambda t: jnp.sum(jnp.abs(inverse.soft_threshold(v, t)[:1]) ** 2))(1.0)
    np.testing.assert_allclose(slope, -2 * 4.0)
    assert jnp.all(jnp.isfinite(jax.grad(lambda v: jnp.sum(jnp.real(inverse.soft_threshold(v, 1.0))))(v)))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: inverse.L1(-1.0), ValueError, "the weight must not be negative, got a smallest value of -1"),
        (lambda: inverse.L1(np.nan), ValueError, "the weight must be finite"),
        (lambda: inverse.L1("0.1"), TypeError, "expected a number or an array, got '0.1'"),
        (lambda: inverse.L1(1.0, inverse.Gradient()), TypeError, "Gradient is not an orthogonal operator"),
        (lambda: inverse.SquaredL2(-0.1), ValueError, "must not be negative"),
        (lambda: inverse.TotalVariation(-0.1), ValueError, "must not be negative"),
        (lambda: inverse.TotalVariation(0.1, 0), ValueError, "at least one iteration, got iterations=0"),
        (lambda: inverse.Box(1.0, 0.0), ValueError, "lower <= upper everywhere, got 1.0 and 0.0"),
        (lambda: inverse.Box(np.nan, 0.0), ValueError, "lower <= upper"),
        (lambda: -1.0 * inverse.L1(1.0), ValueError, "the factor of a functional must not be negative"),
        (
            lambda: inverse.TotalVariation(0.1) + inverse.NonNegative(),
            TypeError,
            r"TotalVariation \+ NonNegative has no closed form. Split it .*ADMM",
        ),
        (lambda: inverse.L1(0.1) + inverse.TotalVariation(0.1), TypeError, r"L1 \+ TotalVariation has no closed form"),
        (
            lambda: inverse.L1(0.1, inverse.Wavelet("haar", 1)) + inverse.NonNegative(),
            TypeError,
            "has no closed form",
        ),
        (lambda: inverse.L1(0.1) + inverse.DenoiserPrior(jax.nn.relu), TypeError, "got DenoiserPrior"),
        (lambda: inverse.Separable(inverse.DenoiserPrior(jax.nn.relu)), TypeError, "got DenoiserPrior"),
    ],
)
def test_constructors_say_what_is_wrong(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_functional_without_a_proximal_map_does_not_scale():
    class Quartic(inverse.AbstractFunctional):
        def __call__(self, s):
            return jnp.sum(s**4)

    with pytest.raises(TypeError, match="only a functional with a proximal map scales, got Quartic"):
        2.0 * Quartic()
