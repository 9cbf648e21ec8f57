"""substitute and augment."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core import toys

import mbdl
from mbdl.core import Learned, PerLayer, as_leaf, combine, count, partition

X = toys.vector()
NETWORK = toys.Dense.make(jax.random.key(0))


def proximal(**options):
    return toys.Proximal(toys.matrix(), toys.Shrink(0.01), **options)


def test_a_network_in_the_place_of_a_component():
    rule = mbdl.substitute(proximal(), lambda r: r.prox, NETWORK)
    assert rule.prox.origin == ("substitute",)
    assert count(partition(rule)[0]) == 24
    np.testing.assert_allclose(rule(X), toys.Proximal(toys.matrix(), NETWORK)(X), rtol=1e-6)
    assert all(jnp.any(g != 0) for g in toys.gradient(rule, X))


def test_parts_marked_learned_are_what_is_learned():
    component = eqx.tree_at(lambda n: n.first, NETWORK, Learned(NETWORK.first, origin=("learn",), frozen=True))
    rule = mbdl.substitute(proximal(), lambda r: r.prox, component)
    assert count(partition(rule)[0]) == 0
    assert mbdl.spectrum(rule).frozen == 12
    assert rule.prox.first.origin == ("learn", "substitute")


def test_the_same_selector_goes_on_working():
    rule = mbdl.substitute(proximal(), lambda r: r.prox, NETWORK)
    again = mbdl.substitute(rule, lambda r: r.prox, toys.Scale(as_leaf(0.5)))
    assert count(partition(again)[0]) == 1
    back = mbdl.substitute(mbdl.unfold(rule, 3, untie=lambda r: r.prox), lambda r: r.prox, toys.Scale(as_leaf(0.5)))
    np.testing.assert_allclose(back(X), mbdl.unfold(again, 3)(X), rtol=1e-6)


class AbstractPrior(eqx.Module):
    @abc.abstractmethod
    def __call__(self, s): ...


class Zero(AbstractPrior):
    def __call__(self, s):
        return s


class NetworkPrior(AbstractPrior):
    network: toys.Dense

    def __call__(self, s):
        return self.network(s)


def test_it_must_be_able_to_stand_there():
    rule = toys.Proximal(toys.matrix(), Zero())
    with pytest.raises(TypeError, match=r"\.prox is a Zero \(AbstractPrior\), and a Dense cannot stand in"):
        mbdl.substitute(rule, lambda r: r.prox, NETWORK)
    with pytest.raises(TypeError, match="cannot stand in"):
        mbdl.substitute(rule, lambda r: r.prox, PerLayer.independent(toys.Dense.make, 4, key=jax.random.key(0)))
    mbdl.substitute(rule, lambda r: r.prox, NetworkPrior(NETWORK))
    wrapped = mbdl.substitute(rule, lambda r: r.prox, Learned(NetworkPrior(NETWORK), frozen=True))
    assert mbdl.spectrum(wrapped).frozen == 24


@pytest.mark.parametrize("network", [jnp.tanh, Zero(), jnp.arange(3)])
def test_nothing_to_learn(network):
    with pytest.raises(TypeError, match="holds no floating-point array, so there is nothing to learn"):
        mbdl.substitute(proximal(), lambda r: r.prox, network)


def test_layers_need_a_solver():
    class Plain(mbdl.DecisionRule):
        network: toys.Scale

        def decide(self, x):
            return self.network(x)

    layers = PerLayer.independent(toys.Dense.make, 4, key=jax.random.key(0))
    with pytest.raises(TypeError, match=r"\.network is in no solver with layers"):
        mbdl.substitute(Plain(toys.Scale(2.0)), lambda r: r.network, layers)


class TestAugment:
    correction = NETWORK

    def test_it_is_zero_at_first(self):
        rule = toys.Descent(toys.matrix())
        augmented = mbdl.augment(rule, self.correction)
        np.testing.assert_array_equal(augmented(X), rule(X))
        np.testing.assert_array_equal(augmented(X, trace=True), rule(X, trace=True))
        assert augmented.correction.origin == ("augment",)
        assert count(partition(augmented)[0]) == 25

    def test_the_gate_opens(self):
        augmented = mbdl.augment(toys.Descent(toys.matrix()), self.correction)
        loss, learned = toys.losses(augmented, X)
        gradient = jax.grad(loss)(learned)
        assert gradient.correction.raw.gate != 0
        assert jnp.all(gradient.correction.raw.correction.first == 0)
        opened = eqx.tree_at(lambda r: r.correction.raw.gate, augmented, jnp.asarray(0.1))
        assert all(jnp.any(g != 0) for g in toys.gradient(opened, X))
        s = jnp.zeros(3)
        for _ in range(5):
            s = toys.Descent(toys.matrix()).step(s, X)
            s = s + 0.1 * self.correction(s)
        np.testing.assert_allclose(opened(X), s, rtol=1e-5)

    def test_a_correction_in_every_layer(self):
        rule = mbdl.unfold(toys.Descent(toys.matrix()), 3)
        augmented = mbdl.augment(rule, self.correction)
        untied = mbdl.unfold(augmented, 3, untie=lambda r: r.correction)
        np.testing.assert_array_equal(untied(X), rule(X))
        assert count(partition(untied)[0]) == 3 * 25
        gates = [g for g in toys.gradient(untied, X) if g.shape == (3,)]
        assert len(gates) == 1
        assert jnp.all(gates[0] != 0)

    def test_the_decision_and_the_context_reach_it(self):
        class Residual(eqx.Module):
            gain: jax.Array

            def __call__(self, s, x):
                return self.gain * (s + x[:3])

        rule = mbdl.augment(toys.Descent(toys.matrix(), iterations=1), Residual(jnp.asarray(2.0)))
        opened = eqx.tree_at(lambda r: r.correction.raw.gate, rule, jnp.asarray(1.0))
        s = toys.Descent(toys.matrix(), iterations=1)(X)
        np.testing.assert_allclose(opened(X), s + 2 * (s + X[:3]), rtol=1e-5)

    def test_precision(self, x64):
        rule = mbdl.augment(toys.Descent(toys.matrix(dtype=jnp.float64)), toys.Scale(jnp.ones((), jnp.float32)))
        assert rule.correction.raw.gate.dtype == jnp.float64
        rule = mbdl.augment(toys.Descent(toys.matrix(dtype=jnp.float32)), self.correction)
        assert rule.correction.raw.gate.dtype == jnp.float32

    def test_errors(self):
        with pytest.raises(TypeError, match="augment: Shrink does not iterate"):
            mbdl.augment(toys.Shrink(0.1), self.correction)
        with pytest.raises(TypeError, match="augment: Outer does not say how a correction is added.*write its `shift`"):
            mbdl.augment(toys.Outer(toys.Descent(toys.matrix())), self.correction)
        augmented = mbdl.augment(proximal(), self.correction)
        with pytest.raises(ValueError, match=r"has a correction already. Substitute r\.correction"):
            mbdl.augment(augmented, self.correction)
        with pytest.raises(TypeError, match="holds no floating-point array"):
            mbdl.augment(proximal(), jnp.tanh)
        wide = toys.Dense(jnp.ones((4, 3)), jnp.ones((4, 4)))
        with pytest.raises(ValueError, match=r"the correction returned shape \(4,\) for a decision of shape \(3,\)"):
            mbdl.augment(proximal(), wide)(X)


def steps(verbs):
    """A solver after these verbs, each applied to the same parts."""
    actions = {
        "learn": lambda r: mbdl.learn(r, lambda r: r.ridge, constraint=mbdl.positive),
        "unfold": lambda r: mbdl.unfold(r, 5, untie=lambda r: r.step_size, constraint=mbdl.positive),
        "augment": lambda r: mbdl.augment(r, NETWORK),
        "tuned": lambda r: mbdl.tuned(r, lambda r: r.unused),
        "freeze": lambda r: mbdl.freeze(r, lambda r: r),
        "thaw": lambda r: mbdl.thaw(r, lambda r: r),
    }
    rule = toys.Descent(toys.matrix())
    for verb in verbs:
        rule = actions[verb](rule)
    return rule


ORDERS = [
    ["learn", "unfold", "augment", "tuned"],
    ["learn", "augment", "unfold", "tuned"],
    ["unfold", "learn", "tuned", "augment"],
    ["unfold", "augment", "tuned", "learn"],
    ["augment", "learn", "unfold", "tuned"],
    ["tuned", "augment", "unfold", "learn"],
    ["learn", "freeze", "unfold", "augment", "tuned", "thaw"],
    ["augment", "freeze", "thaw", "tuned", "learn", "unfold"],
]


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_the_verbs_compose_in_any_order(order):
    rule = steps(order)
    np.testing.assert_allclose(rule(X), toys.Descent(toys.matrix())(X), rtol=1e-5)
    reference = steps(ORDERS[0])
    assert jax.tree.structure(rule) == jax.tree.structure(reference)
    assert mbdl.spectrum(rule) == mbdl.spectrum(reference)
    assert (mbdl.spectrum(rule).learned, mbdl.spectrum(rule).tuned) == (1 + 5 + 25, 1)
    assert count(partition(rule)[0]) == 31
    for one, two in zip(toys.gradient(rule, X), toys.gradient(reference, X), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5)


def test_what_is_frozen_first_stays_frozen_in_every_layer():
    rule = mbdl.freeze(mbdl.learn(toys.Descent(toys.matrix()), lambda r: r.ridge), lambda r: r.ridge)
    unfolded = mbdl.unfold(rule, 3, untie=lambda r: r.ridge)
    assert count(partition(unfolded)[0]) == 0
    learned, rest = partition(mbdl.thaw(unfolded, lambda r: r.ridge))
    assert count(learned) == 3
    assert combine(learned, rest)(X).shape == (3,)
