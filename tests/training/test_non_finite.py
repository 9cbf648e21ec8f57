"""Steps that are not finite: skipped, counted, and in the end an error with the last good rule."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from training.toys import affine, pairs, same

from mbdl.training import AbstractExampleRisk, NonFiniteError, fit, losses, supervised

XS, TARGETS = pairs(24)
KEY = jax.random.key(4)
GOOD = (XS, TARGETS)
BAD = (np.where(np.arange(24)[:, None] == 3, np.nan, XS).astype(np.float32), TARGETS)
RISK = supervised(None, losses.mse)
ADAM = optax.adam(0.1)


def test_a_bad_step_changes_neither_parameters_nor_optimiser_state():
    with_bad = fit(affine(), RISK, ADAM, data=[GOOD, BAD, GOOD, GOOD], steps=8, non_finite_fraction=0.5, key=KEY)
    without = fit(affine(), RISK, ADAM, data=[GOOD], steps=6, key=KEY)
    assert with_bad.history.skipped.tolist() == [False, True, False, False] * 2
    assert np.isnan(with_bad.history.losses[[1, 5]]).all()
    assert same(with_bad.rule, without.rule)
    np.testing.assert_array_equal(with_bad.history.losses[~with_bad.history.skipped], without.history.losses)


def test_bad_steps_inside_a_compiled_loop():
    # One bad example in arrays: each epoch of three batches has one bad step.
    result = fit(affine(), RISK, ADAM, data=BAD, batch_size=8, steps=30, non_finite_fraction=0.5, key=KEY)
    assert result.history.plan.scanned
    assert result.history.skipped.reshape(10, 3).sum(axis=1).tolist() == [1] * 10
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result.rule))


def test_an_infinite_gradient_of_a_finite_loss_is_bad_too():
    def risk(rule, batch, key):
        return jnp.mean(jnp.sqrt(jnp.abs(rule(jnp.zeros(3)) + 0.0 * batch[0][0])))

    with pytest.raises(NonFiniteError) as caught:
        fit(affine(), risk, ADAM, data=GOOD, batch_size=24, steps=4, key=KEY)
    assert np.isfinite(caught.value.fit.history.losses).all()
    assert not np.isfinite(caught.value.fit.history.gradient_norms).any()


def test_a_step_to_infinity_is_not_taken():
    result = fit(affine(), RISK, optax.scale(float("inf")), data=[GOOD], steps=1, non_finite_fraction=1.0, key=KEY)
    assert result.history.skipped.tolist() == [True]
    assert same(result.rule, affine())


@pytest.mark.parametrize("scanned", [True, False])
def test_a_limit_in_a_row_stops_with_the_last_good_rule(scanned, monkeypatch):
    monkeypatch.setattr("mbdl.training.program.holds_convolution", lambda *_: not scanned)

    def risk(rule, batch, key):
        value = jnp.mean(rule(jnp.ones(3)) ** 2)
        # Descends, and is not finite any more once the decision is small.
        return jnp.where(value < 0.2, jnp.nan, value)

    with pytest.raises(NonFiniteError, match=r"at step \d+: .* the 4\. time in a row") as caught:
        fit(affine(), risk, optax.sgd(0.1), steps=500, non_finite_limit=4, key=KEY)
    error = caught.value
    history = error.fit.history
    assert error.step == len(history.steps)
    assert history.skipped.tolist() == [False] * (error.step - 4) + [True] * 4
    assert f"at step {error.step}" in str(error)
    good = fit(affine(), risk, optax.sgd(0.1), steps=error.step - 4, key=KEY)
    assert same(error.fit.rule, good.rule)


@pytest.mark.parametrize(
    ("limits"), [{"non_finite_limit": 5}, {"non_finite_fraction": 0.05}], ids=["in a row", "in all"]
)
def test_good_steps_after_the_limit_in_the_same_dispatch_change_nothing(limits, monkeypatch):
    def risk(rule, batch, key):
        value = jnp.mean((rule(jnp.ones(3)) - 2.0) ** 2)
        return jnp.where(jax.random.bernoulli(key, 0.5), jnp.nan, value)

    errors = []
    for scanned in (True, False):
        monkeypatch.setattr("mbdl.training.program.holds_convolution", lambda *_, scanned=scanned: not scanned)
        monkeypatch.setattr("mbdl.training.run._SECONDS_PER_DISPATCH", 1e9 if scanned else 0.0)
        options = {"non_finite_limit": 1000, "non_finite_fraction": 1.0} | limits
        with pytest.raises(NonFiniteError) as caught:
            fit(affine(), risk, ADAM, steps=400, key=KEY, **options)
        errors.append(caught.value)
    assert errors[0].step == errors[1].step > 10
    assert not errors[0].fit.history.skipped.all()
    for a, b in zip(jax.tree.leaves(errors[0].fit.rule), jax.tree.leaves(errors[1].fit.rule), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_a_gradient_whose_norm_overflows_does_not_reach_the_optimiser():
    # Adam's second moment would be infinite from then on, and every later update zero.
    def risk(rule, batch, key):
        return batch[0][0, 0] * jnp.mean(rule(jnp.ones(3)) ** 2)

    huge, ordinary = [(np.full((1, 3), scale, np.float32), TARGETS) for scale in (1e25, 1.0)]
    result = fit(affine(), risk, ADAM, data=[huge, *9 * [ordinary]], steps=10, key=KEY)
    assert result.history.skipped.tolist() == [True] + 9 * [False]
    assert same(result.rule, fit(affine(), risk, ADAM, data=[ordinary], steps=9, key=KEY).rule)


def test_a_fraction_of_the_steps_stops_too():
    data = [GOOD, GOOD, BAD]
    with pytest.raises(NonFiniteError, match="3 times in all") as caught:
        fit(affine(), RISK, ADAM, data=data, steps=20, non_finite_fraction=0.1, key=KEY)
    assert caught.value.step == 9
    result = fit(affine(), RISK, ADAM, data=data, steps=20, non_finite_fraction=0.3, key=KEY)
    assert result.history.skipped.sum() == 6


class Whimsical(AbstractExampleRisk):
    """Not finite for example 3, once the rule is good, for half of the keys."""

    data: Any

    def values(self, rule, batch, key):
        value = jnp.mean((rule(jnp.ones(3)) - 2.0) ** 2)
        return jnp.where((batch == 3) & (value < 0.2) & jax.random.bernoulli(jnp.asarray(key)), jnp.nan, value)

    def why_not_finite(self, rule, batch, key):
        return f"Example {batch[jnp.isnan(self.values(rule, batch, key))]} of {batch.size} is not finite."


@pytest.mark.parametrize("scanned", [True, False])
def test_the_risk_says_why_by_the_rule_the_batch_and_the_key_of_the_step(scanned, monkeypatch):
    monkeypatch.setattr("mbdl.training.program.holds_convolution", lambda *_: not scanned)
    with pytest.raises(NonFiniteError, match=r"is in error.fit. Example \[3\] of 8 is not finite.$") as caught:
        fit(affine(), Whimsical(jnp.arange(24)), ADAM, steps=500, batch_size=8, non_finite_limit=1, key=KEY)
    assert caught.value.step > 1


def test_a_risk_whose_batches_are_gone_is_not_asked():
    with pytest.raises(NonFiniteError, match="look for NaN in the data"):
        fit(affine(), Whimsical(None), ADAM, data=[jnp.arange(24)], steps=500, non_finite_limit=1, key=KEY)


def test_a_validation_that_is_not_finite_is_never_the_best():
    values = iter([3.0, np.nan, 2.0, np.inf])

    def validation(rule, batch, key):
        return jax.pure_callback(lambda: np.float32(next(values)), jax.ShapeDtypeStruct((), jnp.float32))

    result = fit(affine(), RISK, ADAM, data=[GOOD], validation=validation, validate_every=1, steps=3, key=KEY)
    assert result.history.best_step == 2
    np.testing.assert_array_equal(result.history.validation, [3.0, np.nan, 2.0, np.inf])


def test_a_validation_that_is_never_finite_is_an_error():
    with pytest.raises(NonFiniteError, match="validation risk was never finite") as caught:
        fit(affine(), RISK, ADAM, data=[GOOD], validation=BAD, steps=3, key=KEY)
    assert same(caught.value.fit.rule, fit(affine(), RISK, ADAM, data=[GOOD], steps=3, key=KEY).rule)
