"""A network that is convex in its input: on chords, by its Hessian, and after training on what is not convex."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mbdl
from mbdl import networks


def network(**changes):
    return networks.InputConvex(**{"in_size": 3, "width": 6, "depth": 3, "key": jax.random.key(0), **changes})


def chord_excess(value):
    """By how much the value in the middle of random chords is above the chord."""
    ends = 4 * jax.random.normal(jax.random.key(1), (2, 500, 3))
    share = jax.random.uniform(jax.random.key(2), (500, 1))
    middle = share * ends[0] + (1 - share) * ends[1]
    left, right, between = (np.asarray(jax.vmap(value)(x), np.float64) for x in (*ends, middle))
    share = np.asarray(share, np.float64)[:, 0]
    return np.max((between - share * left - (1 - share) * right) / (1 + np.abs(between)))


def test_it_lies_below_its_chords():
    assert chord_excess(network()) <= 1e-5


def test_it_is_convex_wherever_its_parameters_are():
    """Trained towards a concave function, and with parameters moved at random, it stays convex."""
    rule = networks.NetworkRule(network())
    xs = jax.random.normal(jax.random.key(3), (256, 3))
    risk = mbdl.supervised((xs, -jnp.sum(xs**2, axis=1)), mbdl.losses.mse)
    fit = mbdl.fit(rule, risk, optax.adam(3e-2), steps=100, key=jax.random.key(4))
    assert chord_excess(mbdl.resolve(fit.rule).network) <= 1e-5
    learned, rest = mbdl.core.partition(network())
    for seed in range(3):
        leaves, structure = jax.tree.flatten(learned)
        keys = jax.random.split(jax.random.key(seed), len(leaves))
        moved = [a + 3 * jax.random.normal(k, a.shape) for a, k in zip(leaves, keys, strict=True)]
        assert chord_excess(mbdl.core.combine(structure.unflatten(moved), rest)) <= 1e-5


def test_it_fits_a_convex_function():
    rule = networks.NetworkRule(network(width=16, depth=2))
    xs = jax.random.normal(jax.random.key(3), (512, 3))
    risk = mbdl.supervised((xs, jnp.sum(xs**2, axis=1)), mbdl.losses.mse)
    fit = mbdl.fit(rule, risk, optax.adam(2e-2), steps=400, key=jax.random.key(4))
    assert risk(fit.rule) < 0.05 * jnp.var(jnp.sum(xs**2, axis=1))


def test_bad_arguments():
    with pytest.raises(ValueError, match="InputConvex got depth=0"):
        network(depth=0)
    with pytest.raises(ValueError, match="expected a vector of length 3"):
        network()(jnp.ones(4))
