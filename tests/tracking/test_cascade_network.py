"""KalmanNet's cascade of recurrent units, as it is drawn in the paper and as it is computed."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mbdl import core, tracking
from mbdl.tracking.input_features import Differences


def layer(weights, x):
    return weights.weight @ x + weights.bias


def as_drawn(net, hidden, differences):
    """The published cascade, one layer after the other."""

    def phi(weights, *inputs):
        return jax.nn.relu(layer(weights, jnp.concatenate(inputs)))

    F1, F2, F3, F4 = differences
    Q = net.process(hidden.process, phi(net.of_update, F4))
    P = net.predicted(hidden.predicted, jnp.concatenate([Q, phi(net.of_evolution, F3)]))
    S = net.innovation(hidden.innovation, jnp.concatenate([phi(net.of_predicted, P), phi(net.of_observation, F1, F2)]))
    wide = phi(net.wide, P, S)
    K = layer(net.out, wide) / len(wide) ** 0.5
    return K, type(hidden)(Q, phi(net.back, P, phi(net.gathered, S, K)), S)


@pytest.mark.parametrize(("m", "n"), [(2, 2), (3, 1), (2, 5), (6, 4)])
def test_the_cascade_is_the_drawn_one(m, n):
    with jax.enable_x64(True):
        net = tracking.CascadeNetwork(m, n, dtype=jnp.float64, key=jax.random.key(0))
        net = eqx.tree_at(
            lambda net: net.out.weight, net, 0.1 * jax.random.normal(jax.random.key(1), net.out.weight.shape)
        )
        keys = jax.random.split(jax.random.key(2), 4)
        differences = Differences(*(jax.random.normal(k, (s,)) for k, s in zip(keys, (n, n, m, m), strict=True)))

        def twice(step, net):
            entries, hidden = step(net, net.init(), differences)
            return step(net, hidden, differences)[0] + entries

        def value(net, step):
            return jnp.sum(jnp.sin(twice(step, net)))

        found, slope = eqx.filter_value_and_grad(value)(net, lambda net, *x: net(*x))
        again, prepared = eqx.filter_value_and_grad(value)(net, lambda net, *x: net.prepared()(*x))
        expected, drawn = eqx.filter_value_and_grad(value)(net, as_drawn)
        np.testing.assert_allclose([found, again], expected, rtol=1e-12)
        for leaves in zip(*map(jax.tree.leaves, (slope, prepared, drawn)), strict=True):
            np.testing.assert_allclose(leaves[0], leaves[2], rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(leaves[1], leaves[2], rtol=1e-9, atol=1e-12)


def test_features_of_another_size_are_refused():
    net = tracking.CascadeNetwork(2, 2, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"expected features and hidden states of the shapes .* got"):
        net(net.init(), Differences(jnp.ones(3), jnp.ones(3), jnp.ones(2), jnp.ones(2)))


@pytest.mark.parametrize("wrap", [lambda gain: gain, tracking.WithCovariance])
def test_a_prepared_gain_is_the_gain(wrap):
    model = tracking.canonical(2, q2=0.1, r2=1.0)
    learned, rest = core.partition(tracking.KalmanNet(model, key=jax.random.key(0)))
    moved = core.resolve(core.combine(jax.tree.map(lambda leaf: leaf + 0.1, learned), rest))
    filter = tracking.KalmanFilter(moved.model, wrap(moved.gain))
    ys = jax.random.normal(jax.random.key(1), (5, 2))
    expected = jax.lax.scan(filter.step, filter.init(), ys)[1]
    np.testing.assert_allclose(filter(ys).mean, expected.mean, rtol=1e-5, atol=1e-6)
    assert type(filter.gain.prepared()) is type(filter.gain)
