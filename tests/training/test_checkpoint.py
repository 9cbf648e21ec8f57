"""Checkpoints: exact resuming, after a kill at any moment, and refusal of what is another run's."""

import functools
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from training.killed import MOMENTS, killed_run
from training.toys import Affine, Shrinking, affine, pairs, same

from mbdl.core import learn
from mbdl.training import fit, losses, supervised
from mbdl.training.checkpoint import Checkpoint

XS, TARGETS = pairs()
RISK = supervised((XS, TARGETS), losses.mse)
KEY = jax.random.key(9)
ADAM = optax.adam(0.05)


def stop_at(step):
    return lambda here, metrics, rule: here == step


def equal(a, b):
    """The same rules and the same histories, times apart."""
    names = ("steps", "losses", "gradient_norms", "skipped", "validation", "validation_steps", "best_step", "reason")
    return same(a.rule, b.rule) and all(
        np.array_equal(getattr(a.history, name), getattr(b.history, name), equal_nan=name in ("losses", "validation"))
        for name in names
    )


class Stopped(Exception):
    pass


def crashing_at(step):
    def callback(here, metrics, rule):
        if here == step:
            raise Stopped

    return callback


def crash_and_resume(folder, call, at):
    """Runs `call` until it crashes, then again from its last checkpoint."""
    with pytest.raises(Stopped):
        call(checkpoint=folder, callbacks=[crashing_at(at)])
    return call(checkpoint=folder, resume=True)


@pytest.mark.parametrize("at", [1, 6, 13])
def test_resuming_from_arrays_is_exact(tmp_path, at):
    call = functools.partial(
        fit,
        affine(),
        RISK,
        ADAM,
        steps=20,
        batch_size=7,
        validation=(XS[:9], TARGETS[:9]),
        validate_every=4,
        key=KEY,
    )
    assert equal(crash_and_resume(tmp_path / "run", functools.partial(call, checkpoint_every=3), at), call())


@pytest.mark.parametrize("kind", ["list", "function", "generator"])
def test_resuming_from_an_iterable_is_exact(tmp_path, kind):
    batches = [(XS[i : i + 5], TARGETS[i : i + 5]) for i in (0, 5, 10, 15)]

    def call(**options):
        data = {
            "list": batches,
            "function": lambda epoch: batches[epoch % 2 :],
            "generator": (batches[k * k % 4] for k in range(100)),
        }[kind]
        return fit(
            affine(), supervised(None, losses.mse), ADAM, data=data, steps=17, checkpoint_every=2, key=KEY, **options
        )

    whole = call(checkpoint=tmp_path / "whole")
    assert equal(crash_and_resume(tmp_path / "run", call, 12), whole)


def test_resuming_keeps_patience_and_counts_of_bad_steps(tmp_path):
    def risk(rule, batch, key):
        value = jnp.mean((rule(jnp.ones(3)) - jax.random.normal(key, (3,))) ** 2)
        return jnp.where(jax.random.uniform(key) < 0.2, jnp.nan, value)

    def validation(rule, batch, key):
        return jnp.abs(rule(jnp.ones(3))[0] - 0.9)

    call = functools.partial(
        fit, affine(), risk, ADAM, steps=60, validation=validation, validate_every=1, patience=12, key=KEY,
        non_finite_fraction=0.5,
    )  # fmt: skip
    whole = call()
    assert whole.history.skipped.any()
    assert "no improvement" in whole.history.reason
    stop = len(whole.history.steps) - 4
    assert equal(crash_and_resume(tmp_path / "run", functools.partial(call, checkpoint_every=1), stop), whole)


def test_a_finished_run_resumes_to_its_result_without_a_step(tmp_path):
    call = functools.partial(fit, affine(), RISK, ADAM, steps=5, key=KEY, checkpoint=tmp_path / "run")
    first = call()
    steps = []
    again = call(resume=True, callbacks=[lambda step, *_: steps.append(step)])
    assert equal(first, again)
    assert steps == []


def test_resume_starts_where_there_is_nothing(tmp_path):
    call = functools.partial(fit, affine(), RISK, ADAM, steps=5, key=KEY)
    assert equal(call(checkpoint=tmp_path / "new" / "run", resume=True), call())


