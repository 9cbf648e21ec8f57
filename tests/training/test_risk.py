"""Risks against sums written out."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training.toys import Shrinking, affine, pairs

from mbdl.core import unfold
from mbdl.training import deep_supervision, losses, supervised, unsupervised

XS, TARGETS = pairs(6)


def test_supervised_is_the_mean_loss():
    rule = affine()
    expected = np.mean([losses.mse(rule(x), target) for x, target in zip(XS, TARGETS, strict=True)])
    np.testing.assert_allclose(supervised((XS, TARGETS), losses.mse)(rule), expected, rtol=1e-6)


def test_unsupervised_sees_decision_and_context():
    rule = affine()
    risk = unsupervised(XS, lambda s, x: jnp.sum((s - 2 * x) ** 2) + jnp.sum(x))
    expected = np.mean([np.sum((np.asarray(rule(x)) - 2 * x) ** 2) + np.sum(x) for x in XS])
    np.testing.assert_allclose(risk(rule), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "weights", [np.array([0.0, 0.5, 0.25, 2.0]), lambda k: math.log(k + 1)], ids=["array", "function"]
)
def test_deep_supervision_is_the_weighted_sum_over_iterates(weights):
    rule = Shrinking(0.3, iterations=4)
    weight = [weights(k) if callable(weights) else weights[k] for k in range(4)]
    expected = 0.0
    for x, target in zip(XS, TARGETS, strict=True):
        state = np.zeros(3)
        for k in range(4):
            state = state - 0.3 * (state - x)
            expected += weight[k] * np.mean((state - target) ** 2) / len(XS)
    np.testing.assert_allclose(deep_supervision((XS, TARGETS), losses.mse, weights)(rule), expected, rtol=1e-5)


def test_deep_supervision_of_the_last_iterate_alone_is_supervision():
    rule = unfold(Shrinking(0.3, iterations=9), 3, untie=lambda r: r.step_size)
    deep = deep_supervision((XS, TARGETS), losses.mse, np.array([0.0, 0.0, 1.0]))
    np.testing.assert_allclose(deep(rule), supervised((XS, TARGETS), losses.mse)(rule), rtol=1e-6)


def test_the_data_are_leaves_and_the_function_is_not():
    risk = supervised((XS, TARGETS), losses.mse)
    assert [leaf.shape for leaf in jax.tree.leaves(risk) if hasattr(leaf, "shape")] == [XS.shape, TARGETS.shape]


def test_contexts_may_be_trees():
    risk = supervised(({"a": XS, "b": TARGETS}, TARGETS), losses.mse)
    assert float(risk(lambda x: x["b"])) == 0.0


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: supervised((XS, TARGETS[:4]), losses.mse), ValueError, "one leading axis"),
        (lambda: supervised((np.float32(1.0), TARGETS), losses.mse), ValueError, "need a leading axis"),
        (lambda: supervised((XS, TARGETS, XS), losses.mse), ValueError, r"data = \(xs, targets\)"),
        (lambda: supervised(XS, losses.mse), ValueError, r"data = \(xs, targets\)"),
        (lambda: supervised((XS[:0], TARGETS[:0]), losses.mse), ValueError, "no examples"),
        (lambda: supervised((XS, TARGETS), "mse"), TypeError, "wants a function"),
        (lambda: unsupervised(XS, None), TypeError, "wants a function"),
        (lambda: deep_supervision((XS, TARGETS), losses.mse, [1.0, -1.0]), ValueError, "finite weights ≥ 0"),
        (lambda: deep_supervision((XS, TARGETS), losses.mse, [0.0, 0.0]), ValueError, "not all zero"),
        (lambda: deep_supervision((XS, TARGETS), losses.mse, [[1.0]]), ValueError, "vector of weights"),
        (lambda: deep_supervision((XS, TARGETS), losses.mse, [1.0, np.nan]), ValueError, "finite weights"),
        (lambda: supervised(None, losses.mse)(affine()), ValueError, "without data and got no batch"),
    ],
)
def test_what_is_given_wrong_is_an_error(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_as_many_weights_as_iterates():
    risk = deep_supervision((XS, TARGETS), losses.mse, np.ones(3))
    with pytest.raises(ValueError, match="3 weights, but the rule's trace has 4 iterates"):
        risk(Shrinking(0.3, iterations=4))


def test_deep_supervision_needs_a_rule_that_iterates():
    with pytest.raises(TypeError, match="iterates"):
        deep_supervision((XS, TARGETS), losses.mse, np.ones(3))(affine())
