"""Online adaptation against loops written out."""

import math
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from training.toys import same

import mbdl
from mbdl import core, training
from mbdl.training import Block, drift, losses, online

KEY = jax.random.key(2)
RISK = training.supervised(None, losses.mse)
NEVER = drift.PageHinkley(threshold=math.inf)


class Average(mbdl.RecursiveRule):
    forgetting: jax.Array

    def init(self):
        return jnp.zeros(())

    def step(self, memory, x):
        memory = self.forgetting * memory + (1 - self.forgetting) * x
        return memory, memory


class Scale(mbdl.DecisionRule):
    factor: jax.Array

    def decide(self, x):
        return self.factor * x


def average(forgetting=0.9):
    return mbdl.learn(Average(forgetting), lambda r: r.forgetting)


def scale(factor=1.0):
    return mbdl.learn(Scale(factor), lambda r: r.factor)


def factor(rule):
    return float(core.resolve(rule).factor)


def drifting(blocks=30, change=20, noise=0.3):
    """A channel s = x / gain whose gain changes, with noise, in blocks of 40."""
    x_key, noise_key = jax.random.split(jax.random.key(7))
    targets = jax.random.normal(x_key, (blocks, 40))
    gains = jnp.where(jnp.arange(blocks) < change, 1.0, 0.5)[:, None]
    return gains * targets + noise * gains * jax.random.normal(noise_key, targets.shape), targets


def test_the_memory_is_carried_from_block_to_block():
    xs = jax.random.normal(KEY, (24,))
    course = online(average(), [Block(x, x) for x in xs.reshape(4, 6)], RISK, steps=5, key=KEY, detector=NEVER)
    np.testing.assert_allclose(np.concatenate(course.decisions), average()(xs), rtol=1e-6)
    np.testing.assert_allclose(course.memory, average()(xs)[-1], rtol=1e-6)
    assert not course.alarms.any()
    assert not course.retrained.any()
    assert not course.interrupted
    again = online(average(), [xs[:6]], RISK, steps=1, key=KEY, memory=course.memory, label=lambda x, s: None)
    np.testing.assert_allclose(again.decisions[0], average()(jnp.concatenate([xs, xs[:6]]))[24:], rtol=1e-6)


@pytest.mark.parametrize("risk", [RISK, training.truncated(None, losses.mse, window=6)], ids=["whole", "truncated"])
@pytest.mark.parametrize("keep", [1, 3])
def test_training_begins_at_the_memory_of_each_kept_block(risk, keep, x64):
    xs = jax.random.normal(KEY, (4, 6))
    targets = jax.vmap(Average(0.3))(xs)
    course = online(average(), list(map(Block, xs, targets)), risk, optax.sgd(0.5), steps=2, key=KEY, keep=keep)
    forgetting, memory, kept = 0.9, 0.0, []

    def loss(forgetting, kept):
        total = 0.0
        for x, target, memory in kept:
            for t in range(len(x)):
                memory = forgetting * memory + (1 - forgetting) * x[t]
                total += (memory - target[t]) ** 2 / (len(x) * len(kept))
        return total

    for x, target, decision, score in zip(xs, targets, course.decisions, course.scores, strict=True):
        kept = [*kept, (x, target, memory)][-keep:]
        np.testing.assert_allclose(score, loss(forgetting, kept[-1:]), rtol=1e-10)
        for t in range(len(x)):
            memory = forgetting * memory + (1 - forgetting) * x[t]
        np.testing.assert_allclose(decision[-1], memory, rtol=1e-10)
        for _ in range(2):
            forgetting -= 0.5 * jax.grad(loss)(forgetting, kept)
    assert course.retrained.all()
    np.testing.assert_allclose(core.resolve(course.rule).forgetting, forgetting, rtol=1e-10)


def test_an_alarm_and_nothing_else_retrains_and_the_error_falls_again():
    blocks = list(map(Block, *drifting()))
    options = {"steps": 100, "key": KEY}
    adapted = online(scale(), blocks, RISK, optax.adam(0.05), detector=drift.PageHinkley(), **options)
    fixed = online(scale(), blocks, RISK, optax.adam(0.05), detector=NEVER, **options)
    assert adapted.alarms[20]
    assert adapted.alarms.sum() == 1
    np.testing.assert_array_equal(adapted.retrained, adapted.alarms)
    np.testing.assert_array_equal(adapted.scores[:21], fixed.scores[:21])
    gain = fixed.scores[21:] - adapted.scores[21:]
    assert np.mean(gain) > 3 * np.std(gain) / math.sqrt(len(gain))
    assert abs(factor(adapted.rule) - 2 / 1.09) < 0.15  # the least-squares factor at a noise of 0.3


