"""Affine layers and the multilayer perceptron."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mbdl import networks


def test_mlp_is_its_textbook_formula(x64):
    mlp = networks.MLP(3, 2, width=5, depth=2, dtype=jnp.float64, key=jax.random.key(0))
    rng = np.random.default_rng(0)
    for layer in mlp.layers:
        object.__setattr__(layer, "bias", jnp.asarray(rng.standard_normal(layer.bias.shape)))
    x = rng.standard_normal(3)
    w, b = [np.asarray(a.weight) for a in mlp.layers], [np.asarray(a.bias) for a in mlp.layers]
    hidden = np.maximum(w[0] @ x + b[0], 0)
    hidden = np.maximum(w[1] @ hidden + b[1], 0)
    np.testing.assert_allclose(mlp(jnp.asarray(x)), w[2] @ hidden + b[2], rtol=1e-12)


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_mlp_holds_the_numbers_that_its_sizes_say(depth):
    mlp = networks.MLP(4, 3, width=7, depth=depth, key=jax.random.key(0))
    sizes = [4, *[7] * depth, 3]
    expected = sum(a * b + b for a, b in itertools.pairwise(sizes))
    assert sum(leaf.size for leaf in jax.tree.leaves(mlp)) == expected


def test_mlp_takes_another_activation_and_maps_over_a_batch():
    mlp = networks.MLP(4, 3, 6, 2, jnp.tanh, key=jax.random.key(1))
    assert mlp.activation is jnp.tanh
    xs = jax.random.normal(jax.random.key(2), (5, 4))
    np.testing.assert_allclose(jax.vmap(mlp)(xs), jnp.stack([mlp(x) for x in xs]), rtol=1e-5, atol=1e-6)


def test_linear_has_he_variance_and_an_optional_bias():
    linear = networks.Linear(50, 200, key=jax.random.key(0))
    assert abs(float(jnp.var(linear.weight)) * 50 / 2 - 1) < 0.075  # five standard errors of 10,000 draws
    assert networks.Linear(2, 2, bias=False, key=jax.random.key(0)).bias is None


def test_mlp_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="depth=-1"):
        networks.MLP(2, 2, 2, -1, key=jax.random.key(0))
    with pytest.raises(ValueError, match="in_size=0"):
        networks.MLP(0, 2, 2, 1, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"length 2, got the shape \(3,\)"):
        networks.MLP(2, 2, 2, 1, key=jax.random.key(0))(jnp.zeros(3))
