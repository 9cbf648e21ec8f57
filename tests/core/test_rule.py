"""Rules under transformations, nested, in both precisions; what they raise, and that they are compiled once."""

import copy
import pickle

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core import toys
from jax.test_util import check_grads

import mbdl
from mbdl.core import rule as rule_module

X = jnp.asarray([1.0, -0.05, 0.3])


class Counting(mbdl.DecisionRule):
    """Counts how often it is traced."""

    weight: jax.Array
    traces: list = eqx.field(static=True)

    def decide(self, x):
        self.traces.append(1)
        return self.weight * x


class Traces(list):
    """A list that hashes and compares by identity, as a static field must."""

    __hash__ = object.__hash__

    def __eq__(self, other):
        return self is other


def test_a_decision():
    np.testing.assert_allclose(toys.Shrink(0.1)(X), [0.9, 0.0, 0.2], rtol=1e-6)


def test_new_values_do_not_retrace():
    traces = Traces()
    for weight in (0.1, 0.2, 3, np.float64(0.4), jnp.asarray(0.5)):
        rule = Counting(weight, traces)
        rule(X)
        rule(X + 1)
    assert len(traces) == 2  # an int is another dtype than a float
    size = rule_module._run._cache_size()
    Counting(0.7, traces)(X)
    assert rule_module._run._cache_size() == size
    rule(jnp.ones(4))
    assert len(traces) == 3


def test_new_values_in_a_settled_rule_do_not_retrace():
    sizes = []
    for ridge in (0.1, 0.2, 1, jnp.asarray(0.3), np.float64(0.4)):
        toys.Descent(toys.matrix(), 0.05, ridge)(toys.vector())
        sizes.append(rule_module._run._cache_size())
    assert len(set(sizes)) == 1
    rule = toys.Descent(toys.matrix())
    eqx.tree_at(lambda r: r.ridge, rule, 0.7)(toys.vector())
    eqx.tree_at(lambda r: r.ridge, rule, jnp.asarray(0.7))(toys.vector())
    assert rule_module._run._cache_size() == sizes[0]


def test_new_learned_values_do_not_retrace():
    sizes = []
    for step in (0.1, 0.2):
        rule = mbdl.learn(toys.Descent(toys.matrix(), step), lambda r: r.step_size, constraint=mbdl.positive)
        rule(toys.vector())
        learned, rest = mbdl.core.partition(rule)
        mbdl.core.combine(jax.tree.map(lambda raw: raw + 0.1, learned), rest)(toys.vector())
        sizes.append(rule_module._run._cache_size())
    assert len(set(sizes)) == 1


def test_a_second_call_does_not_take_the_rule_apart_again():
    rule = toys.Shrink(0.1)
    rule(X)
    assert rule_module._take_apart(rule) is rule_module._take_apart(rule)


def test_what_is_cached_goes_with_the_rule():
    rule = toys.Shrink(0.1)
    rule(X)
    before = len(rule_module._taken_apart)
    del rule
    assert len(rule_module._taken_apart) == before - 1


