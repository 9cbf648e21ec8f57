"""The graph network without messages."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mbdl
from mbdl import tracking
from mbdl.tracking.messages import Messages

KEY = jax.random.key(0)


def trained(**changes):
    """A tracker whose last layer is not zero."""
    tracker = tracking.GraphTracker(2, features=5, iterations=3, key=KEY, **changes)
    weight = jax.random.normal(jax.random.key(1), tracker.network.raw.out.weight.shape)
    return eqx.tree_at(lambda t: t.network.raw.out.weight, tracker, weight)


def test_it_begins_with_the_observations():
    ys = jax.random.normal(KEY, (7, 2))
    np.testing.assert_array_equal(tracking.GraphTracker(2, features=5, iterations=3, key=KEY)(ys), ys)


def test_each_iteration_corrects_the_observations_anew():
    ys, tracker = jax.random.normal(KEY, (7, 2)), mbdl.core.resolve(trained())
    memory = jnp.zeros((7, 5))
    for estimates in tracker(ys, trace=True):
        none = jnp.zeros((7, 0))
        correction, memory = tracker.network(None, memory, Messages(none, none, none), tracking.Inputs(ys))
        np.testing.assert_allclose(estimates, ys + correction, rtol=1e-5, atol=1e-5)
    assert float(jnp.max(jnp.abs(correction))) > 0.1


def test_an_iteration_tells_the_neighbours_alone():
    told = np.abs(jax.jacobian(trained())(jax.random.normal(KEY, (9, 2)))[:, :, 0]).max((1, 2))
    # The differences tell the first two times of the first observation; two further iterations each one more.
    assert np.all(told[:4] > 0)
    np.testing.assert_array_equal(told[4:], 0.0)


def test_it_moves_with_its_observations():
    ys, tracker = jax.random.normal(KEY, (6, 2)), trained()
    shift = jnp.array([3.0, -2.0])
    np.testing.assert_allclose(tracker(ys + shift), tracker(ys) + shift, atol=1e-4)


def test_it_learns_to_smooth():
    model = tracking.constant_velocity(1.0, q2=0.01, r2=1.0)
    ys, states = tracking.simulate(model, jax.random.key(2), steps=40, runs=32)
    data = (ys, states[..., :1])
    tracker = tracking.GraphTracker(1, features=8, iterations=5, key=KEY)
    risk = mbdl.supervised(data, tracking.state_error)
    fit = mbdl.fit(tracker, risk, optax.adam(1e-2), steps=150, batch_size=32, key=jax.random.key(3))
    other = tracking.simulate(model, jax.random.key(4), steps=40, runs=32)
    errors = [float(jnp.mean((e - other.states[..., :1]) ** 2)) for e in (jax.vmap(fit.rule)(other[0]), other[0])]
    assert errors[0] < 0.5 * errors[1]


def test_what_it_refuses():
    tracker = tracking.GraphTracker(2, features=4, key=KEY)
    with pytest.raises(ValueError, match="of size 2, got shape"):
        tracker(jnp.ones((5, 3)))
    with pytest.raises(ValueError, match="some may be missing"):
        tracker(tracking.Inputs(jnp.ones((5, 2)), present=jnp.ones((5, 2), bool)))
