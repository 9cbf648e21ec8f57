"""A model with a learned residual: the model at first, and nearer to the truth once it is learned."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mbdl
from mbdl import networks, tracking


def pendulum(pull=1.0, drag=0.0, control=True):
    """An angle and its speed, of which the angle is seen."""

    def move(state, moment):
        push = moment.control[0] if control else 0.0
        force = push - pull * jnp.sin(state[0]) - drag * state[1]
        return state + 0.2 * jnp.stack([state[1], force])

    return tracking.NonlinearGaussian(
        transition=move,
        observation=lambda state, moment: state[:1],
        process_noise=1e-3 * jnp.eye(2),
        observation_noise=1e-1 * jnp.eye(1),
        initial_mean=jnp.array([0.5, 0.0]),
        initial_covariance=0.1 * jnp.eye(2),
        starts="at",
    )


def network(inputs, outputs=2):
    return networks.MLP(inputs, outputs, width=16, depth=1, activation=jnp.tanh, key=jax.random.key(0))


def pushed(steps, runs, seed=1):
    """Runs of the true pendulum under known pushes."""
    control = jnp.sin(jnp.arange(steps))[:, None]
    observations, states = tracking.simulate(
        pendulum(2.0, 0.5), jax.random.key(seed), steps=steps, runs=runs, control=control
    )
    return tracking.Inputs(observations, jnp.broadcast_to(control, (runs, steps, 1))), states


@pytest.mark.parametrize("control", [True, False])
def test_it_is_the_model_at_first(control):
    model = pendulum(control=control)
    aided = tracking.ResidualModel(model, network(3 if control else 2))
    xs, _ = pushed(6, 1)
    xs = jax.tree.map(lambda leaf: leaf[0], xs) if control else xs.observation[0]
    found, expected = (tracking.ExtendedKalmanFilter(m)(xs) for m in (aided, model))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, expected)
    place = mbdl.spectrum(tracking.ExtendedKalmanFilter(aided))
    assert (place.strategy, place.learned) == ("DNN-aided", sum(a.size for a in jax.tree.leaves(aided.network.raw)))


def test_its_jacobian_is_that_of_its_transition(x64):
    aided = tracking.ResidualModel(pendulum(), eqx.nn.MLP(3, 2, 8, 1, key=jax.random.key(2)))
    aided = mbdl.resolve(jax.tree.map(lambda a: a.astype(float) if eqx.is_array(a) else a, aided))
    state, moment = jnp.array([0.3, -0.2]), tracking.Moment(jnp.asarray(1), jnp.array([0.4]))
    expected = jax.jacfwd(aided.transit)(state, moment)
    np.testing.assert_allclose(aided.transit_jacobian(state, moment), expected, rtol=1e-12)
    assert float(jnp.max(jnp.abs(expected - aided.model.transit_jacobian(state, moment)))) > 1e-3


def test_learned_by_the_error_of_a_filter_it_makes_up_for_what_the_model_leaves_out():
    train, test = pushed(40, 32), pushed(40, 32, seed=4)
    rule = tracking.ExtendedKalmanFilter(tracking.ResidualModel(pendulum(), network(3)))
    risk = mbdl.supervised(train, tracking.state_error)
    fit = mbdl.fit(rule, risk, optax.adam(1e-2), steps=150, key=jax.random.key(3), progress=False)
    rules = (
        tracking.ExtendedKalmanFilter(pendulum(2.0, 0.5)),
        fit.rule,
        tracking.ExtendedKalmanFilter(pendulum()),
    )
    true, aided, wrong = (float(mbdl.supervised(test, tracking.state_error)(r)) for r in rules)
    assert aided - true < 0.2 * (wrong - true)


def test_it_is_saved_and_loaded(tmp_path):
    model = tracking.lorenz(q2=1e-2, r2=1e-1)
    rule = tracking.ExtendedKalmanFilter(tracking.ResidualModel(model, network(3, 3)))
    ys = tracking.simulate(model, jax.random.key(0), steps=5, runs=1).observations[0]
    mbdl.save(tmp_path / "aided", rule)
    jax.tree.map(np.testing.assert_array_equal, mbdl.load(tmp_path / "aided")(ys), rule(ys))


def test_bad_arguments():
    with pytest.raises(TypeError, match=r"ResidualModel: expected a model of mbdl.tracking, got function"):
        tracking.ResidualModel(network, network(3))  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"ResidualModel: expected a network, got 3.0"):
        tracking.ResidualModel(pendulum(), 3.0)
    wrong = tracking.ResidualModel(pendulum(), network(3, 1))
    with pytest.raises(ValueError, match=r"returns an array of shape \(1,\) for a state of \(2,\)"):
        tracking.ExtendedKalmanFilter(wrong)(tracking.Inputs(jnp.ones((2, 1)), jnp.ones((2, 1))))
