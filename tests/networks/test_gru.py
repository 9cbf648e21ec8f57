"""The gated recurrent unit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from mbdl import networks


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_a_step_is_its_formula_gate_by_gate(x64):
    gru = networks.GRU(3, 4, dtype=jnp.float64, key=jax.random.key(0))
    W_r, W_z, W_n = np.split(np.asarray(gru.input_weight), 3)
    U_r, U_z, U_n = np.split(np.asarray(gru.hidden_weight), 3)
    b_r, b_z, b_n = np.split(np.asarray(gru.input_bias), 3)
    c_r, c_z, c_n = np.split(np.asarray(gru.hidden_bias), 3)
    h, x = np.random.default_rng(0).standard_normal((2, 4))
    x = x[:3]
    r = sigmoid(W_r @ x + b_r + U_r @ h + c_r)
    z = sigmoid(W_z @ x + b_z + U_z @ h + c_z)
    n = np.tanh(W_n @ x + b_n + r * (U_n @ h + c_n))
    np.testing.assert_allclose(gru(jnp.asarray(h), jnp.asarray(x)), (1 - z) * n + z * h, rtol=1e-12)


def test_its_derivatives_are_those_of_central_differences_in_both_modes(x64):
    gru = networks.GRU(3, 4, dtype=jnp.float64, key=jax.random.key(0))
    h, x = jax.random.normal(jax.random.key(1), (2, 4), jnp.float64)
    check_grads(lambda gru, h, x: gru(h, x), (gru, h, x[:3]), order=2, atol=1e-6, rtol=1e-6)


def test_a_recursion_stores_one_array_for_the_slopes_of_a_unit():
    gru = networks.GRU(3, 4, key=jax.random.key(0))

    def last(gru, xs):
        return jnp.sum(jax.lax.scan(lambda h, x: (gru(h, x), None), jnp.zeros(4), xs)[0])

    _, pullback = jax.vjp(lambda gru: last(gru, jnp.ones((100, 3))), gru)
    stored = sum(leaf.size for leaf in jax.tree.leaves(pullback) if leaf.shape[:1] == (100,))
    assert stored == 100 * (3 + 4 + 5 * 4)  # the input, the hidden state before, and the slopes


def test_it_holds_as_many_numbers_as_the_unit_of_pytorch_and_draws_them_within_its_bound():
    gru = networks.GRU(7, 5, key=jax.random.key(1))
    leaves = jax.tree.leaves(gru)
    assert sum(leaf.size for leaf in leaves) == 3 * 5 * (7 + 5 + 2)
    largest = max(float(jnp.max(jnp.abs(leaf))) for leaf in leaves)
    assert 0.9 / np.sqrt(5) < largest <= 1 / np.sqrt(5)
    assert gru.hidden_size == 5


def test_it_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="hidden_size=0"):
        networks.GRU(2, 0, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"got \(\(3,\), \(2,\)\)"):
        networks.GRU(3, 2, key=jax.random.key(0))(jnp.zeros(3), jnp.zeros(2))