@pytest.mark.parametrize("value", [np.asarray(0.5, np.float32), jnp.asarray(0.5), 0.5])
def test_the_cache_keeps_no_tracer(value):
    rule = eqx.tree_at(lambda r: r.ridge, toys.Descent(toys.matrix()), value)
    x = toys.vector()
    with jax.checking_leaks():
        inside = jax.jit(lambda x: rule(x))(x)
        jax.grad(lambda r: jnp.sum(eqx.tree_at(lambda q: q.ridge, rule, r)(x)))(0.3)
    np.testing.assert_allclose(rule(x), inside, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_transformations(dtype, x64):
    rule = toys.Descent(toys.matrix(dtype=dtype))
    xs = jnp.stack([toys.vector(seed=seed, dtype=dtype) for seed in range(3)])
    one_by_one = jnp.stack([rule(x) for x in xs])
    assert one_by_one.dtype == dtype
    tolerance = {"float32": 1e-5, "float64": 1e-13}[dtype]
    for together in (
        jax.vmap(rule)(xs),
        jax.jit(jax.vmap(rule))(xs),
        jax.vmap(jax.jit(rule))(xs),
        jax.lax.scan(lambda carry, x: (carry, rule(x)), 0, xs)[1],
        eqx.filter_vmap(rule)(xs),
        eqx.filter_jit(lambda r, xs: jax.vmap(r)(xs))(rule, xs),
    ):
        assert together.dtype == dtype
        np.testing.assert_allclose(together, one_by_one, rtol=tolerance, atol=tolerance)


def test_gradients_match_central_differences(x64):
    rule = mbdl.learn(toys.Descent(toys.matrix(dtype=jnp.float64)), lambda r: (r.ridge, r.A))
    x = toys.vector(dtype=jnp.float64)
    loss, learned = toys.losses(rule, x)
    check_grads(loss, (learned,), order=1, modes=["fwd", "rev"], eps=1e-6)
    check_grads(rule, (x,), order=1, modes=["fwd", "rev"], eps=1e-6)
    gradients = jax.vmap(jax.grad(lambda x: jnp.sum(rule(x))))(jnp.stack([x, 2 * x]))
    assert gradients.shape == (2, 4)


def test_batches_of_rules():
    rules = jax.vmap(lambda ridge: toys.Descent(toys.matrix(), 0.1, ridge))(jnp.asarray([0.0, 1.0]))
    decisions = jax.vmap(lambda rule: rule(toys.vector()))(rules)
    np.testing.assert_allclose(decisions[1], toys.Descent(toys.matrix(), 0.1, 1.0)(toys.vector()), rtol=1e-5)


def test_nested_in_another_rule():
    nested = toys.Proximal(toys.matrix(), toys.Shrink(0.02))

    class Textbook(toys.Proximal):
        def step(self, s, x):
            v = s - self.step_size * self.A.T @ (self.A @ s - x)
            return jnp.sign(v) * jnp.maximum(jnp.abs(v) - self.prox.weight, 0.0)

    np.testing.assert_allclose(
        nested(toys.vector()), Textbook(toys.matrix(), toys.Shrink(0.02))(toys.vector()), rtol=1e-6
    )
    learned = mbdl.learn(nested, lambda r: r.prox.weight, constraint=mbdl.positive)
    assert toys.gradient(learned, toys.vector())[0] != 0


def test_without_compilation():
    rule = mbdl.learn(toys.Descent(toys.matrix(), iterations=2), lambda r: r.ridge, constraint=mbdl.positive)
    compiled, gradient = rule(toys.vector()), toys.gradient(rule, toys.vector())
    with jax.disable_jit():
        np.testing.assert_allclose(rule(toys.vector()), compiled, rtol=1e-6)
        np.testing.assert_allclose(toys.gradient(rule, toys.vector())[0], gradient[0], rtol=1e-5)


@pytest.mark.parametrize("x", [[1, 0, 2], np.asarray([1, 0, 2], np.uint8)])
def test_integer_input_of_numpy(x):
    np.testing.assert_allclose(toys.Shrink(0.5)(np.asarray(x)), np.maximum(np.asarray(x, float) - 0.5, 0))


def test_python_numbers_as_input(x64):
    assert toys.Shrink(0.5)(2.0) == 1.5
    assert toys.Shrink(0.5)(2.0).dtype == jnp.float64
    assert eqx.tree_at(lambda r: r.weight, toys.Shrink(0.5), jnp.float32(0.5))(2.0).dtype == jnp.float32


def test_trees_as_input():
    class Rule(mbdl.DecisionRule):
        gain: jax.Array

        def decide(self, x):
            noise = jax.random.normal(x["key"], (3,))
            return {"s": self.gain * x["x"] + 0 * noise, "label": x["label"]}

    decision = Rule(2.0)({"x": np.ones(3), "label": 3, "key": jax.random.key(0)})
    np.testing.assert_allclose(decision["s"], 2.0)
    assert decision["label"] == 3


def test_identity_not_value():
    one, two = toys.Shrink(0.1), toys.Shrink(0.1)
    assert one == one
    assert one != two
    assert len({one, two, one}) == 2
    assert hash(one) == hash(one)


def test_compiled_rules_and_methods():
    rule = toys.Descent(toys.matrix())
    x = toys.vector()
    np.testing.assert_allclose(jax.jit(rule)(x), rule(x), rtol=1e-6)
    np.testing.assert_allclose(jax.jit(rule.decide)(x), rule(x), rtol=1e-6)
    np.testing.assert_allclose(jax.jit(rule.solve)(x).decision, rule.solve(x).decision, rtol=1e-5)
    np.testing.assert_allclose(eqx.filter_jit(rule)(x), rule(x), rtol=1e-6)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda rule: pickle.loads(pickle.dumps(rule))])