@pytest.mark.usefixtures("x64")
def test_every_kind_of_array_survives(tmp_path):
    def noisy(learned):
        return {
            "key": jax.random.key(3),
            "half": jnp.ones(2, jnp.bfloat16),
            "count": jnp.int64(0),
            "z": jnp.ones(2, complex),
        }

    def update(gradient, state, learned=None):
        key, draw = jax.random.split(state["key"])
        state = {
            "key": key,
            "half": state["half"] * jnp.bfloat16(0.7),
            "count": state["count"] + 1,
            "z": state["z"] * (0.9 + 0.1j),
        }
        noise = jax.random.normal(draw) * jnp.abs(state["z"][0]) * state["half"][0].astype(float)
        return jax.tree.map(lambda g: (-0.1 * g + 0.01 * noise).astype(g.dtype), gradient), state

    call = functools.partial(
        fit, affine(), RISK, optax.GradientTransformation(noisy, update), steps=9, checkpoint_every=1, key=KEY
    )
    assert equal(crash_and_resume(tmp_path / "run", call, 5), call())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_kill_at_any_moment_leaves_a_checkpoint_from_which_the_result_is_the_same(tmp_path):
    path = [str(Path(__file__).parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path)}
    command = [sys.executable, "-W", "ignore", "-m", "training.killed", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [f"{moment}:{int(signal.SIGKILL)}" for moment in MOMENTS], done.stderr
    whole = killed_run()
    saved = {}
    for moment in MOMENTS:
        stored = Checkpoint(tmp_path / moment, None).read(resume=True)
        saved[moment] = None if stored is None else stored.done
        assert equal(killed_run(checkpoint=tmp_path / moment, resume=True), whole), moment
    assert saved == {
        "within-the-write": 12,
        "before-the-rename": 12,
        "after-the-rename": 14,
        "within-a-step": 14,
        "before-the-first": None,
    }


def base(**changes):
    options = {"rule": affine(), "risk": RISK, "optimiser": ADAM, "steps": 6, "batch_size": 7, "key": KEY} | changes
    return functools.partial(fit, options.pop("rule"), options.pop("risk"), options.pop("optimiser"), **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint") / "run"
    base()(checkpoint=folder)
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 7}, "steps: 6 there, 7 here"),
        ({"batch_size": 8}, "batch_size: 7 there, 8 here"),
        ({"key": jax.random.key(10)}, "key: "),
        ({"validation": (XS, TARGETS)}, "validation data: nothing there"),
        ({"rule": learn(Affine(jnp.eye(3), jnp.zeros(3)), lambda r: (r.matrix, r.offset))}, "learned arrays: "),
        ({"rule": learn(Affine(2 * jnp.eye(3), jnp.zeros(3)), lambda r: r.matrix)}, "learned values at the start: "),
        ({"rule": learn(Affine(jnp.eye(3), jnp.ones(3)), lambda r: r.matrix)}, "known values: "),
        ({"rule": learn(Shrinking(0.1, iterations=3), lambda r: r.step_size)}, "learned arrays: "),
        ({"risk": supervised((XS, TARGETS + 1), losses.mse)}, "training data: "),
        ({"risk": supervised((XS, TARGETS), losses.mae)}, "computation: "),
        ({"optimiser": optax.adam(0.06)}, "computation: "),
        ({"optimiser": optax.sgd(0.05)}, "optimiser state: "),
        ({"clip": 1.0}, "computation: "),
        ({"non_finite_limit": 3}, "non_finite_limit: 10 there, 3 here"),
    ],
    ids=lambda value: "".join(value) if isinstance(value, dict) else "",
)
def test_another_run_is_refused_and_told_apart(folder, changes, message):
    before = (folder / "fit.safetensors").read_bytes()
    with pytest.raises(ValueError, match="its run is not this one") as caught:
        base(**changes)(checkpoint=folder, resume=True)
    assert f"  {message}" in str(caught.value)
    assert (folder / "fit.safetensors").read_bytes() == before


def test_the_same_call_written_again_is_the_same_run(folder):
    optimiser = optax.adam(0.05)
    assert optimiser is not ADAM
    again = base(optimiser=optimiser, risk=supervised((XS.copy(), TARGETS.copy()), losses.mse))
    assert len(again(checkpoint=folder, resume=True).history.steps) == 6


def test_arrays_that_a_risk_closes_over_are_part_of_the_run(tmp_path):
    def call(weight, **options):
        def risk(rule, batch, key):
            return jnp.mean(weight * rule(jnp.ones(3)) ** 2)

        return fit(affine(), risk, ADAM, steps=3, key=KEY, checkpoint=tmp_path / "run", **options)

    weight = jnp.arange(3.0)
    call(weight)
    with pytest.raises(ValueError, match="  computation: "):
        call(weight + 1, resume=True)
    assert len(call(weight + 0, resume=True).history.steps) == 3


def test_a_run_is_not_overwritten_by_mistake(folder):
    with pytest.raises(ValueError, match="pass resume=True"):
        base()(checkpoint=folder)


def test_a_folder_with_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("important")
    with pytest.raises(ValueError, match=r"holds something else \(thesis.tex"):
        base()(checkpoint=tmp_path, resume=True)
    with pytest.raises(ValueError, match="is a file"):
        base()(checkpoint=tmp_path / "thesis.tex")
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("damage", ["truncated", "foreign", "newer"])
def test_a_damaged_foreign_or_newer_file_gets_a_clear_error(tmp_path, folder, damage):
    content = (folder / "fit.safetensors").read_bytes()
    content = {
        "truncated": content[:-20],
        "foreign": b"PK\x03\x04 something else entirely",
        "newer": content.replace(b'{\\"format\\": 1,', b'{\\"format\\": 7,'),
    }[damage]
    (tmp_path / "fit.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="reads format 1" if damage == "newer" else "no checkpoint of mbdl.fit"):
        base()(checkpoint=tmp_path, resume=True)


def test_too_many_bad_steps_leave_the_last_checkpoint(tmp_path):
    from mbdl.training import NonFiniteError

    def risk(rule, batch, key):
        value = jnp.mean(rule(jnp.ones(3)) ** 2)
        return jnp.where(value < 0.5, jnp.nan, value)

    call = functools.partial(fit, affine(), risk, optax.sgd(0.1), steps=100, non_finite_limit=3, key=KEY)
    with pytest.raises(NonFiniteError) as caught:
        call(checkpoint=tmp_path / "run", checkpoint_every=2)
    stored = Checkpoint(tmp_path / "run", None).read(resume=True)
    assert stored is not None
    assert caught.value.step - 3 <= stored.done + 2
    with pytest.raises(NonFiniteError) as again:
        call(checkpoint=tmp_path / "run", resume=True)
    assert again.value.step == caught.value.step
    assert same(again.value.fit.rule, caught.value.fit.rule)
