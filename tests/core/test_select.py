"""Selecting parts of a rule by a function of it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core import toys

import mbdl
from mbdl.core.select import ancestors, replace, select


@pytest.fixture
def rule():
    return toys.Outer(toys.Descent(toys.matrix()))


def names(rule, where):
    return [selection.name for selection in select(rule, where, "learn")]


def test_parts_in_tuples_lists_and_dicts(rule):
    def where(r):
        return {"a": (r.relaxation, [r.inner.A]), "b": r.inner.step_size, "none": None}

    assert names(rule, where) == [".relaxation", ".inner.A", ".inner.step_size"]


def test_the_same_array_in_two_places_is_two_parts():
    weight = jnp.ones(2)
    both = {"a": weight, "b": weight}
    assert names(both, lambda r: r["b"]) == ["['b']"]
    changed = replace(both, {select(both, lambda r: r["b"], "learn")[0].outer: jnp.zeros(2)})
    np.testing.assert_array_equal(changed["a"], [1, 1])
    np.testing.assert_array_equal(changed["b"], [0, 0])


def test_wrappers_are_seen_through(rule):
    rule = mbdl.unfold(mbdl.learn(rule, lambda r: r.inner.ridge), 3, untie=lambda r: r.inner.ridge)
    (selection,) = select(rule, lambda r: r.inner.ridge, "learn")
    assert [type(node).__name__ for node in selection.nodes[:2]] == ["PerLayer", "Learned"]
    assert selection.held.shape == (3,)
    assert [type(node).__name__ for node in ancestors(rule, selection.outer)] == ["Outer", "Descent"]


def test_a_part_of_a_network_knows_that_it_is_inside():
    rule = mbdl.substitute(
        toys.Proximal(toys.matrix(), toys.Shrink(0.1)), lambda r: r.prox, toys.Dense.make(jax.random.key(0))
    )
    (whole,) = select(rule, lambda r: r.prox, "learn")
    (part,) = select(rule, lambda r: r.prox.first, "learn")
    assert (whole.inside, part.inside) == (False, True)


def test_methods_and_properties_of_the_rule_may_be_used(rule):
    assert names(rule, lambda r: r.inner.hyperparameters()) == [".inner.step_size"]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (lambda r: None, "learn: the selector selected nothing in Outer"),
        (lambda r: (), "selected nothing"),
        (lambda r: r.correction, "selected nothing"),
        (
            lambda r: r,
            "the whole rule. Select the parts that are meant, such as r.correction, r.inner, r.relaxation",
        ),
        (lambda r: (r.relaxation, r.relaxation), r"returned \.relaxation twice"),
        (lambda r: (r.inner, r.inner.A), r"\.inner and \.inner\.A lie inside each other"),
        (lambda r: (r.inner.A, r.inner), "lie inside each other"),
        (lambda r: r.iterations, "returned 3, which is not a part of the rule"),
        (lambda r: 0.5, "returned 0.5, which is not a part of the rule"),
        (lambda r: r.nothing, "could not be applied to Outer: .*nothing.*The rule's fields are"),
        (lambda r: 2 * r.relaxation, "could not be applied"),
        (lambda r: r.inner.A[0], "could not be applied"),
    ],
)
def test_bad_selections_are_refused(rule, where, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        mbdl.learn(rule, where)


def test_replacing_leaves_the_rest_as_it_is(rule):
    (selection,) = select(rule, lambda r: r.inner.step_size, "learn")
    changed = replace(rule, {selection.outer: jnp.asarray(7.0)})
    assert changed.inner.step_size == 7
    assert changed.inner.A is rule.inner.A
    assert changed.relaxation is rule.relaxation
    assert rule.inner.step_size != 7
    assert jax.tree.structure(changed) == jax.tree.structure(rule)
    assert eqx.tree_equal(replace(rule, {}), rule)
