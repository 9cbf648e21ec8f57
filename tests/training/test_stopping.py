"""Validation, patience, callbacks, Ctrl-C and the progress bar."""

import io
import os
import signal
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from training.toys import Affine, Filter, affine, pairs, same

from mbdl.core import learn, resolve
from mbdl.training import every, fit, losses, supervised

XS, TARGETS = pairs(24)
RISK = supervised((XS, TARGETS), losses.mse)
KEY = jax.random.key(5)


def scale(value=0.0):
    return learn(Affine(jnp.full((1, 1), value), jnp.zeros(1)), lambda r: r.matrix)


def towards(target):
    """A risk whose gradient descent walks the toy's one number in equal steps towards a target far away."""
    return lambda rule, batch, key: -target * rule(jnp.ones(1))[0]


def number(rule):
    return float(resolve(rule).matrix[0, 0])


def test_validation_is_the_mean_over_all_examples_and_comes_first_and_last():
    xs, targets = XS[:20], TARGETS[:20]
    result = fit(
        affine(), RISK, optax.sgd(0.1), steps=7, batch_size=8, validation=(xs, targets), validate_every=3, key=KEY
    )
    assert result.history.validation_steps.tolist() == [0, 3, 6, 7]
    np.testing.assert_allclose(result.history.validation[0], np.mean((xs - targets) ** 2), rtol=1e-6)
    matrix = np.asarray(resolve(result.rule).matrix)
    assert result.history.best_step == 7
    np.testing.assert_allclose(result.history.validation[-1], np.mean((xs @ matrix.T - targets) ** 2), rtol=1e-5)


@pytest.mark.parametrize("examples", [5, 8, 16, 19])
def test_validation_in_batches_is_the_mean_for_any_number_of_examples(examples):
    xs, targets = pairs(examples, seed=3)

    def mean_of_decisions(rule, batch, key):
        return jnp.mean((jax.vmap(rule)(batch[0]) - batch[1]) ** 2)

    class OfTheBatch:
        data = (xs, targets)

        def __call__(self, rule, batch, key):
            return mean_of_decisions(rule, batch, key)

        __hash__ = object.__hash__

    expected = np.mean((xs - targets) ** 2)
    for validation in ((xs, targets), supervised((xs, targets), losses.mse), OfTheBatch()):
        result = fit(affine(), RISK, optax.sgd(0.0), steps=1, batch_size=8, validation=validation, key=KEY)
        np.testing.assert_allclose(result.history.validation, expected, rtol=1e-6)


def test_validation_in_batches_of_a_convolving_rule():
    xs, targets = pairs(19, 8)
    rule = learn(Filter(jnp.array([0.0, 1.0, 0.0])), lambda r: r.kernel)
    result = fit(
        rule,
        supervised((xs, targets), losses.mse),
        optax.sgd(0.0),
        steps=1,
        batch_size=8,
        validation=(xs, targets),
        key=KEY,
    )
    np.testing.assert_allclose(result.history.validation, np.mean((xs - targets) ** 2), rtol=1e-5)


def test_the_best_rule_by_validation_is_returned():
    # The number walks 0, 1, 2, …; validation wants it at 4.
    result = fit(
        scale(),
        towards(1.0),
        optax.sgd(1.0),
        steps=10,
        validation=lambda rule, batch, key: (rule(jnp.ones(1))[0] - 4.0) ** 2,
        validate_every=1,
        key=KEY,
    )
    assert number(result.rule) == 4.0
    assert result.history.best_step == 4
    assert len(result.history.steps) == 10
    without = fit(scale(), towards(1.0), optax.sgd(1.0), steps=10, key=KEY)
    assert number(without.rule) == 10.0
    assert without.history.best_step == 10


def test_training_never_returns_worse_than_the_start():
    result = fit(
        scale(),
        towards(1.0),
        optax.sgd(1.0),
        steps=3,
        validation=lambda rule, batch, key: rule(jnp.ones(1))[0],
        key=KEY,
    )
    assert result.history.best_step == 0
    assert number(result.rule) == 0.0


def test_patience_counts_validations_without_a_new_best():
    result = fit(
        scale(),
        towards(1.0),
        optax.sgd(1.0),
        steps=100,
        validation=lambda rule, batch, key: (rule(jnp.ones(1))[0] - 4.0) ** 2,
        validate_every=2,
        patience=3,
        key=KEY,
    )
    assert result.history.validation_steps.tolist() == [0, 2, 4, 6, 8, 10]
    assert len(result.history.steps) == 10
    assert number(result.rule) == 4.0
    assert result.history.reason == "3 validations in a row brought no improvement"
    assert not result.history.interrupted


