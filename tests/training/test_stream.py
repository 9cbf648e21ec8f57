"""Batches from iterables: the same as from arrays, one ahead, and what happens at their end."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from training.toys import affine, pairs, same

from mbdl.training import fit, losses, supervised
from mbdl.training.batches import Stream, order_of_epoch, seed_of

XS, TARGETS = pairs(24)
KEY = jax.random.key(2)
RISK = supervised(None, losses.mse)
SGD = optax.sgd(0.1)


def hand_made_batches(steps):
    order_key = jax.random.split(KEY, 3)[1]
    for k in range(steps):
        order = order_of_epoch(seed_of(order_key), k // 3, 24)
        chosen = order[8 * (k % 3) : 8 * (k % 3) + 8]
        yield XS[chosen], TARGETS[chosen]


def test_a_generator_of_the_same_batches_gives_what_arrays_give():
    arrays = fit(affine(), RISK, SGD, data=(XS, TARGETS), batch_size=8, steps=10, key=KEY)
    stream = fit(affine(), RISK, SGD, data=hand_made_batches(10), steps=10, key=KEY)
    assert stream.history.plan.steps_per_dispatch == 1
    np.testing.assert_allclose(stream.history.losses, arrays.history.losses, rtol=1e-5)
    for a, b in zip(jax.tree.leaves(stream.rule), jax.tree.leaves(arrays.rule), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_a_list_a_loader_and_a_function_of_the_epoch_agree():
    batches = [(XS[i : i + 8], TARGETS[i : i + 8]) for i in (0, 8, 16)]

    class Loader:
        def __iter__(self):
            return ([x, s] for x, s in batches)

    epochs = []

    def of_epoch(epoch):
        epochs.append(epoch)
        return batches

    as_list = fit(affine(), RISK, SGD, data=batches, steps=7, key=KEY)
    assert same(as_list.rule, fit(affine(), RISK, SGD, data=Loader(), steps=7, key=KEY).rule)
    assert same(as_list.rule, fit(affine(), RISK, SGD, data=of_epoch, steps=7, key=KEY).rule)
    assert epochs == [0, 1, 2]
    assert same(as_list.rule, fit(affine(), supervised(batches, losses.mse), SGD, steps=7, key=KEY).rule)


def test_a_buffer_that_is_used_again_does_no_harm():
    def aligned(shape):
        # JAX on CPU shares the memory of a host array only where it is aligned like its own.
        memory = np.empty(4 * math.prod(shape) + 64, np.uint8)
        start = -memory.ctypes.data % 64
        return memory[start : start + 4 * math.prod(shape)].view(np.float32).reshape(shape)

    def reusing():
        xs, targets = aligned((8, 3)), aligned((8, 3))
        for x, s in hand_made_batches(10):
            xs[:], targets[:] = x, s
            yield xs, targets

    fresh = fit(affine(), RISK, SGD, data=hand_made_batches(10), steps=10, key=KEY)
    assert same(fresh.rule, fit(affine(), RISK, SGD, data=reusing(), steps=10, key=KEY).rule)


def test_no_batch_is_drawn_beyond_the_last_step():
    drawn = []

    def endless():
        while True:
            drawn.append(1)
            yield XS, TARGETS

    fit(affine(), RISK, SGD, data=endless(), steps=5, key=KEY)
    assert len(drawn) == 5


def test_a_generator_that_ends_too_early_ends_the_run_with_a_warning():
    with pytest.warns(UserWarning, match="the batches ended after 4 of 9 steps"):
        result = fit(affine(), RISK, SGD, data=hand_made_batches(4), steps=9, key=KEY)
    assert result.history.steps.tolist() == [1, 2, 3, 4]
    assert "ended" in result.history.reason
    assert same(result.rule, fit(affine(), RISK, SGD, data=hand_made_batches(4), steps=4, key=KEY).rule)


def test_an_empty_list_ends_at_once():
    with pytest.warns(UserWarning, match="after 0 of 3 steps"):
        fit(affine(), RISK, SGD, data=[], steps=3, key=KEY)


def test_validation_may_be_a_list_of_batches():
    batches = [(XS[:10], TARGETS[:10]), (XS[10:], TARGETS[10:])]
    listed = fit(affine(), RISK, SGD, data=[(XS, TARGETS)], validation=batches, steps=4, key=KEY)
    arrays = fit(affine(), RISK, SGD, data=[(XS, TARGETS)], validation=(XS, TARGETS), steps=4, key=KEY)
    np.testing.assert_allclose(listed.history.validation, arrays.history.validation, rtol=1e-6)


@pytest.mark.parametrize("kind", ["list", "function", "generator"])
def test_a_skipped_stream_goes_on_where_the_other_was(kind):
    numbers = [[np.float32(10 * epoch + i) for i in range(3)] for epoch in range(4)]

    def make():
        return {
            "list": numbers[0],
            "function": lambda epoch: numbers[epoch],
            "generator": itertools.chain.from_iterable(numbers),
        }[kind]

    stream = Stream(make())
    values = [float(stream.take()) for _ in range(5)]
    used = stream.used
    resumed = Stream(make())
    resumed.skip(5, used)
    assert resumed.used == used
    rest = [float(stream.take()) for _ in range(4)]
    assert [float(resumed.take()) for _ in range(4)] == rest
    assert resumed.used == stream.used
    expected = list(itertools.chain.from_iterable(numbers)) if kind != "list" else 4 * numbers[0]
    assert values + rest == [float(value) for value in expected[:9]]


def test_a_batch_may_be_any_tree():
    def risk(rule, batch, key):
        return jnp.mean((jax.vmap(rule)(batch["x"]) - batch["s"]) ** 2)

    result = fit(affine(), risk, SGD, data=[{"x": XS, "s": TARGETS}], steps=2, key=KEY)
    assert np.isfinite(result.history.losses).all()
