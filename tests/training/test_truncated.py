"""Truncated backpropagation against the whole gradient, and against one truncated by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from training.toys import affine

import mbdl
from mbdl import core, training


class Recurrence(mbdl.RecursiveRule):
    """m = tanh(matrix m + x) from a first memory, with a count that has no gradient."""

    matrix: jax.Array
    first: jax.Array

    def init(self):
        return self.first, jnp.zeros((), jnp.int32)

    def step(self, memory, x):
        state, count = memory
        state = jnp.tanh(self.matrix @ state + x)
        return (state, count + 1), state


STEPS, SIZE = 11, 2


def rule():
    made = Recurrence(jnp.array([[0.6, 0.3], [-0.4, 0.7]]), jnp.array([0.2, -0.1]))
    return mbdl.learn(made, lambda r: (r.matrix, r.first))


def sequences(examples=3, steps=STEPS):
    x_key, target_key = jax.random.split(jax.random.key(0))
    return jax.random.normal(x_key, (examples, steps, SIZE)), jax.random.normal(target_key, (examples, steps, SIZE))


def gradient(risk, rule):
    learned, rest = core.partition(rule)
    value, slope = jax.value_and_grad(lambda learned: risk(core.combine(learned, rest)))(learned)
    return value, (slope.matrix.raw, slope.first.raw)


def truncated_by_hand(window, xs, targets):
    """The gradient written out: the derivative of each state by the parameters, forgotten where a window begins."""
    matrix, first = (np.asarray(leaf, float) for leaf in (core.resolve(rule()).matrix, core.resolve(rule()).first))
    slope = np.zeros(SIZE * SIZE + SIZE)
    for x, target in zip(np.asarray(xs, float), np.asarray(targets, float), strict=True):
        state, tangent = first, np.concatenate([np.zeros((SIZE, SIZE * SIZE)), np.eye(SIZE)], axis=1)
        for t in range(STEPS):
            if t and t % window == 0:
                tangent = np.zeros_like(tangent)
            by_matrix = np.concatenate([np.kron(np.eye(SIZE), state[None]), np.zeros((SIZE, SIZE))], axis=1)
            state, inner = np.tanh(matrix @ state + x[t]), matrix @ tangent + by_matrix
            tangent = (1 - state**2)[:, None] * inner
            slope += 2 * (state - target[t]) @ tangent / (SIZE * STEPS * len(xs))
    return slope[: SIZE * SIZE].reshape(SIZE, SIZE), slope[SIZE * SIZE :]


@pytest.mark.parametrize("window", [1, 4, STEPS - 1])
def test_the_value_is_that_of_supervised_and_the_gradient_is_truncated(window, x64):
    data = sequences()
    value, slope = gradient(training.truncated(data, mbdl.losses.mse, window=window), rule())
    whole, whole_slope = gradient(mbdl.supervised(data, mbdl.losses.mse), rule())
    np.testing.assert_allclose(value, whole, rtol=1e-13)
    for ours, by_hand, full in zip(slope, truncated_by_hand(window, *data), whole_slope, strict=True):
        np.testing.assert_allclose(ours, by_hand, rtol=1e-11)
        assert not np.allclose(ours, full, rtol=1e-3)


@pytest.mark.parametrize("window", [STEPS, 10 * STEPS])
def test_a_window_of_the_whole_sequence_truncates_nothing(window, x64):
    data = sequences()
    ours = gradient(training.truncated(data, mbdl.losses.mse, window=window), rule())
    full = gradient(mbdl.supervised(data, mbdl.losses.mse), rule())
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(full), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_rematerialising_changes_no_gradient(x64):
    data = sequences()
    for a, b in zip(
        *(
            jax.tree.leaves(gradient(training.truncated(data, mbdl.losses.mse, window=4, rematerialise=flag), rule()))
            for flag in (True, False)
        ),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def temporary_bytes(steps, width=32, **options):
    """What the compiled gradient of 8 sequences needs beside its arguments and results, for a memory of some width."""
    wide = mbdl.learn(Recurrence(0.1 * jnp.eye(width), jnp.zeros(width)), lambda r: (r.matrix, r.first))
    learned, rest = core.partition(wide)

    @jax.jit
    def slope(learned, data):
        risk = training.truncated(data, lambda state, target: jnp.mean((state - target) ** 2), window=options["window"])
        risk = dataclasses.replace(risk, **options)
        return jax.grad(lambda learned: risk(core.combine(learned, rest)))(learned)

    data = (jnp.zeros((8, steps, 1)), jnp.zeros((8, steps, 1)))
    return slope.lower(learned, data).compile().memory_analysis().temp_size_in_bytes


def test_the_memory_of_a_long_sequence_is_that_of_one_window():
    steps, window, width = 3000, 50, 32
    # The chain rule needs the state of every step at least; a risk that keeps those of one window needs it 60 times
    # less, beside a few copies of the data (one number a step, where a state is 32) and a state for each window.
    states = 8 * steps * width * 4
    assert temporary_bytes(steps, window=window) < states / 4
    assert temporary_bytes(steps, window=window, rematerialise=False) > states
    assert temporary_bytes(steps, window=steps) > states


def test_a_long_sequence_trains():
    xs, _ = sequences(2, 3000)
    truth = Recurrence(jnp.array([[0.9, 0.3], [-0.3, 0.8]]), jnp.zeros(2))
    data = (xs, jax.vmap(truth)(xs))
    risk = training.truncated(data, mbdl.losses.mse, window=50)
    fit = mbdl.fit(rule(), risk, optax.adam(0.02), steps=150, key=jax.random.key(1), progress=False)
    np.testing.assert_allclose(core.resolve(fit.rule).matrix, truth.matrix, atol=0.01)


def test_what_is_given_wrong_is_an_error():
    data = sequences()
    for window in (0, 2.5, True):
        with pytest.raises(ValueError, match="a window of at least one step"):
            training.truncated(data, mbdl.losses.mse, window=window)
    with pytest.raises(TypeError, match="wants a function"):
        training.truncated(data, "mse", window=3)
    with pytest.raises(ValueError, match=r"data = \(xs, targets\)"):
        training.truncated(data[0], mbdl.losses.mse, window=3)
    risk = training.truncated(data, mbdl.losses.mse, window=3)
    with pytest.raises(TypeError, match="expected a recursive rule, .* got Affine"):
        risk(affine())
    with pytest.raises(ValueError, match="one leading time axis"):
        risk(rule(), (data[0], data[1][:, :4]))
