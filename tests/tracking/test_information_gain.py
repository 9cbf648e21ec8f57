"""The information form against the covariance form, and what it cannot do."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tracking.rules import badly_scaled, inputs, linear, nonlinear, observations

from mbdl import tracking


def test_it_is_the_kalman_gain(x64):
    # Singular process noise too; two inverses of well-conditioned matrices a step cost some tens of roundings.
    singular = {"process_noise": tracking.Factor(jnp.asarray([[0.5], [1.0]]))}
    controlled = {"control": jnp.ones((2, 2)), "starts": "at"}
    for changes, x in (({}, observations()), (singular, observations()), (controlled, inputs())):
        rule = tracking.KalmanFilter(linear(**changes))
        other = tracking.KalmanFilter(rule.model, tracking.InformationGain())
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), other(x), rule(x))


def test_it_is_the_gain_of_an_extended_filter(x64):
    rule = tracking.ExtendedKalmanFilter(nonlinear())
    other = tracking.ExtendedKalmanFilter(nonlinear(), tracking.InformationGain())
    expected = rule(observations())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), other(observations()), expected)


def single(tree):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32) if eqx.is_inexact_array(leaf) else leaf, tree)


@pytest.mark.parametrize("make", [lambda: linear(starts="at"), nonlinear])
def test_in_single_precision_it_is_that_of_double_to_some_roundings(make, x64):
    rule = tracking.ExtendedKalmanFilter(make(), tracking.InformationGain())
    x = tracking.Inputs(observations(20), present=inputs(20).present)
    found, exact = single(rule)(single(x)), rule(x)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(exact), strict=True):
        assert a.dtype == jnp.float32
        # Measured: 1e-7 to 3e-7 of the largest entry.
        precision = float(jnp.finfo(jnp.float32).eps)
        np.testing.assert_allclose(a, b, rtol=0, atol=20 * precision * float(jnp.max(jnp.abs(b))))


def test_a_bad_scaling_of_the_components_costs_nothing_in_single_precision(x64):
    model = badly_scaled(jnp.float64, transition=jnp.eye(2), initial_covariance=jnp.diag(jnp.asarray([1e10, 1.0])))
    rule, ys = tracking.KalmanFilter(model, tracking.InformationGain()), observations()[:, :1]
    found, exact = single(rule)(single(ys)), rule(ys)
    precision = float(jnp.finfo(jnp.float32).eps)
    np.testing.assert_allclose(found.mean, exact.mean, rtol=0, atol=100 * precision)
    np.testing.assert_allclose(found.covariance, exact.covariance, rtol=0, atol=100 * precision)


@pytest.mark.parametrize("held", ["factor", "matrix"])
def test_what_single_precision_does_not_hold_raises_and_is_never_wrong_instead(held, x64):
    """Conditions from 1e4 to 1e10, in all directions: what comes out is right to a few hundredths, or NaN."""
    ys = jnp.asarray(np.random.default_rng(1).normal(size=(6, 1)))

    def filtered(dtype, gain, angle, deviation):
        turn = jnp.stack([jnp.cos(angle), -jnp.sin(angle), jnp.sin(angle), jnp.cos(angle)]).reshape(2, 2)
        root = (turn * jnp.stack([deviation, jnp.ones_like(deviation)])).astype(dtype)
        covariance = tracking.Factor(root) if held == "factor" else root @ root.T
        model = badly_scaled(dtype, initial_covariance=covariance)
        return tracking.KalmanFilter(model, gain).run(ys.astype(dtype), throw=False).output

    angles, deviations = jnp.linspace(0.05, 3.1, 60), jnp.logspace(2, 5, 13)
    angles, deviations = (grid.ravel() for grid in jnp.meshgrid(angles, deviations))
    exact = jax.vmap(lambda *at: filtered(jnp.float64, tracking.SquareRootGain(), *at))(angles, deviations)
    found = jax.vmap(lambda *at: filtered(jnp.float32, tracking.InformationGain(), *at))(angles, deviations)
    scale = jnp.sqrt(jnp.diagonal(exact.covariance, axis1=2, axis2=3))
    error = (found.covariance - exact.covariance) / (scale[..., :, None] * scale[..., None, :])
    means = (found.mean - exact.mean) / scale
    finite = np.isfinite(np.asarray(found.covariance)).all((1, 2, 3)) & np.isfinite(np.asarray(means)).all((1, 2))
    assert np.all(finite | (deviations >= 200))
    assert not np.any(finite & (deviations > 2e4))
    assert float(jnp.max(jnp.abs(error[finite]))) < 0.1
    assert float(jnp.max(jnp.abs(means[finite]))) < 0.1


def test_a_condition_of_1e10_in_single_precision_raises_and_names_the_square_root_form():
    rule = tracking.KalmanFilter(badly_scaled(jnp.float32), tracking.InformationGain())
    with pytest.raises(ValueError, match="float32 does not hold its inverse. Use tracking.SquareRootGain, or"):
        rule(jnp.ones((5, 1)))


@pytest.mark.parametrize("make", [tracking.KalmanFilter, tracking.ExtendedKalmanFilter])
def test_a_known_initial_state_raises_and_names_the_other_gains(make):
    rule = make(linear(initial_covariance=jnp.zeros((2, 2))), tracking.InformationGain())
    with pytest.raises(ValueError, match="the initial covariance is singular, or float32 does not"):
        rule(observations())


def test_a_singular_transition_raises_and_names_the_other_gains():
    rule = tracking.KalmanFilter(linear(transition=jnp.ones((2, 2))), tracking.InformationGain())
    with pytest.raises(ValueError, match="inverts the covariance, the transition and the observation noise. Use"):
        rule(observations())
