"""The rule that is only a network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mbdl import core, networks


def test_network_rule_is_its_network_and_all_of_it_is_learned():
    network = networks.UpsampleCNN(2, width=4, depth=1, key=jax.random.key(0))
    rule = networks.NetworkRule(network)
    image = jax.random.normal(jax.random.key(1), (5, 6))
    np.testing.assert_allclose(rule(image), network(image), rtol=1e-5, atol=1e-6)
    learned, rest = core.partition(rule)
    assert core.count(learned) == core.count(network)
    assert core.count(rest) == 0
    assert rule.network.origin == ("network",)


def test_network_rule_is_batched_and_differentiable():
    rule = networks.NetworkRule(networks.MLP(4, 2, 8, 1, key=jax.random.key(0)))
    xs = jax.random.normal(jax.random.key(1), (3, 4))
    np.testing.assert_allclose(jax.vmap(rule)(xs), jnp.stack([rule(x) for x in xs]), rtol=1e-5, atol=1e-6)
    learned, rest = core.partition(rule)
    gradient = jax.grad(lambda part: jnp.sum(jax.vmap(core.combine(part, rest))(xs) ** 2))(learned)
    assert all(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(gradient))


def test_network_rule_passes_a_noise_level_on():
    network = networks.DnCNN(width=4, depth=2, noise_conditioned=True, key=jax.random.key(0))
    rule = networks.NetworkRule(network)
    image = jax.random.normal(jax.random.key(1), (5, 6))
    np.testing.assert_allclose(rule((image, jnp.asarray(0.2))), network(image, 0.2), rtol=1e-5, atol=1e-6)


def test_network_rule_refuses_what_it_cannot_call():
    with pytest.raises(TypeError, match="expected a callable network, got int"):
        networks.NetworkRule(3)
    with pytest.raises(ValueError, match="not finite"):
        networks.NetworkRule(networks.MLP(1, 1, 1, 1, key=jax.random.key(0)))(jnp.array([jnp.nan]))


NETWORKS = {
    "MLP": lambda key: networks.MLP(4, 2, 8, 1, key=key),
    "DnCNN": lambda key: networks.DnCNN(3, 4, 2, noise_conditioned=True, boundary="reflect", key=key),
    "UNet": lambda key: networks.UNet(width=4, scales=2, activation=jnp.tanh, key=key),
    "UpsampleCNN": lambda key: networks.UpsampleCNN(2, width=4, depth=1, offset=0.5, key=key),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_saved_and_loaded_exactly(name, tmp_path):
    rule = networks.NetworkRule(NETWORKS[name](jax.random.key(0)))
    core.save(tmp_path / "rule.mbdl", rule)
    loaded = core.load(tmp_path / "rule.mbdl")
    assert jax.tree.structure(loaded) == jax.tree.structure(rule)
    for old, new in zip(jax.tree.leaves(rule), jax.tree.leaves(loaded), strict=True):
        np.testing.assert_array_equal(old, new)
        assert old.dtype == new.dtype
