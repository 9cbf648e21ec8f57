"""How steps are dispatched: compiled loops or single steps, with the same numbers, and no retracing."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from training.toys import Filter, affine, pairs, same

from mbdl.core import learn
from mbdl.training import every, fit, losses, supervised
from mbdl.training.structure import take_apart

XS, TARGETS = pairs(30, 8)
KEY = jax.random.key(1)


def convolving():
    return learn(Filter(jnp.array([0.1, 1.0, 0.1])), lambda r: r.kernel)


def test_a_dense_rule_runs_many_steps_per_dispatch_and_a_convolving_one_single_steps_on_a_cpu():
    if jax.default_backend() != "cpu":
        pytest.skip("only XLA on CPU runs convolutions slowly in loops")
    risk = supervised((XS, TARGETS), losses.mse)
    dense = fit(affine(8), risk, optax.sgd(0.1), steps=20, key=KEY).history.plan
    assert dense.scanned
    assert dense.steps_per_dispatch == 20
    single = fit(convolving(), risk, optax.sgd(0.1), steps=5, key=KEY).history.plan
    assert single.steps_per_dispatch == 1
    assert "convolutions" in single.reason


@pytest.mark.parametrize("rule", [affine(8), convolving()], ids=["dense", "convolving"])
def test_both_ways_of_dispatching_give_the_same_numbers(rule, monkeypatch):
    risk = supervised((XS, TARGETS), losses.mse)
    results = []
    for holds in (True, False):
        monkeypatch.setattr("mbdl.training.program.holds_convolution", lambda *_, holds=holds: holds)
        monkeypatch.setattr("mbdl.training.validation.holds_convolution", lambda *_, holds=holds: holds)
        results.append(
            fit(rule, risk, optax.adam(0.01), steps=25, batch_size=7, validation=(XS[:9], TARGETS[:9]), key=KEY)
        )
    single, scanned = results
    assert (single.history.plan.scanned, scanned.history.plan.scanned) == (False, True)
    np.testing.assert_allclose(single.history.losses, scanned.history.losses, rtol=1e-5)
    np.testing.assert_allclose(single.history.validation, scanned.history.validation, rtol=1e-5)
    for a, b in zip(jax.tree.leaves(single.rule), jax.tree.leaves(scanned.rule), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("make", [lambda: affine(8), convolving], ids=["dense", "convolving"])
@pytest.mark.parametrize("batch_size", [7, 30])
def test_the_step_is_traced_once_whatever_the_epochs(make, batch_size):
    traces = []

    def loss(decision, target):
        traces.append(1)
        return losses.mse(decision, target)

    fit(
        make(),
        supervised((XS, TARGETS), loss),
        optax.sgd(0.01),
        steps=43,
        batch_size=batch_size,
        callbacks=[every(5, lambda step, metrics, rule: None)],
        key=KEY,
    )
    assert len(traces) == 1


def test_a_second_fit_of_the_same_structure_traces_nothing():
    traces = []

    def loss(decision, target):
        traces.append(1)
        return losses.mse(decision, target)

    optimiser = optax.sgd(0.01)
    for seed in range(3):
        rule = learn(affine(8, learned=False), lambda r: r.matrix)
        xs, targets = pairs(30, 8, seed=seed)
        fit(rule, supervised((xs, targets), loss), optimiser, steps=6, key=jax.random.key(seed))
    assert len(traces) == 1


def test_where_a_dispatch_ends_changes_nothing():
    risk = supervised((XS, TARGETS), losses.mse)
    optimiser = optax.adam(0.01)
    whole = fit(affine(8), risk, optimiser, steps=40, batch_size=7, key=KEY)
    steps = []
    cut = fit(
        affine(8), risk, optimiser, steps=40, batch_size=7, key=KEY, callbacks=[lambda step, *_: steps.append(step)]
    )
    assert steps == list(range(1, 41))
    assert same(whole.rule, cut.rule)
    assert np.array_equal(whole.history.losses, cut.history.losses)


def test_equal_numbers_of_different_types_do_not_share_a_program():
    assert take_apart({"a": 1, "b": jnp.ones(2)})[1] == take_apart({"a": 1, "b": jnp.zeros(3)})[1]
    assert take_apart({"a": 1})[1] != take_apart({"a": True})[1]
    assert take_apart({"a": 1})[1] != take_apart({"a": 1.0})[1]


def test_what_cannot_be_hashed_is_told():
    with pytest.raises(TypeError, match="to be hashable"):
        take_apart({"a": bytearray(b"x")})