def test_callbacks_get_step_metrics_and_rule_and_can_stop():
    seen, rare = [], []

    def callback(step, metrics, rule):
        seen.append((step, metrics, number(rule())))
        return step == 7

    result = fit(
        scale(),
        towards(1.0),
        optax.sgd(1.0),
        steps=100,
        validation=lambda rule, batch, key: -rule(jnp.ones(1))[0],
        validate_every=5,
        callbacks=[callback, every(3, lambda step, metrics, rule: rare.append(step))],
        key=KEY,
    )
    assert [step for step, _, _ in seen] == [1, 2, 3, 4, 5, 6, 7]
    assert [value for _, _, value in seen] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    assert [metrics["loss"] for _, metrics, _ in seen] == [-0.0, -1.0, -2.0, -3.0, -4.0, -5.0, -6.0]
    assert [step for step, metrics, _ in seen if "validation" in metrics] == [5]
    assert rare == [3, 6]
    assert result.history.reason == "a callback stopped it"
    assert len(result.history.steps) == 7


def test_a_callback_that_returns_something_else_is_an_error():
    with pytest.raises(TypeError, match="None to go on or True to stop"):
        fit(scale(), towards(1.0), steps=3, callbacks=[lambda step, metrics, rule: metrics["loss"]], key=KEY)
    with pytest.raises(ValueError, match="every wants a number of steps"):
        every(0, print)


@pytest.fixture
def ctrl_c():
    """Python's own handling of Ctrl-C, which a test run in the background of a shell does not have."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupting(at, times):
    def callback(step, metrics, rule):
        if step == at:
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)

    return callback


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_returns_the_best_so_far():
    before = signal.getsignal(signal.SIGINT)
    result = fit(scale(), towards(1.0), optax.sgd(1.0), steps=50, callbacks=[interrupting(6, 1)], key=KEY)
    assert result.history.interrupted
    assert result.history.reason == "interrupted"
    assert number(result.rule) == 6.0
    assert len(result.history.steps) == 6
    assert signal.getsignal(signal.SIGINT) is before
    best = fit(
        scale(),
        towards(1.0),
        optax.sgd(1.0),
        steps=50,
        validation=lambda rule, batch, key: (rule(jnp.ones(1))[0] - 4.0) ** 2,
        validate_every=1,
        callbacks=[interrupting(6, 1)],
        key=KEY,
    )
    assert best.history.interrupted
    assert number(best.rule) == 4.0


@pytest.mark.usefixtures("ctrl_c")
def test_a_second_ctrl_c_raises():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(scale(), towards(1.0), optax.sgd(1.0), steps=50, callbacks=[interrupting(6, 2)], key=KEY)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.usefixtures("ctrl_c")
def test_an_interrupted_run_resumes_to_the_same_result(tmp_path):
    options = {"steps": 20, "batch_size": 7, "validation": (XS, TARGETS), "validate_every": 6, "key": KEY}
    whole = fit(affine(), RISK, optax.adam(0.05), **options)
    options |= {"checkpoint": tmp_path / "run", "resume": True}
    part = fit(affine(), RISK, optax.adam(0.05), callbacks=[interrupting(6, 1)], **options)
    assert part.history.interrupted
    assert len(part.history.steps) == 6
    resumed = fit(affine(), RISK, optax.adam(0.05), **options)
    assert not resumed.history.interrupted
    assert same(resumed.rule, whole.rule)
    for name in ("steps", "losses", "gradient_norms", "validation", "validation_steps", "skipped"):
        assert np.array_equal(getattr(resumed.history, name), getattr(whole.history, name))


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_quiet_where_standard_error_is_no_terminal(capsys):
    fit(affine(), RISK, steps=5, validation=(XS, TARGETS), key=KEY)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == ""


def test_a_bar_with_loss_validation_and_remaining_time_on_a_terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "160")
    fit(affine(), RISK, steps=30, validation=(XS, TARGETS), key=KEY)
    text = terminal.getvalue()
    assert "30/30" in text
    assert "loss" in text
    assert "validation" in text
    assert "left" in text
    quiet = Terminal()
    monkeypatch.setattr(sys, "stderr", quiet)
    fit(affine(), RISK, steps=30, progress=False, key=KEY)
    assert quiet.getvalue() == ""
