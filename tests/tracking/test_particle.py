"""The particle filter against the Kalman filter within Monte Carlo error, and the resampling schemes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tracking.rules import inputs, linear, nonlinear, observations

from mbdl import tracking

SCHEMES = [
    tracking.multinomial_resampling,
    tracking.stratified_resampling,
    tracking.systematic_resampling,
    tracking.residual_resampling,
]
every_scheme = pytest.mark.parametrize("scheme", SCHEMES, ids=lambda s: s.__name__)
KEYS = 400


def counts(scheme, weights, keys=KEYS):
    ancestors = jax.vmap(lambda key: scheme(key, weights))(jax.random.split(jax.random.key(1), keys))
    return np.asarray(jax.vmap(lambda a: jnp.bincount(a, length=len(weights)))(ancestors))


@every_scheme
def test_resampling_is_unbiased(scheme):
    weights = jnp.asarray([0.31, 0.0, 0.02, 0.17, 0.05, 0.25, 0.15, 0.05])
    found = counts(scheme, weights)
    assert np.all(found.sum(1) == len(weights))
    assert np.all(found[:, 1] == 0)
    # Five standard errors; no scheme's counts vary more than the multinomial ones.
    expected = len(weights) * np.asarray(weights)
    bound = 5 * np.sqrt(len(weights) * weights * (1 - weights) / KEYS)
    assert np.all(np.abs(found.mean(0) - expected) <= bound)


@every_scheme
def test_a_single_particle_with_weight_is_the_only_ancestor(scheme):
    for place in (0, 3, 6):
        assert np.all(counts(scheme, jnp.eye(7)[place], 20)[:, place] == 7)


def test_the_counts_of_the_schemes_are_as_their_definitions_say():
    weights = jax.random.dirichlet(jax.random.key(2), jnp.ones(16))
    exact = 16 * np.asarray(weights)
    systematic, residual = (counts(s, weights, 100) for s in (SCHEMES[2], SCHEMES[3]))
    assert np.all((systematic == np.floor(exact)) | (systematic == np.ceil(exact)))
    assert np.all(residual >= np.floor(exact))
    stratified = counts(SCHEMES[1], weights, 100)
    assert np.all(np.abs(stratified - exact) < 2)


def test_of_a_linear_model_it_approaches_the_kalman_filter(x64):
    # The average over keys has the standard error that the spread over them tells, and a bias of the order of one over
    # the number of particles, here times ten for the small effective sample sizes. Five standard errors.
    model = linear(control=jnp.ones((2, 2)), starts="at")
    gaps = inputs(4)
    drawn = tracking.simulate(model, jax.random.key(10), steps=4, runs=1, control=gaps.control)
    x = tracking.Inputs(drawn.observations[0], gaps.control, gaps.present)
    exact = tracking.KalmanFilter(model)(x)
    keys, particles = 16, 4000

    def run(key):
        return tracking.ParticleFilter(model, particles=particles, key=key)(x)

    estimates = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(3), keys))
    for name in vars(exact):
        found, expected = np.asarray(getattr(estimates, name)), np.asarray(getattr(exact, name))
        scale = 1 + np.abs(expected).max()
        bound = 5 * found.std(0, ddof=1) / np.sqrt(keys) + 10 / particles * scale
        assert np.all(np.abs(found.mean(0) - expected) <= bound), name
        assert np.all(bound < 0.08 * scale), name


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_likelihood_is_unbiased(x64, scheme):
    # Few particles, so that a bias would show; resampling at every step. Five standard errors of the likelihood ratio.
    exact = jnp.sum(tracking.KalmanFilter(linear())(observations(3)).log_likelihood)

    def ratio(key):
        rule = tracking.ParticleFilter(linear(), particles=50, key=key, resampling=scheme, threshold=1.0)
        return jnp.exp(jnp.sum(rule(observations(3)).log_likelihood) - exact)

    ratios = np.asarray(jax.jit(jax.vmap(ratio))(jax.random.split(jax.random.key(4), 2000)))
    assert abs(ratios.mean() - 1) < 5 * ratios.std() / np.sqrt(len(ratios))
    assert 5 * ratios.std() / np.sqrt(len(ratios)) < 0.15


def test_what_is_missing_is_not_weighed(x64):
    rule = tracking.ParticleFilter(linear(), particles=30, key=jax.random.key(5), resampling=None)
    present = jnp.asarray([[True, False, True], [False, False, False]])
    memory = rule.run(tracking.Inputs(observations(2), present=present)).memory
    first = rule.run(tracking.Inputs(observations(1), present=present[:1]))
    np.testing.assert_allclose(memory.log_weights, first.memory.log_weights, atol=1e-13)
    # The same as a model that observes the present components alone.
    model, kept = linear(), jnp.asarray([0, 2])
    smaller = linear(observation=model.observation[kept], observation_noise=model.observation_noise[kept][:, kept])
    other = tracking.ParticleFilter(smaller, particles=30, key=jax.random.key(5), resampling=None)
    estimates = other(observations(1)[:, kept])
    np.testing.assert_allclose(first.output.mean, estimates.mean, atol=1e-13)
    np.testing.assert_allclose(first.output.log_likelihood, estimates.log_likelihood, atol=1e-12)


def test_the_threshold_says_when_to_resample():
    def memory(threshold):
        rule = tracking.ParticleFilter(linear(), particles=64, key=jax.random.key(6), threshold=threshold)
        return rule.run(observations(5)).memory

    never = tracking.ParticleFilter(linear(), particles=64, key=jax.random.key(6), resampling=None)
    kept = memory(0.0)
    np.testing.assert_allclose(kept.particles, never.run(observations(5)).memory.particles, rtol=1e-5)
    drawn = memory(1.0)

    def effective(log_weights):
        return 1 / np.sum(np.exp(np.asarray(log_weights, np.float64)) ** 2)

    assert effective(drawn.log_weights) > 2 * effective(kept.log_weights)


def test_bearings_around_the_circle_are_weighed_alike(x64):
    def estimates(shift):
        model = tracking.NonlinearGaussian(
            transition=lambda s, moment: s,
            observation=lambda s, moment: jnp.mod(s + jnp.pi + shift, 2 * jnp.pi) - jnp.pi,
            process_noise=0.01 * jnp.eye(1),
            observation_noise=0.04 * jnp.eye(1),
            initial_mean=jnp.zeros(1),
            initial_covariance=0.1 * jnp.eye(1),
            difference=lambda a, b: jnp.mod(a - b + jnp.pi, 2 * jnp.pi) - jnp.pi,
        )
        ys = jnp.mod(jnp.asarray([[0.1], [-0.2]]) + shift + jnp.pi, 2 * jnp.pi) - jnp.pi
        return tracking.ParticleFilter(model, particles=100, key=jax.random.key(7))(ys)

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), estimates(np.pi), estimates(0.0))


def test_the_derivative_of_an_observation_through_resampling_raises():
    rule = tracking.ParticleFilter(nonlinear(), particles=10, key=jax.random.key(8))
    with pytest.raises(TypeError, match="Use resampling=None, or ExtendedKalmanFilter or UnscentedKalmanFilter"):
        jax.grad(lambda ys: jnp.sum(rule(ys).log_likelihood))(observations())


def test_an_observation_that_no_particle_explains_raises():
    rule = tracking.ParticleFilter(linear(), particles=10, key=jax.random.key(9))
    with pytest.raises(ValueError, match="no particle explains an observation"):
        rule(jnp.full((2, 3), 1e25))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"particles": 1}, ValueError, "expected at least 2 particles, got 1"),
        ({"key": 0}, TypeError, "expected a JAX random key, such as jax.random.key"),
        ({"resampling": "systematic"}, TypeError, "expected resampling to be a function"),
        ({"resampling": None, "threshold": 0.5}, ValueError, "and resampling is None. Give one of them"),
        ({"threshold": 50.0}, ValueError, "expected a threshold between 0 and 1"),
        ({"model": 3}, TypeError, "expected a model of mbdl.tracking, got int"),
    ],
)
def test_wrong_parameters_raise(changes, error, message):
    arguments = {"model": linear(), "particles": 10, "key": jax.random.key(0), **changes}
    with pytest.raises(error, match=message):
        tracking.ParticleFilter(arguments.pop("model"), **arguments)