def test_copies(copied):
    rule = mbdl.learn(toys.Descent(toys.matrix()), lambda r: r.ridge, constraint=mbdl.positive)
    rule(toys.vector())
    other = copied(rule)
    assert other is not rule
    assert jax.tree.structure(other) == jax.tree.structure(rule)
    np.testing.assert_array_equal(other(toys.vector()), rule(toys.vector()))


def test_serialisation_of_leaves(tmp_path):
    rule = mbdl.learn(toys.Descent(toys.matrix()), lambda r: r.ridge)
    eqx.tree_serialise_leaves(tmp_path / "leaves", rule)
    other = eqx.tree_at(lambda r: r.A, rule, jnp.zeros((4, 3)))
    back = eqx.tree_deserialise_leaves(tmp_path / "leaves", other)
    np.testing.assert_array_equal(back(toys.vector()), rule(toys.vector()))


class TestNonFinite:
    def test_input(self):
        with pytest.raises(ValueError, match="Shrink: the input is not valid: 2 of its values are not finite"):
            toys.Shrink(0.1)(jnp.asarray([jnp.nan, 1.0, jnp.inf]))

        class First(mbdl.DecisionRule):
            def decide(self, x):
                return x["a"]

        with pytest.raises(ValueError, match="1 of its values are not finite"):
            First()({"a": jnp.asarray([jnp.nan], jnp.bfloat16), "key": jax.random.key(0), "n": 1, "f": 2.0})

    def test_decision(self):
        rule = toys.Descent(toys.matrix(), 1e30)
        with pytest.raises(ValueError, match="Descent: the decision is not finite although the input is valid"):
            rule(toys.vector())

    def test_nothing_raises_under_a_transformation(self):
        rule = toys.Shrink(0.1)
        bad = jnp.asarray([jnp.nan, 1.0])
        np.testing.assert_array_equal(jnp.isnan(jax.jit(rule)(bad)), [True, False])
        np.testing.assert_array_equal(jnp.isnan(jax.vmap(rule)(bad)), [True, False])
        value, _ = jax.value_and_grad(lambda w: jnp.sum(toys.Shrink(w)(bad)))(0.1)
        assert jnp.isnan(value)
        value, _ = jax.jvp(rule, (bad,), (bad,))
        assert jnp.isnan(value[0])

    def test_a_rule_says_what_its_valid_input_is(self):
        class Impute(mbdl.DecisionRule):
            value: jax.Array

            def valid(self, x):
                return ~jnp.any(jnp.isinf(x)) & (x[0] > 0)

            def decide(self, x):
                return jnp.where(jnp.isnan(x), self.value, x)

        np.testing.assert_array_equal(Impute(7.0)(jnp.asarray([1.0, jnp.nan])), [1.0, 7.0])
        with pytest.raises(ValueError, match="not valid"):
            Impute(7.0)(jnp.asarray([1.0, jnp.inf]))
        with pytest.raises(ValueError, match="`valid` refuses it"):
            Impute(7.0)(jnp.asarray([-1.0, 1.0]))


def test_a_trace_needs_iterations():
    with pytest.raises(TypeError, match="trace=True needs a rule that iterates; Shrink does not"):
        toys.Shrink(0.1)(X, trace=True)


def test_a_rule_needs_a_decision():
    class Incomplete(mbdl.DecisionRule):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Incomplete()
