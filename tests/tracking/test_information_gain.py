"""The information form against the covariance form, and what it cannot do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tracking.rules import inputs, linear, nonlinear, observations

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


@pytest.mark.parametrize("make", [tracking.KalmanFilter, tracking.ExtendedKalmanFilter])
def test_a_known_initial_state_raises_and_names_the_other_gains(make):
    rule = make(linear(initial_covariance=jnp.zeros((2, 2))), tracking.InformationGain())
    with pytest.raises(ValueError, match="the initial covariance is singular. Use tracking.KalmanGain or"):
        rule(observations())


def test_a_singular_transition_raises_and_names_the_other_gains():
    rule = tracking.KalmanFilter(linear(transition=jnp.ones((2, 2))), tracking.InformationGain())
    with pytest.raises(ValueError, match="inverts the covariance, the transition and the observation noise. Use"):
        rule(observations())
