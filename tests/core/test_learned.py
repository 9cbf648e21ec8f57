"""The wrappers, and the partition into what training moves and the rest."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from core import toys

import mbdl
from mbdl.core import Learned, PerLayer, combine, count, partition, resolve


def test_resolve_reaches_nested_rules_and_nested_wrappers():
    inner = Learned(jnp.ones(2), origin=("learn",))
    tree = {"a": Learned({"b": inner, "c": jnp.zeros(1)}, frozen=True), "layer": PerLayer(inner), "d": 3}
    resolved = resolve(tree)
    assert isinstance(resolved["layer"], PerLayer)
    np.testing.assert_array_equal(resolved["layer"].value, [1, 1])
    np.testing.assert_array_equal(resolved["a"]["b"], [1, 1])
    assert not any(isinstance(n, Learned) for n in jax.tree.leaves(resolved, is_leaf=lambda n: isinstance(n, Learned)))
    assert resolved["d"] == 3


def test_partition_takes_what_training_moves():
    tree = {
        "known": jnp.ones(3),
        "learned": Learned(jnp.zeros(2)),
        "frozen": Learned(jnp.zeros(4), frozen=True),
        "thawed inside": Learned({"x": Learned(jnp.zeros(5)), "y": jnp.zeros(6)}, frozen=True),
        "frozen inside": Learned({"x": Learned(jnp.zeros(7), frozen=True), "y": jnp.zeros(8)}),
        "no numbers": Learned({"i": jnp.arange(3), "f": jnp.tanh, "z": jnp.zeros(9)}),
        "constrained": mbdl.core.learned.wrap(jnp.ones(10), mbdl.positive, "learn"),
        "layers": PerLayer(Learned(jnp.zeros((2, 6)))),
    }
    learned, rest = partition(tree)
    assert sorted(leaf.size for leaf in jax.tree.leaves(learned)) == [2, 5, 8, 9, 10, 12]
    assert eqx.tree_equal(combine(learned, rest), tree)
    assert count(learned) + count(rest) == count(tree)


def test_weight_decay_does_not_touch_knowledge():
    rule = mbdl.learn(toys.Descent(toys.matrix()), lambda r: r.step_size)
    frozen = mbdl.freeze(mbdl.learn(rule, lambda r: r.ridge), lambda r: r.ridge)
    learned, rest = partition(frozen)
    optimiser = optax.adamw(1e-1, weight_decay=0.5)
    state = optimiser.init(learned)
    assert count(state) == 2 * count(learned) + 1
    gradient = jax.tree.map(jnp.ones_like, learned)
    updates, _ = optimiser.update(gradient, state, learned)
    moved = combine(optax.apply_updates(learned, updates), rest)
    np.testing.assert_array_equal(moved.A, rule.A)
    np.testing.assert_array_equal(moved.ridge.raw, frozen.ridge.raw)
    assert moved.step_size.raw != rule.step_size.raw


def test_independent_layers_come_from_independent_keys():
    layers = PerLayer.independent(toys.Dense.make, 3, key=jax.random.key(0))
    assert layers.value.first.shape == (3, 4, 3)
    for k, key in enumerate(jax.random.split(jax.random.key(0), 3)):
        np.testing.assert_array_equal(layers.value.first[k], toys.Dense.make(key).first)
    assert len(np.unique(layers.value.first)) == layers.value.first.size
    with pytest.raises(ValueError, match="at least one layer, got 0"):
        PerLayer.independent(toys.Dense.make, 0, key=jax.random.key(0))


def test_a_user_may_wrap_by_hand():
    rule = toys.Shrink(Learned(jnp.asarray(0.1), origin=("learn",)))
    np.testing.assert_allclose(rule(jnp.asarray([1.0])), 0.9)
    unbound = toys.Shrink(Learned(jnp.asarray(0.0), mbdl.positive))
    np.testing.assert_allclose(unbound(jnp.asarray([1.0])), 1 - np.log(2), rtol=1e-6)
    with pytest.raises(ValueError, match="bind a value before"):
        resolve(Learned(jnp.zeros(3), mbdl.positive_definite))