def test_decisions_label_blocks_that_are_accepted():
    symbol_key, noise_key = jax.random.split(KEY)
    symbols = jax.random.rademacher(symbol_key, (30, 40), float)
    gains = jnp.where(jnp.arange(30) < 20, 1.0, 0.5)[:, None]
    received = gains * symbols + 0.05 * jax.random.normal(noise_key, symbols.shape)
    rejected = {3, 20, 21}
    seen = []

    def label(x, decision):
        seen.append(len(seen))
        return None if seen[-1] in rejected else (x, jnp.sign(decision))

    course = online(
        scale(),
        received,
        RISK,
        optax.adam(0.05),
        steps=100,
        key=KEY,
        label=label,
        score=lambda x, decision: jnp.mean((jnp.abs(decision) - 1) ** 2),
        detector=drift.PageHinkley(),
    )
    assert set(np.flatnonzero(~course.accepted).tolist()) == rejected
    assert np.flatnonzero(course.alarms)[0] == 20
    assert np.flatnonzero(course.retrained)[0] == 22  # it waits for a block that may be trained on
    assert np.isfinite(course.scores).all()
    assert abs(factor(course.rule) - 2.0) < 0.05
    unscored = online(
        scale(), received[:3], RISK, steps=1, key=KEY, label=lambda x, s: None, detector=drift.PageHinkley()
    )
    assert np.isnan(unscored.scores).all()
    assert unscored.finite.all()
    assert not unscored.alarms.any()


def test_a_risk_without_targets_needs_no_label():
    risk = training.unsupervised(None, lambda s, x: jnp.mean((s - 3 * x) ** 2))
    course = online(scale(), jnp.ones((6, 4)), risk, optax.sgd(0.3), steps=10, key=KEY)
    assert course.retrained.all()
    np.testing.assert_allclose(factor(course.rule), 3.0, rtol=1e-5)


def test_blocks_after_the_first_ones_compile_and_trace_nothing():
    traces = []

    def loss(decision, target):
        traces.append(1)
        return losses.mse(decision, target)

    compiled, counts = [], []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **_: compiled.append(event) if "backend_compile" in event else None
    )

    def blocks():
        for x in jax.random.normal(KEY, (8, 6)):
            counts.append((len(compiled), len(traces)))
            yield Block(x, 0.5 * x)

    try:
        risk = training.supervised(None, loss)
        course = online(average(), blocks(), risk, steps=3, key=KEY, keep=3, detector=None)
    finally:
        jax.monitoring.clear_event_listeners()
    assert course.retrained.all()
    # By the third block all sizes of the window have been met: stacking them is the one thing that depends on it.
    assert counts[1][1] == counts[-1][1] > 0
    assert counts[3][0] == counts[-1][0] > 0


def test_what_is_not_finite_does_no_lasting_harm():
    xs = jax.random.normal(KEY, (5, 6))
    blocks = [Block(x, 0.5 * x) for x in xs]
    bad = [blocks[0], Block(xs[1].at[2].set(jnp.nan), xs[1]), Block(xs[2], xs[2] * jnp.nan), *blocks[3:]]
    course = online(average(), bad, RISK, optax.sgd(0.1), steps=2, key=KEY, detector=NEVER)
    assert course.finite.tolist() == [True, False, False, True, True]
    assert course.alarms.tolist() == [False, True, True, False, False]
    assert course.accepted.tolist() == [True, False, False, True, True]
    assert course.retrained.tolist() == [False, False, False, True, False]
    np.testing.assert_allclose(course.decisions[2], average()(xs[2]), rtol=1e-6)  # a fresh memory
    failing = online(average(), blocks[:2], RISK, optax.sgd(1e38), steps=4, key=KEY, non_finite_limit=1)
    assert failing.failed.all()
    assert not failing.retrained.any()
    assert same(failing.rule, average())


@pytest.fixture
def ctrl_c():
    """Python's own handling of Ctrl-C, which a test run in the background of a shell does not have."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("at", [2, 4])  # within a training, and with its last step
def test_ctrl_c_returns_what_there_is(at):
    def callback(step, metrics, rule):
        if step == at:
            os.kill(os.getpid(), signal.SIGINT)

    blocks = list(map(Block, *drifting(5)))
    course = online(scale(), blocks, RISK, optax.sgd(0.01), steps=4, key=KEY, callbacks=[callback])
    assert course.interrupted
    assert len(course.decisions) == len(course.scores) == 1
    assert factor(course.rule) != 1.0


def test_what_is_given_wrong_is_an_error():
    blocks = [Block(jnp.ones(4), jnp.ones(4)), Block(jnp.ones(5), jnp.ones(5))]
    with pytest.raises(ValueError, match="expected to keep at least one block"):
        online(scale(), blocks, RISK, steps=1, key=KEY, keep=0)
    with pytest.raises(ValueError, match=r"equal shapes, but one has \(\(5,\), \(5,\)\)"):
        online(scale(), blocks, RISK, steps=1, key=KEY, keep=2)
    with pytest.raises(TypeError, match="no checkpoint of all"):
        online(scale(), blocks, RISK, steps=1, key=KEY, checkpoint="folder")
    assert len(online(scale(), blocks, RISK, steps=1, key=KEY).decisions) == 2
    assert online(scale(), [], RISK, steps=1, key=KEY).scores.shape == (0,)
