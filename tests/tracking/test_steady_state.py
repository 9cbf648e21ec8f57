"""The steady-state gain against the Kalman filter that has settled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tracking.rules import linear, nonlinear, observations, pushed, pushes

import mbdl
from mbdl import tracking


def test_the_kalman_filter_settles_at_it():
    with jax.enable_x64(True):
        model, ys = linear(), observations(200)
        settled = tracking.KalmanFilter(model, tracking.SteadyStateGain())(ys)
        exact = tracking.KalmanFilter(model)(ys)
        assert np.max(np.abs(settled.mean[0] - exact.mean[0])) > 1e-3
        for name in ("mean", "covariance", "predicted_covariance", "cross_covariance", "innovation_covariance"):
            np.testing.assert_allclose(getattr(settled, name)[-1], getattr(exact, name)[-1], atol=1e-12)
        np.testing.assert_allclose(settled.log_likelihood[-50:], exact.log_likelihood[-50:], atol=1e-10)
        started = tracking.KalmanFilter(
            linear(initial_covariance=tracking.SteadyStateGain().init(model).uncertainty.covariance)
        )
        np.testing.assert_allclose(started(ys).mean, settled.mean, atol=1e-12)


def test_a_missing_component_has_no_part_in_the_estimate_nor_in_the_likelihood():
    with jax.enable_x64(True):
        kf = tracking.KalmanFilter(linear(), tracking.SteadyStateGain())
        ys = observations(4)
        present = jnp.ones(ys.shape, bool).at[2, 1].set(False).at[3].set(False)
        estimates = kf(tracking.Inputs(ys, present=present))
        K, uncertainty = kf.gain.init(kf.model)
        kept = np.array([0, 2])
        innovation = (ys[2] - kf.model.observation @ estimates.predicted_mean[2])[kept]
        np.testing.assert_allclose(estimates.mean[2], estimates.predicted_mean[2] + K[:, kept] @ innovation)
        S = uncertainty.innovation[np.ix_(kept, kept)]
        square = innovation @ np.linalg.solve(S, innovation)
        expected = -0.5 * (square + np.linalg.slogdet(S)[1] + 2 * np.log(2 * np.pi))
        np.testing.assert_allclose(estimates.log_likelihood[2], expected)
        np.testing.assert_allclose(estimates.mean[3], estimates.predicted_mean[3])
        np.testing.assert_allclose(estimates.log_likelihood[3], 0.0, atol=1e-12)


def test_a_nonlinear_model_is_linearised_at_the_initial_mean_or_where_it_is_told():
    model = nonlinear()
    state = jnp.asarray([0.3, -0.2])
    for gain, at in ((tracking.SteadyStateGain(), model.initial_mean), (tracking.SteadyStateGain(at=state), state)):
        moment = tracking.Moment(jnp.asarray(0))
        F, H = model.transit_jacobian(at, moment), model.observe_jacobian(at, moment)
        same = linear(transition=F, observation=H)
        expected = tracking.SteadyStateGain().init(same).gain
        np.testing.assert_allclose(gain.init(model).gain, expected, atol=1e-6)


def test_a_gain_that_does_not_exist_is_named_when_it_is_used():
    unseen = linear(transition=jnp.eye(2), observation=jnp.zeros((3, 2)))
    with pytest.raises(ValueError, match="first at step 0 of 6. SteadyStateGain: the Riccati equation has no stab"):
        tracking.KalmanFilter(unseen, tracking.SteadyStateGain())(observations())
    learned = mbdl.learn(tracking.KalmanFilter(unseen, tracking.SteadyStateGain()), lambda r: r.model.transition)
    with pytest.raises(ValueError, match="SteadyStateGain: the Riccati equation"):
        learned(observations())


def test_a_model_that_varies_or_a_state_of_another_size_is_refused():
    varying = tracking.TimeVarying(jnp.ones((6, 2, 2)))
    with pytest.raises(ValueError, match="transition of the model varies with the moment"):
        tracking.KalmanFilter(linear(transition=varying), tracking.SteadyStateGain())(observations())
    with pytest.raises(ValueError, match=r"at has shape \(3,\); expected \(2,\)"):
        tracking.KalmanFilter(linear(), tracking.SteadyStateGain(at=jnp.zeros(3)))(observations())
    with pytest.raises(ValueError, match="SteadyStateGain: at must be finite"):
        tracking.SteadyStateGain(at=jnp.asarray([jnp.nan]))


def test_a_nonlinear_model_whose_jacobian_varies_is_refused():
    def faster(state, moment):
        return jnp.where(moment.time < 3, 0.9, 0.1) * state

    for name in ("transition", "observation"):
        size = {"transition": 2, "observation": 3}[name]
        changing = nonlinear(**{name: lambda state, moment, size=size: jnp.resize(faster(state, moment), size)})
        with pytest.raises(ValueError, match=f"SteadyStateGain: {name} of the model varies with the moment"):
            tracking.ExtendedKalmanFilter(changing, tracking.SteadyStateGain())(observations())
        tracking.ExtendedKalmanFilter(changing)(observations())
    drifting = nonlinear(transition=lambda state, moment: jnp.sin(state) + moment.time)  # its Jacobian does not vary
    tracking.ExtendedKalmanFilter(drifting, tracking.SteadyStateGain())(observations())


def test_a_linearisation_that_needs_a_control_and_a_duration_is_told_them(x64):
    model, given = pushed(), pushes()
    for gain in (tracking.SteadyStateGain(), tracking.SteadyStateGain(control=jnp.zeros(2))):
        with pytest.raises(ValueError, match=r"transition of the model varies.*SteadyStateGain\(control=..., duration"):
            tracking.ExtendedKalmanFilter(model, gain)(given)
    told = tracking.SteadyStateGain(control=jnp.zeros(2), duration=0.1)
    moment = tracking.Moment(jnp.asarray(0), jnp.zeros(2), jnp.asarray(0.1))
    F, H = (jacobian(model.initial_mean, moment) for jacobian in (model.transit_jacobian, model.observe_jacobian))
    expected = tracking.SteadyStateGain().init(linear(transition=F, observation=H)).gain
    np.testing.assert_allclose(told.init(model).gain, expected, atol=1e-12)
    assert np.all(np.isfinite(tracking.ExtendedKalmanFilter(model, told)(given).mean))


def test_a_model_that_depends_on_durations_settles_at_its_own_step():
    kinematic = tracking.constant_velocity(0.5, q2=0.1, r2=1.0)
    moment = tracking.Moment(jnp.asarray(0))
    plain = tracking.LinearGaussian(
        transition=kinematic.transition(moment),
        observation=kinematic.observation,
        process_noise=kinematic.process_noise(moment),
        observation_noise=kinematic.observation_noise,
        initial_mean=kinematic.initial_mean,
        initial_covariance=kinematic.initial_covariance,
    )
    gains = [tracking.SteadyStateGain().init(model).gain for model in (kinematic, plain)]
    assert jnp.array_equal(*gains)
