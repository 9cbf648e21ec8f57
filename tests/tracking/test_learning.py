"""A noise covariance learned through the Kalman filter, by error and by likelihood: an example of the book."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import pytest

import mbdl
from mbdl import tracking

STEPS = 200


def _model(process_noise):
    """An object that moves at a nearly constant velocity, of which the position is seen."""
    return tracking.LinearGaussian(
        transition=jnp.asarray([[1.0, 0.1], [0.0, 1.0]]),
        observation=jnp.asarray([[1.0, 0.0]]),
        process_noise=process_noise,
        observation_noise=4 * jnp.eye(1),
        initial_mean=jnp.asarray([0.0, 1.0]),
        initial_covariance=jnp.zeros((2, 2)),
    )


def _error_of_the_position(estimates, states):
    return mbdl.losses.mse(estimates.mean[:, 0], states[:, 0])


@mbdl.register
class Pendulum(eqx.Module):
    """A pendulum of an unknown frequency."""

    frequency: jax.Array

    def __call__(self, state, moment):
        return state + 0.1 * jnp.stack([state[1], -(self.frequency**2) * jnp.sin(state[0])])


def _swinging(frequency):
    return tracking.NonlinearGaussian(
        transition=Pendulum(jnp.asarray(frequency)),
        observation=lambda state, moment: jnp.sin(state[:1]),
        process_noise=1e-3 * jnp.eye(2),
        observation_noise=1e-2 * jnp.eye(1),
        initial_mean=jnp.asarray([1.0, 0.0]),
        initial_covariance=0.01 * jnp.eye(2),
    )


@pytest.mark.parametrize("make", [tracking.ExtendedKalmanFilter, tracking.UnscentedKalmanFilter])
def test_a_nonlinear_filter_learns_a_parameter_of_its_model_by_likelihood(make):
    train, test = (tracking.simulate(_swinging(3.0), jax.random.key(k), steps=60, runs=20) for k in (3, 4))
    start = mbdl.learn(make(_swinging(2.0)), lambda r: r.model.transition.frequency, constraint=mbdl.positive)
    risk = mbdl.unsupervised(train.observations, tracking.likelihood)
    fit = mbdl.fit(start, risk, optax.adam(0.2), steps=80, key=jax.random.key(5))
    # Twenty trajectories tell the frequency to a per cent or so.
    assert abs(float(mbdl.resolve(fit.rule).model.transition.frequency) - 3.0) < 0.15
    held_out = mbdl.supervised(test, tracking.state_error)
    assert float(held_out(fit.rule)) < 0.5 * float(held_out(start))


TRUTH = _model(tracking.Factor(0.5 * jnp.asarray([[0.1**2 / 2], [0.1]])))


@pytest.mark.parametrize("by", ["error", "likelihood"])
def test_a_process_noise_learned_from_twenty_trajectories_filters_as_the_true_one_does(by):
    train = tracking.simulate(TRUTH, jax.random.key(0), steps=STEPS, runs=20)
    risk = mbdl.supervised(tracking.simulate(TRUTH, jax.random.key(1), steps=STEPS, runs=1000), _error_of_the_position)
    start = mbdl.learn(
        tracking.KalmanFilter(_model(jnp.eye(2))),
        lambda r: r.model.process_noise,
        constraint=mbdl.positive_definite,
    )
    objectives = {
        "error": mbdl.supervised(train, _error_of_the_position),
        "likelihood": mbdl.unsupervised(train.observations, tracking.likelihood),
    }
    fit = mbdl.fit(start, objectives[by], optax.adam(0.2), steps=100, key=jax.random.key(2))
    best = float(risk(tracking.KalmanFilter(TRUTH)))
    # The Riccati recursion gives .2339, the mean of the position's variance over the 200 times; the mean over 1000
    # trajectories has a standard error of some .003. The book's five gave .2387.
    assert abs(best - 0.2339) < 0.009
    assert float(risk(start)) > 5 * best
    assert float(risk(fit.rule)) < 1.05 * best
