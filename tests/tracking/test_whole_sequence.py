"""Whole sequences: gains that the model determines are computed before the means, and no longer than they change."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mbdl import tracking

STEPS = 80


def model(initial_covariance=0.0, starts="before", control=None, transition=None):
    turned = 0.95 * np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    return tracking.LinearGaussian(
        transition=turned if transition is None else transition,
        observation=jnp.eye(2, 3),
        process_noise=0.1 * jnp.eye(3),
        observation_noise=jnp.eye(2),
        initial_mean=jnp.ones(3),
        initial_covariance=initial_covariance * jnp.eye(3),
        control=control,
        starts=starts,
    )


def one_by_one(rule, xs):
    return jax.lax.scan(rule.step, rule.init(), xs)


def close(found, expected, tolerance=1e-10):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


GAINS = {
    "KalmanGain": tracking.KalmanGain(),
    "SquareRootGain": tracking.SquareRootGain(),
    "InformationGain": tracking.InformationGain(),
    "SteadyStateGain": tracking.SteadyStateGain(),
}


@pytest.mark.parametrize("gain", GAINS)
@pytest.mark.parametrize("starts", ["before", "at"])
def test_a_sequence_is_what_its_steps_are(gain, starts):
    with jax.enable_x64(True):
        rule = tracking.KalmanFilter(model(0.5, starts, control=np.ones((3, 1))), GAINS[gain])
        ys = jax.random.normal(jax.random.key(0), (STEPS, 2))
        xs = tracking.Inputs(ys, control=jax.random.normal(jax.random.key(1), (STEPS, 1)))
        memory, expected = one_by_one(rule, xs)
        course = rule.run(xs)
        close(course.output, expected)
        assert int(course.memory.time) == STEPS == int(memory.time)
        close(course.memory.mean, memory.mean)


def test_a_block_goes_on_where_the_one_before_it_ended():
    with jax.enable_x64(True):
        rule = tracking.KalmanFilter(model(0.5, "at"))
        ys = jax.random.normal(jax.random.key(0), (STEPS, 2))
        half = rule.run(ys[:30])
        close(rule.run(ys[30:], half.memory).output, jax.tree.map(lambda leaf: leaf[30:], one_by_one(rule, ys)[1]))


class Counted(tracking.KalmanGain):
    """A gain that is counted each time it is computed."""

    def shared(self, model, memory, features):
        jax.debug.callback(lambda: COUNT.append(1))
        return super().shared(model, memory, features)


COUNT = []


def computed(model, steps=STEPS):
    COUNT.clear()
    tracking.KalmanFilter(model, Counted())(jnp.zeros((steps, 2)))
    jax.effects_barrier()
    return len(COUNT)


def test_no_gain_is_computed_once_they_have_settled():
    assert 10 < computed(model()) < 60
    assert computed(model(), 500) == computed(model(), 1000)


def test_gains_of_a_model_that_varies_are_all_computed():
    varying = tracking.TimeVarying(jnp.broadcast_to(0.9 * jnp.eye(3), (STEPS, 3, 3)))
    assert computed(model(transition=varying)) == STEPS


class Driven:
    """A transition that looks at the control."""

    def __call__(self, moment):
        return jnp.eye(3) * (0.9 if moment.control is None else 0.5 + 0.1 * moment.control[0])


def test_gains_that_depend_on_the_control_are_those_of_the_steps():
    with jax.enable_x64(True):
        rule = tracking.KalmanFilter(model(0.5, control=np.ones((3, 1)), transition=Driven()))
        ys = jax.random.normal(jax.random.key(0), (20, 2))
        xs = tracking.Inputs(ys, control=jax.random.uniform(jax.random.key(1), (20, 1)))
        close(rule(xs), one_by_one(rule, xs)[1])


def settled_from_the_start():
    start = model()
    P = tracking.KalmanFilter(start)(jnp.zeros((200, 2))).covariance[-1]
    return start, P


@pytest.mark.parametrize("starts", ["before", "at"])
def test_derivatives_go_on_after_the_gain_has_settled(starts):
    """From the fixed point on no gain changes, and all of them depend on the noise."""
    with jax.enable_x64(True):
        start, P = settled_from_the_start()
        ys = jax.random.normal(jax.random.key(0), (STEPS, 2))

        def last(noise, through):
            found = tracking.LinearGaussian(
                transition=start.transition,
                observation=start.observation,
                process_noise=noise * jnp.eye(3),
                observation_noise=start.observation_noise,
                initial_mean=start.initial_mean,
                initial_covariance=P,
                starts=starts,
            )
            return jnp.sum(through(tracking.KalmanFilter(found), ys).mean[-1])

        def steps(rule, ys):
            return one_by_one(rule, ys)[1]

        slope = jax.grad(last)(0.1, lambda rule, ys: rule(ys))
        np.testing.assert_allclose(slope, jax.grad(last)(0.1, steps), rtol=1e-9)
        difference = (last(0.1 + 1e-5, steps) - last(0.1 - 1e-5, steps)) / 2e-5
        np.testing.assert_allclose(slope, difference, rtol=1e-6)
        np.testing.assert_allclose(jax.jvp(lambda q: last(q, lambda r, y: r(y)), (0.1,), (1.0,))[1], slope, rtol=1e-9)


def test_a_batch_of_models_settles_one_by_one():
    noises = jnp.array([1e-3, 0.1, 10.0])
    ys = jax.random.normal(jax.random.key(0), (STEPS, 2))

    def filtered(noise):
        found = tracking.LinearGaussian(
            transition=model().transition,
            observation=jnp.eye(2, 3),
            process_noise=noise * jnp.eye(3),
            observation_noise=jnp.eye(2),
            initial_mean=jnp.ones(3),
            initial_covariance=jnp.zeros((3, 3)),
        )
        return tracking.KalmanFilter(found)(ys).mean

    close(jax.vmap(filtered)(noises), jnp.stack([filtered(noise) for noise in noises]), 1e-5)
