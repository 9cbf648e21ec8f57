"""learn, freeze, thaw and tuned."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core import toys

import mbdl
from mbdl.core import Learned, as_leaf, count, partition

X = toys.vector()


def descent(**options):
    return toys.Descent(toys.matrix(), **options)


@pytest.mark.parametrize("constraint", [mbdl.unconstrained, mbdl.positive, mbdl.interval(0.0, 1.0)])
def test_learning_changes_no_decision(constraint):
    rule = descent()
    learned = mbdl.learn(rule, lambda r: (r.step_size, r.ridge), constraint=constraint)
    assert type(learned) is type(rule)
    np.testing.assert_allclose(learned(X), rule(X), rtol=1e-6)
    assert learned.step_size.origin == ("learn",)
    assert count(partition(learned)[0]) == 2
    assert all(g != 0 for g in toys.gradient(learned, X))


def test_learning_a_part_of_a_nested_rule():
    rule = toys.Outer(descent())
    learned = mbdl.learn(rule, lambda r: r.inner.ridge, constraint=mbdl.positive)
    np.testing.assert_allclose(learned(X), rule(X), rtol=1e-6)
    assert isinstance(learned.inner.ridge, Learned)


@pytest.mark.parametrize("constraint", [mbdl.unconstrained, mbdl.positive, mbdl.interval(0.0, 1.0)])
def test_no_double_precision_in_a_single_precision_rule(constraint, x64):
    rule = toys.Descent(toys.matrix(dtype=jnp.float32), 0.1, 0.1)
    x = toys.vector(dtype=jnp.float32)
    learned = mbdl.learn(rule, lambda r: (r.step_size, r.ridge), constraint=constraint)
    unfolded = mbdl.unfold(learned, 3, untie=lambda r: r.step_size)
    other = mbdl.unfold(rule, 3, untie=lambda r: r.step_size, constraint=constraint)
    substituted = mbdl.substitute(
        toys.Proximal(toys.matrix(dtype=jnp.float32), toys.Shrink(0.1)), lambda r: r.prox, toys.Scale(as_leaf(0.5))
    )
    augmented = mbdl.augment(rule, toys.Scale(as_leaf(np.float64(0.5))))
    for made in (learned, unfolded, other, substituted, augmented, mbdl.core.tuned(rule, lambda r: r.ridge)):
        assert toys.dtypes(made) == {"float32"}
    for made in (learned, unfolded, other, substituted):
        assert made(x).dtype == jnp.float32
        assert {g.dtype.name for g in toys.gradient(made, x)} == {"float32"}


def test_a_network_in_double_precision_stays_so(x64):
    rule = toys.Proximal(toys.matrix(dtype=jnp.float64), toys.Shrink(0.1), 0.1)
    learned = mbdl.substitute(rule, lambda r: r.prox, toys.Scale(as_leaf(0.5)))
    assert toys.dtypes(learned) == {"float64"}


def test_learned_numbers_of_a_rule_of_numbers_are_strongly_typed():
    learned = mbdl.learn(toys.Shrink(0.1), lambda r: r.weight, constraint=mbdl.positive)
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(learned))
    by_hand = mbdl.learn({"weight": 0.1, "other": jnp.ones(2)}, lambda r: r["weight"])
    assert by_hand["weight"].raw.dtype == jnp.float32


def test_numpy_arrays_are_learned_too():
    rule = mbdl.substitute(
        toys.Proximal(toys.matrix(), toys.Shrink(0.1)), lambda r: r.prox, toys.Scale(np.ones(3, np.float32))
    )
    assert isinstance(rule.prox.raw.weight, jax.Array)
    assert toys.gradient(rule, X)[0].shape == (3,)


@pytest.mark.parametrize("verb", [mbdl.learn, mbdl.tuned])
@pytest.mark.parametrize(
    ("rule", "where", "error", "message"),
    [
        (
            toys.Outer(descent()),
            lambda r: r.inner,
            TypeError,
            r"\.inner is a Descent, not an array.*mbdl\.substitute",
        ),
        (toys.Dense.make(jax.random.key(0)), lambda r: r.activation, TypeError, "not an array"),
        ({"i": jnp.arange(3), "w": jnp.ones(1)}, lambda r: r["i"], TypeError, "array of int32, which cannot be learn"),
        ({"i": True, "w": jnp.ones(1)}, lambda r: r["i"], TypeError, "is a bool, not an array"),
        (
            mbdl.learn(descent(), lambda r: r.ridge),
            lambda r: (r.step_size, r.ridge),
            ValueError,
            r"\.ridge is already learned",
        ),
        (
            mbdl.substitute(
                toys.Proximal(toys.matrix(), toys.Shrink(0.1)), lambda r: r.prox, toys.Dense.make(jax.random.key(0))
            ),
            lambda r: r.prox.first,
            ValueError,
            r"\.prox\.first is already learned",
        ),
    ],
)
def test_what_cannot_be_learned_is_refused(verb, rule, where, error, message):
    with pytest.raises(error, match=f"(?s){verb.__name__}: .*{message}"):
        verb(rule, where)


def test_python_numbers_in_a_network_are_not_learned():
    class Network(eqx.Module):
        layer: toys.Dense
        dropout: eqx.nn.Dropout
        slope: float

        def __call__(self, s):
            return self.slope * self.dropout(self.layer(s))

    network = Network(toys.Dense.make(jax.random.key(0)), eqx.nn.Dropout(0.5, inference=True), 0.3)
    rule = mbdl.substitute(toys.Proximal(toys.matrix(), toys.Shrink(0.1)), lambda r: r.prox, network)
    assert count(partition(rule)[0]) == 24
    assert (rule.prox.raw.slope, rule.prox.raw.dropout.p) == (0.3, 0.5)
    assert jnp.all(jnp.isfinite(rule(X)))
    by_hand = toys.Shrink(Learned(0.1))
    assert count(partition(by_hand)[0]) == 1


def test_complex_arrays_are_learned_without_a_constraint():
    filtered = mbdl.learn({"taps": jnp.ones(2, jnp.complex64)}, lambda r: r["taps"])
    assert filtered["taps"].raw.dtype == jnp.complex64


class TestFreeze:
    network = toys.Dense.make(jax.random.key(0))

    def rule(self):
        return mbdl.substitute(toys.Proximal(toys.matrix(), toys.Shrink(0.1)), lambda r: r.prox, self.network)

    def test_the_whole_of_it(self):
        rule = mbdl.learn(self.rule(), lambda r: r.step_size)
        frozen = mbdl.freeze(rule, lambda r: r.prox)
        assert count(partition(frozen)[0]) == 1
        assert frozen.prox.origin == rule.prox.origin
        np.testing.assert_array_equal(frozen(X), rule(X))
        everything = mbdl.freeze(rule, lambda r: r)
        assert count(partition(everything)[0]) == 0
        thawed = mbdl.thaw(everything, lambda r: r)
        assert jax.tree.structure(thawed) == jax.tree.structure(rule)

    def test_a_part_of_a_network_and_thawing_it(self):
        rule = self.rule()
        frozen = mbdl.freeze(rule, lambda r: r.prox.first)
        assert [leaf.shape for leaf in jax.tree.leaves(partition(frozen)[0])] == [(3, 4)]
        np.testing.assert_array_equal(frozen(X), rule(X))
        np.testing.assert_array_equal(frozen.prox.raw.second, rule.prox.raw.second)
        thawed = mbdl.thaw(frozen, lambda r: r.prox.first)
        assert count(partition(thawed)[0]) == count(partition(rule)[0])
        again = mbdl.thaw(mbdl.freeze(thawed, lambda r: r.prox.first), lambda r: r.prox.first)
        assert jax.tree.structure(again) == jax.tree.structure(thawed)
        assert len(toys.gradient(thawed, X)) == 2

    def test_thawing_a_part_of_a_frozen_network(self):
        frozen = mbdl.freeze(self.rule(), lambda r: r.prox)
        thawed = mbdl.thaw(frozen, lambda r: r.prox.second)
        assert [leaf.shape for leaf in jax.tree.leaves(partition(thawed)[0])] == [(3, 4)]
        assert count(partition(mbdl.freeze(thawed, lambda r: r.prox))[0]) == 0

    @pytest.mark.parametrize("verb", [mbdl.freeze, mbdl.thaw])
    def test_nothing_learned(self, verb):
        with pytest.raises(ValueError, match=rf"{verb.__name__}: nothing in \.A is learned"):
            verb(self.rule(), lambda r: r.A)
        with pytest.raises(ValueError, match="is learned"):
            verb(mbdl.tuned(descent(), lambda r: r.ridge), lambda r: r)


class TestTuned:
    def test_to_training_it_is_known(self):
        rule = mbdl.tuned(descent(), lambda r: r.ridge)
        assert count(partition(rule)[0]) == 0
        np.testing.assert_array_equal(rule(X), descent()(X))

    def test_to_the_verbs_it_is_a_plain_value(self):
        rule = mbdl.tuned(descent(), lambda r: (r.ridge, r.step_size))
        again = mbdl.tuned(rule, lambda r: r.ridge)
        assert jax.tree.structure(again) == jax.tree.structure(rule)
        learned = mbdl.learn(rule, lambda r: r.ridge, constraint=mbdl.positive)
        assert learned.ridge.origin == ("learn",)
        assert count(partition(learned)[0]) == 1
        unfolded = mbdl.unfold(rule, 3, untie=lambda r: r.ridge, constraint=mbdl.positive)
        assert count(partition(unfolded)[0]) == 3
        np.testing.assert_allclose(unfolded(X), descent(iterations=3)(X), rtol=1e-6)

    def test_freezing_and_thawing_leave_it(self):
        rule = mbdl.learn(mbdl.tuned(descent(), lambda r: r.ridge), lambda r: r.step_size)
        thawed = mbdl.thaw(mbdl.freeze(rule, lambda r: r), lambda r: r)
        assert jax.tree.structure(thawed) == jax.tree.structure(rule)
        assert count(partition(thawed)[0]) == 1

    def test_a_component_with_a_tuned_number_is_learned_as_a_whole(self):
        component = mbdl.tuned(toys.Dense.make(jax.random.key(0)), lambda n: n.second)
        rule = mbdl.substitute(toys.Proximal(toys.matrix(), toys.Shrink(0.1)), lambda r: r.prox, component)
        assert count(partition(rule)[0]) == 12
        assert mbdl.spectrum(rule).tuned == 12
