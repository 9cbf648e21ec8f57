"""Leaves: numbers become arrays in the dtype of their context."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core import toys

import mbdl
from mbdl.core import as_leaf, dtype_of, settle
from mbdl.core.leaves import context


@pytest.mark.parametrize("value", [0.5, 2, True, 1j, np.float32(0.5), np.float64(0.5), np.arange(3.0), np.int32(3)])
def test_numbers_become_arrays(value):
    leaf = as_leaf(value)
    assert isinstance(leaf, jax.Array)
    np.testing.assert_allclose(leaf, value)


def test_an_int_is_a_number_that_can_be_learned():
    assert as_leaf(2).dtype == jnp.float32
    assert as_leaf(2).weak_type


@pytest.mark.parametrize("value", [jnp.ones(2), mbdl.Learned(jnp.ones(2)), mbdl.PerLayer(jnp.ones(2))])
def test_arrays_and_wrapped_leaves_stay(value):
    assert as_leaf(value) is value


@pytest.mark.parametrize("value", ["0.5", None, [1.0, 2.0], jnp.tanh])
def test_other_things_are_refused(value):
    with pytest.raises(TypeError, match="expected a number or an array, got"):
        as_leaf(value)


def test_the_context_is_that_of_strong_arrays(x64):
    f32, f64 = jnp.ones(2, jnp.float32), jnp.ones(2, jnp.float64)
    weak = jnp.asarray(0.5)
    assert weak.weak_type
    assert dtype_of((f32, weak, 3.0, np.float64(1.0), jnp.arange(3))) == np.float32
    assert dtype_of((np.ones(2, np.float32), weak)) == np.float32
    assert dtype_of((f32, f64)) == np.float64
    assert dtype_of(jnp.ones(2, jnp.complex64)) == np.float32
    assert dtype_of(jnp.ones(2, jnp.bfloat16)) == jnp.bfloat16
    assert dtype_of((weak, 1.0)) == np.float64
    assert context((weak, 1.0, np.float64(1.0), jnp.arange(3))) is None


def test_settle_casts_weak_numbers_and_keeps_the_rest(x64):
    tree = {
        "strong": jnp.ones(2, jnp.float32),
        "weak": jnp.asarray(0.1),
        "float": 0.1,
        "double": np.float64(0.1),
        "int": 3,
        "complex": 1j,
        "numpy": np.ones(2, np.float32),
        "flag": True,
        "name": "relu",
        "function": jnp.tanh,
        "key": jax.random.key(0),
        "shape": jax.ShapeDtypeStruct((2,), jnp.float32, weak_type=True),
    }
    settled = settle(tree)
    assert {name: settled[name].dtype.name for name in ("weak", "float", "double")} == dict.fromkeys(
        ("weak", "float", "double"), "float32"
    )
    assert settled["complex"].dtype == jnp.complex64
    assert isinstance(settled["numpy"], jax.Array)
    assert not settled["int"].weak_type
    assert settled["flag"] is True
    for name in ("strong", "name", "function", "shape"):
        assert settled[name] is tree[name]
    assert settled["weak"] == jnp.float32(0.1)


def test_without_a_context_numbers_stay_weak(x64):
    settled = settle({"a": 0.1, "b": np.float64(2.0), "c": jnp.asarray(3.0)})
    assert all(leaf.weak_type for leaf in jax.tree.leaves(settled))


def test_a_rule_settles_its_fields_whatever_its_constructor_did(x64):
    class Rule(mbdl.DecisionRule):
        matrix: jax.Array
        weights: tuple
        options: dict

        def decide(self, x):
            return self.matrix @ x * self.weights[0]

    rule = Rule(jnp.ones((2, 2), jnp.float32), (0.1, np.float64(3.0), toys.Scale(2.0)), {"a": 1, "b": False})
    assert toys.dtypes(rule) == {"float32"}
    assert rule.options["b"] is False
    assert rule(jnp.ones(2, jnp.float32)).dtype == jnp.float32


def test_a_rule_of_numbers_alone_takes_the_dtype_of_its_input(x64):
    rule = toys.Shrink(0.1)
    assert rule(jnp.ones(2, jnp.float32)).dtype == jnp.float32
    assert rule(jnp.ones(2, jnp.float64)).dtype == jnp.float64
    np.testing.assert_allclose(rule(jnp.ones(2, jnp.float64)), 0.9, rtol=1e-15)
    nested = toys.Proximal(toys.matrix(), rule)
    assert toys.dtypes(nested) == {"float32"}


def test_a_layer_with_a_python_flag_works_in_a_rule():
    class Rule(mbdl.DecisionRule):
        layer: eqx.nn.Dropout

        def decide(self, x):
            return self.layer(x)

    x = jnp.arange(3.0)
    np.testing.assert_array_equal(Rule(eqx.nn.Dropout(0.5, inference=True))(x), x)


def test_a_rule_made_under_a_transformation():
    x = jnp.asarray([1.0, -2.0])

    def loss(weight):
        return jnp.sum(toys.Shrink(weight)(x))

    np.testing.assert_allclose(jax.jit(loss)(0.5), 0.5 - 1.5, rtol=1e-6)
    np.testing.assert_allclose(jax.grad(lambda w: jnp.sum(toys.Shrink(w)(jnp.abs(x))))(0.5), -2.0)
    np.testing.assert_allclose(jax.vmap(loss)(jnp.asarray([0.0, 0.5])), [-1.0, -1.0])
    shapes = jax.eval_shape(toys.Shrink, jax.ShapeDtypeStruct((), jnp.float32))
    assert shapes.weight.shape == ()
