"""A curriculum over length is one fit after another."""

import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from training.toys import same

import mbdl
from mbdl.training import NonFiniteError, curriculum, fit, losses, supervised

KEY = jax.random.key(3)
LENGTHS, STEPS = [2, 5, 8], [3, 4, 6]


class Average(mbdl.RecursiveRule):
    forgetting: jax.Array

    def init(self):
        return jnp.zeros(())

    def step(self, memory, x):
        memory = self.forgetting * memory + (1 - self.forgetting) * x
        return memory, memory


def rule(forgetting=0.9):
    return mbdl.learn(Average(forgetting), lambda r: r.forgetting)


XS = jax.random.normal(jax.random.key(0), (6, 8))
DATA = (XS, jax.vmap(Average(0.4))(XS))
RISK = supervised(DATA, losses.mse)


def one_by_one(optimisers, **options):
    trained, fits = rule(), []
    for i, (length, steps) in enumerate(zip(LENGTHS, STEPS, strict=True)):
        data = jax.tree.map(lambda leaf, length=length: leaf[:, :length], DATA)
        risk, key = supervised(data, losses.mse), jax.random.fold_in(KEY, i)
        fits.append(fit(trained, risk, optimisers[i], steps=steps, key=key, **options))
        trained = fits[-1].rule
    return fits


def test_it_is_one_fit_a_length():
    optimisers = [optax.adam(0.1), optax.adam(0.05), optax.adam(0.02)]
    fits = one_by_one(optimisers, batch_size=4)
    trained, history = curriculum(rule(), RISK, optimisers, lengths=LENGTHS, steps=STEPS, key=KEY, batch_size=4)
    assert same(trained, fits[-1].rule)
    assert history.steps.tolist() == list(range(1, 14))
    np.testing.assert_array_equal(history.losses, np.concatenate([f.history.losses for f in fits]))
    assert history.best_step == 13
    assert not history.interrupted


def test_the_best_rule_of_all_stages_is_returned_with_its_step():
    optimisers = [optax.sgd(0.3), optax.sgd(-0.1), optax.sgd(-0.1)]  # downhill, and uphill afterwards
    fits = one_by_one(optimisers, validation=DATA, validate_every=2)
    trained, history = curriculum(
        rule(), RISK, optimisers, lengths=LENGTHS, steps=STEPS, key=KEY, validation=DATA, validate_every=2
    )
    assert same(trained, fits[-1].rule)
    assert history.validation_steps.tolist() == [0, 2, 3, 5, 7, 9, 11, 13]
    np.testing.assert_allclose(RISK(trained), np.min(history.validation), rtol=1e-6)
    assert history.best_step == 3


def test_data_may_be_given_apart_and_steps_be_the_same_for_all():
    a = curriculum(rule(), RISK, lengths=[3, 8], steps=4, key=KEY).rule
    b = curriculum(rule(), supervised(None, losses.mse), lengths=[3, 8], steps=[4, 4], key=KEY, data=DATA).rule
    assert same(a, b)


@pytest.fixture
def ctrl_c():
    """Python's own handling of Ctrl-C, which a test run in the background of a shell does not have."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupting(at, counted):
    """A callback that sends Ctrl-C after so many steps of all stages together."""

    def callback(step, metrics, rule):
        counted.append(step)
        if len(counted) == at:
            os.kill(os.getpid(), signal.SIGINT)

    return callback


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("at", [5, 3])  # within a stage, and with the last step of one
def test_an_interrupted_curriculum_resumes_exactly(at, tmp_path):
    optimiser = optax.adam(0.1)
    options = {"lengths": LENGTHS, "steps": STEPS, "key": KEY, "batch_size": 2}
    whole = curriculum(rule(), RISK, optimiser, **options)
    part = curriculum(rule(), RISK, optimiser, **options, checkpoint=tmp_path / "run", callbacks=[interrupting(at, [])])
    assert part.history.interrupted
    assert part.history.reason == "interrupted"
    assert len(part.history.steps) == at
    with pytest.raises(ValueError, match="pass resume=True"):
        curriculum(rule(), RISK, optimiser, **options, checkpoint=tmp_path / "run")
    resumed = curriculum(rule(), RISK, optimiser, **options, checkpoint=tmp_path / "run", resume=True)
    assert same(resumed.rule, whole.rule)
    np.testing.assert_array_equal(resumed.history.losses, whole.history.losses)
    assert not resumed.history.interrupted


def test_a_stage_that_is_not_finite_says_which_and_keeps_what_was_good():
    targets = DATA[1].at[:, 6].set(jnp.nan)  # only the last stage sees it
    risk = supervised((XS, targets), losses.mse)
    with pytest.raises(NonFiniteError, match="stage 3 of 3, of length 8: .* not finite") as caught:
        curriculum(rule(), risk, optax.sgd(0.1), lengths=LENGTHS, steps=STEPS, key=KEY, non_finite_limit=2)
    assert caught.value.step == len(caught.value.fit.history.steps)
    assert caught.value.fit.history.skipped.tolist() == [False] * 7 + [True] * (caught.value.step - 7)
    assert same(caught.value.fit.rule, one_by_one([optax.sgd(0.1)] * 3)[1].rule)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lengths": [5, 5]}, "lengths that grow"),
        ({"lengths": [0, 5]}, "lengths that grow"),
        ({"lengths": []}, "lengths that grow"),
        ({"lengths": [2.0, 5.0]}, "lengths that grow"),
        ({"lengths": [2, 9]}, "at most the 8 steps"),
        ({"steps": [1, 2, 3]}, "got 3 steps for 2 lengths"),
        ({"optimiser": [optax.sgd(0.1)]}, "got 1 optimisers for 2 lengths"),
        ({"data": [DATA]}, "expected data that are arrays"),
        ({"data": (XS, XS[:, 0])}, r"share the axes \[example time"),
    ],
)
def test_what_is_given_wrong_is_an_error(changes, message):
    arguments = {"optimiser": optax.sgd(0.1), "lengths": [2, 5], "steps": 1, "key": KEY} | changes
    with pytest.raises(ValueError, match=message):
        curriculum(rule(), RISK, **arguments)
