"""Iterative solvers at a fixed depth."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core import toys
from jax.test_util import check_grads

import mbdl

X = toys.vector()


def by_hand(rule, x, iterations):
    state, decisions = rule.init(x), []
    for _ in range(iterations):
        state = rule.step(state, x)
        decisions.append(rule.decision(state))
    return decisions


@pytest.mark.parametrize(
    "rule",
    [toys.Descent(toys.matrix()), toys.Proximal(toys.matrix(), toys.Shrink(0.01)), toys.Complex()],
    ids=lambda rule: type(rule).__name__,
)
def test_a_fixed_depth_and_its_trace(rule):
    x = X + 0.5j * X[::-1] if isinstance(rule, toys.Complex) else X
    expected = by_hand(rule, x, rule.iterations)
    np.testing.assert_allclose(rule(x), expected[-1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(rule(x, trace=True), jnp.stack(expected), rtol=1e-5, atol=1e-6)
    assert rule(x, trace=True).dtype == x.dtype
    np.testing.assert_allclose(jax.vmap(lambda x: rule(x, trace=True))(x[None])[0], jnp.stack(expected), rtol=1e-5)


def test_one_iteration():
    rule = toys.Descent(toys.matrix(), iterations=1)
    np.testing.assert_allclose(rule(X), by_hand(rule, X, 1)[0], rtol=1e-6)
    assert rule(X, trace=True).shape == (1, 3)
    np.testing.assert_allclose(mbdl.unfold(rule, 1, untie=lambda r: r.step_size)(X), rule(X), rtol=1e-6)


def test_new_values_share_a_trace_and_depths_do_not():
    calls = []

    class Counting(toys.Descent):
        def step(self, s, x):
            calls.append(1)
            return super().step(s, x)

    Counting(toys.matrix(), 0.1)(X)
    first = len(calls)
    Counting(toys.matrix(), 0.2, 0.7)(2 * X)
    assert len(calls) == first
    Counting(toys.matrix(), iterations=6)(X)
    assert len(calls) > first


def test_complex_gradients(x64):
    rule = mbdl.learn(toys.Complex(), lambda r: (r.weight, r.damping), constraint=mbdl.positive)
    x = toys.vector(dtype=jnp.float64) + 1j * toys.vector(seed=5, dtype=jnp.float64)
    learned, rest = mbdl.core.partition(rule)

    def loss(learned):
        return jnp.sum(jnp.abs(mbdl.core.combine(learned, rest)(x)) ** 2)

    check_grads(loss, (learned,), order=1, modes=["fwd", "rev"], eps=1e-6)


def test_the_verbs_fields_are_there_whatever_the_constructor_does():
    class Explicit(mbdl.IterativeSolver):
        weight: jax.Array

        def init(self, x):
            return x

        def step(self, state, x):
            return self.weight * state

        def decision(self, state):
            return state

    for rule in (Explicit(0.5, iterations=2), toys.Descent(toys.matrix())):
        assert rule.correction is None
        assert rule.rematerialise is False
    np.testing.assert_allclose(Explicit(0.5, iterations=2)(jnp.ones(2)), 0.25)


@pytest.mark.parametrize("iterations", [0, -3, 1.0, True, "5"])
def test_a_depth_below_one(iterations):
    with pytest.raises(ValueError, match=r"Descent: expected a number of iterations of at least 1, got iterations="):
        toys.Descent(toys.matrix(), iterations=iterations)


def test_states_that_begin_weakly_typed(x64):
    class Momentum(toys.Descent):
        def init(self, x):
            return self.start, 1.0, 0

        def step(self, state, x):
            s, t, k = state
            return super().step(s, x), (1 + jnp.sqrt(1 + 4 * t**2)) / 2, k + 1

        def decision(self, state):
            return state[0]

    rule = Momentum(toys.matrix(dtype=jnp.float32))
    x = toys.vector(dtype=jnp.float32)
    assert rule(x).dtype == jnp.float32
    np.testing.assert_allclose(rule(x), toys.Descent(toys.matrix(dtype=jnp.float32))(x), rtol=1e-6)
    assert rule.solve(x, tolerance=1e-4).decision.dtype == jnp.float32


def test_a_solver_without_a_shift_says_so():
    with pytest.raises(TypeError, match="Outer does not say how a correction is added"):
        toys.Outer(toys.Descent(toys.matrix())).shift(X, X)


def test_the_residual_is_the_relative_change():
    rule = toys.Descent(toys.matrix())
    np.testing.assert_allclose(
        rule.residual(jnp.asarray([3.0, 0.0, 4.0]), jnp.asarray([0.0, 0.0, 5.0]), X), 10**0.5 / 5
    )
    assert rule.residual(jnp.zeros(3), jnp.zeros(3), X) == 0
    gradient = jax.grad(lambda s: rule.residual(s, s, X))(jnp.zeros(3))
    assert jnp.all(jnp.isfinite(gradient))


def test_a_per_layer_value_of_another_depth():
    rule = mbdl.unfold(toys.Descent(toys.matrix()), 3, untie=lambda r: r.ridge)
    wrong = eqx.tree_at(lambda r: r.ridge.value.raw, rule, jnp.ones(2))
    with pytest.raises(ValueError, match=r"Descent: a per-layer value has \[2\] layers and the solver 3 iterations"):
        wrong(X)
