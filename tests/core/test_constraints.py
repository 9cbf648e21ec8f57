"""Constraints: what is wrapped comes back, and what has no raw value is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core import toys
from hypothesis import given, settings
from hypothesis import strategies as st

import mbdl
from mbdl.core import count
from mbdl.core.learned import wrap

SCALES = [1e-6, 1e-3, 1.0, 1e3, 1e6]
EPS = {"float32": 2.0**-23, "float64": 2.0**-52}


def covariances(dtype, scale=1.0, layers=None):
    root = jax.random.normal(jax.random.key(3), (*([layers] if layers else []), 4, 4), dtype)
    value = scale * (root @ jnp.swapaxes(root, -1, -2) + 0.1 * jnp.eye(4, dtype=dtype))
    return (value + jnp.swapaxes(value, -1, -2)) / 2


def values(name, dtype, scale):
    if name == "positive":
        return scale * jnp.asarray([[0.1, 1.0], [3.0, 7.0]], dtype), mbdl.positive
    if name == "interval":
        return scale * jnp.asarray([-1.9, 0.1, 2.9], dtype), mbdl.interval(-2 * scale, 3 * scale)
    if name == "simplex":
        small = jnp.asarray(min(scale, 1 / scale) / 4, dtype)
        return jnp.stack([small, jnp.asarray(0.25, dtype), 0.75 - small]), mbdl.simplex
    if name == "positive_definite":
        return covariances(dtype, scale), mbdl.positive_definite
    return scale * jnp.asarray([-1.0, 0.0, 2.0], dtype), mbdl.unconstrained


KINDS = ["positive", "interval", "simplex", "positive_definite", "unconstrained"]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", KINDS)
def test_round_trip(name, dtype, scale, x64):
    value, constraint = values(name, dtype, scale)
    learned = wrap(value, constraint, "learn")
    assert learned.raw.dtype == learned.value.dtype == value.dtype
    # Some ten roundings relative to each entry; a logit r turns the rounding of itself into |r| relative ones.
    entrywise = name in ("positive", "unconstrained", "simplex")
    size = jnp.abs(value) if entrywise else jnp.max(jnp.abs(value))
    assert jnp.all(jnp.abs(learned.value - value) <= 40 * EPS[dtype] * size)


@pytest.mark.parametrize("name", KINDS)
def test_stacked_values_are_the_single_ones(name, x64):
    stack = jnp.stack([jnp.stack([values(name, "float64", scale)[0]] * 2) for scale in (0.5, 2.0)])
    constraint = values(name, "float64", 4.0)[1]
    learned = wrap(stack, constraint, "learn")
    moved = jax.tree.map(lambda raw: raw + 0.3, learned.raw)
    together = learned.constraint(moved)
    assert together.shape == stack.shape
    for index in np.ndindex(2, 2):
        single = wrap(stack[index], constraint, "learn")
        np.testing.assert_allclose(together[index], single.constraint(single.raw + 0.3), rtol=1e-12)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", KINDS)
def test_gradients_are_finite_and_not_zero(name, scale):
    value, constraint = values(name, jnp.float32, scale)
    learned = wrap(value, constraint, "learn")
    weights = jnp.arange(1.0, value.size + 1).reshape(value.shape)
    gradient = jax.grad(lambda raw: jnp.sum(weights * learned.constraint(raw)))(learned.raw)
    assert jnp.all(jnp.isfinite(gradient))
    assert jnp.all(gradient != 0)


@pytest.mark.parametrize("scale", SCALES)
def test_positive_steps_are_relative(scale):
    learned = wrap(jnp.asarray([scale, 3 * scale]), mbdl.positive, "learn")
    ratio = learned.constraint(learned.raw + 0.1) / learned.value
    # softplus(r) = 1 at first, whose derivative is 1 - 1/e.
    np.testing.assert_allclose(ratio, jnp.log1p(jnp.exp(learned.raw + 0.1)), rtol=1e-5)
    np.testing.assert_allclose(ratio[0], 1 + 0.1 * (1 - np.exp(-1)), rtol=2e-3)


@settings(max_examples=60, deadline=None)
@given(st.floats(-30, 30), st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_the_range_is_the_set(raw, lower, width):
    with jax.enable_x64(True):
        raw = jnp.asarray(raw, jnp.float64)
        upper = lower + width
        bounded = wrap(jnp.asarray(lower + width / 2), mbdl.interval(lower, upper), "learn")
        assert lower <= bounded.constraint(raw) <= upper
        assert wrap(jnp.asarray(width), mbdl.positive, "learn").constraint(raw) > 0
        probabilities = mbdl.simplex(jnp.stack([raw, raw / 2]))
        assert jnp.all(probabilities > 0)
        np.testing.assert_allclose(jnp.sum(probabilities), 1.0, rtol=1e-15)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-4, 4), min_size=6, max_size=6))
def test_the_range_of_positive_definite(raw):
    with jax.enable_x64(True):
        anchor = jnp.diag(jnp.asarray([1e-4, 1.0, 1e4]))
        value = wrap(anchor, mbdl.positive_definite, "learn").constraint(jnp.asarray(raw))
        assert jnp.all(value == value.T)
        scaled = value / jnp.sqrt(jnp.outer(jnp.diag(value), jnp.diag(value)))
        assert jnp.linalg.eigvalsh(scaled)[0] > 0


def test_positive_definite_learns_a_factor():
    learned = wrap(covariances(jnp.float32, layers=5), mbdl.positive_definite, "learn")
    assert count(learned.raw) == 5 * 4 * 5 // 2


def test_a_badly_scaled_covariance_comes_back(x64):
    basis, _ = jnp.linalg.qr(jax.random.normal(jax.random.key(0), (4, 4)))
    value = basis @ jnp.diag(jnp.asarray([1e-5, 1.0, 1e2, 1e5])) @ basis.T
    value = (value + value.T) / 2
    back = wrap(value, mbdl.positive_definite, "learn").value
    assert jnp.max(jnp.abs(back - value)) <= 16 * EPS["float64"] * jnp.max(value)
    assert jnp.linalg.eigvalsh(back)[0] > 0
    graded = jnp.diag(jnp.asarray([1e-5, 1e5])) + 0.5
    graded = graded.at[0, 0].set(1e-5 + 0.25e-5)
    graded = graded.at[0, 1].set(0.5).at[1, 0].set(0.5)
    # A Cholesky factor keeps graded matrices entry by entry.
    np.testing.assert_allclose(wrap(graded, mbdl.positive_definite, "learn").value, graded, rtol=1e-13)


@pytest.mark.parametrize("value", [np.nextafter(np.float32(1.1), np.float32(0)), np.float32(1e-37)])
@pytest.mark.parametrize("lower", [0.0, -1000.0])
def test_an_interval_keeps_values_next_to_its_bounds(value, lower):
    learned = wrap(jnp.asarray(value), mbdl.interval(lower, 1.1), "learn")
    assert jnp.isfinite(learned.raw)


def test_an_interval_made_in_single_precision_is_exact_in_double():
    constraint = mbdl.interval(0.1, 0.7)
    with jax.enable_x64(True):
        learned = wrap(jnp.asarray(0.3), constraint, "learn")
        assert float(learned.constraint.lower) == 0.1
        assert float(learned.constraint.upper) == 0.7


@pytest.mark.parametrize(
    ("value", "constraint", "message"),
    [
        ([1.0, 0.0], mbdl.positive, r"positive: the value .*not positive.*boundary.*small positive"),
        ([-1.0], mbdl.positive, "not positive"),
        ([float("nan")], mbdl.positive, "not positive"),
        ([float("inf")], mbdl.positive, "not positive and finite"),
        ([0.0], mbdl.interval(0.0, 1.0), "not strictly between 0.0 and 1.0.*widen the interval"),
        ([1.0], mbdl.interval(0.0, 1.0), "not strictly between"),
        ([2.0], mbdl.interval(0.0, 1.0), "not strictly between"),
        ([0.5, 0.5, 0.0], mbdl.simplex, "positive probabilities that sum to one"),
        ([0.5, 0.6], mbdl.simplex, "positive probabilities that sum to one"),
        ([1.0], mbdl.simplex, "at least two probabilities"),
        ([[1.0, 0.5], [0.4, 1.0]], mbdl.positive_definite, r"not symmetric \(largest difference 0.1\)"),
        ([[1.0, 2.0], [2.0, 1.0]], mbdl.positive_definite, "not positive definite.*by its factor"),
        ([[0.0, 0.0], [0.0, 0.0]], mbdl.positive_definite, "not positive definite"),
        ([1.0, 2.0], mbdl.positive_definite, r"square matrices in the last two axes, got shape \(2,\)"),
    ],
)
def test_values_without_a_raw_value_are_refused(value, constraint, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        mbdl.learn(toys.Scale(jnp.asarray(value)), lambda r: r.weight, constraint=constraint)


def test_a_small_asymmetric_matrix_is_not_hidden_by_a_large_one():
    stack = jnp.stack([1e6 * jnp.eye(2), jnp.asarray([[1.0, 0.5], [0.4, 1.0]])])
    with pytest.raises(ValueError, match="not symmetric"):
        wrap(stack, mbdl.positive_definite, "learn")


@pytest.mark.parametrize("name", ["positive", "positive_definite", "simplex"])
def test_complex_values_are_refused(name):
    with pytest.raises(TypeError, match=f"{name}: expected real values, got complex64"):
        wrap(jnp.ones((2, 2), jnp.complex64), getattr(mbdl, name), "learn")


@pytest.mark.parametrize("bounds", [(1.0, 1.0), (2.0, 1.0), (0.0, float("inf")), (float("nan"), 1.0)])
def test_an_empty_interval_is_refused(bounds):
    with pytest.raises(ValueError, match="expected finite bounds with lower < upper"):
        mbdl.interval(*bounds)


def test_constraints_bind_under_jit():
    learned = jax.jit(lambda value: wrap(value, mbdl.positive, "learn"))(jnp.asarray(2.0))
    np.testing.assert_allclose(learned.value, 2.0, rtol=1e-6)
