"""Expectation and maximisation against dense posteriors, and on simulated data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tracking.joint import posterior
from tracking.rules import inputs, linear, nonlinear, observations

from mbdl import tracking

NAMES = ("transition", "observation", "process_noise", "observation_noise", "initial_mean", "initial_covariance")


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def _sequences(runs=3):
    """Sequences with gaps, in part and whole, and with controls."""
    parts = [inputs() for _ in range(runs)]
    parts = [
        tracking.Inputs(x.observation + 0.3 * k, x.control, jnp.roll(x.present.at[2].set(False), k, axis=0))
        for k, x in enumerate(parts)
    ]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *parts)


def _by_hand(model, xs, learn):
    """One step from the dense posteriors, its observations conditioned component by component."""
    n, starts = model.state_size, 1 if model.starts == "at" else 0
    moments = dict.fromkeys(("11", "10", "00", "count", "yy", "ys", "ss", "seen"), 0.0)
    initial = []
    H, R = np.asarray(model.observation), np.asarray(tracking.dense(model.observation_noise))
    for run in range(len(xs.observation)):
        y, present = np.asarray(xs.observation[run]), np.asarray(xs.present[run])
        mean, covariance, _ = posterior(model, y, present, xs.control[run])
        second = covariance + np.einsum("ai,bj->aibj", mean, mean)
        initial.append((mean[0], covariance[0, :, 0]))
        for t in range(1, len(mean)):
            u = np.asarray(model.control @ xs.control[run, t - 1])
            if t > starts:
                m, b = mean[t], mean[t - 1]
                moments["11"] += second[t, :, t] - np.outer(u, m) - np.outer(m, u) + np.outer(u, u)
                moments["10"] += second[t, :, t - 1] - np.outer(u, b)
                moments["00"] += second[t - 1, :, t - 1]
                moments["count"] += 1
            o = np.flatnonzero(present[t - 1])
            if len(o) == 0:
                continue
            # All of the observation given the state and what is seen of it.
            B = R[:, o] @ np.linalg.inv(R[np.ix_(o, o)])
            M, c = H - B @ H[o], B @ y[t - 1, o]
            joint = M @ second[t, :, t] + np.outer(c, mean[t])
            moments["ys"] += joint
            left = M @ mean[t]
            moments["yy"] += (
                M @ second[t, :, t] @ M.T + np.outer(left, c) + np.outer(c, left) + np.outer(c, c) + R - B @ R[o]
            )
            moments["ss"] += second[t, :, t]
            moments["seen"] += 1
    found = {}
    F = moments["10"] @ np.linalg.inv(moments["00"]) if "transition" in learn else np.asarray(model.transition)
    H = moments["ys"] @ np.linalg.inv(moments["ss"]) if "observation" in learn else H
    found["transition"], found["observation"] = F, H
    crossed = F @ moments["10"].T
    found["process_noise"] = (moments["11"] - crossed - crossed.T + F @ moments["00"] @ F.T) / moments["count"]
    crossed = H @ moments["ys"].T
    found["observation_noise"] = (moments["yy"] - crossed - crossed.T + H @ moments["ss"] @ H.T) / moments["seen"]
    m0 = np.mean([m for m, _ in initial], axis=0) if "initial_mean" in learn else np.asarray(model.initial_mean)
    found["initial_mean"] = m0
    found["initial_covariance"] = np.mean([P + np.outer(m - m0, m - m0) for m, P in initial], axis=0)
    assert found["transition"].shape == (n, n)
    return {name: found[name] for name in learn}


@pytest.mark.parametrize(
    ("learn", "starts"),
    [(NAMES, "before"), (("process_noise", "observation_noise", "initial_covariance"), "at")],
    ids=["all", "covariances"],
)
def test_a_step_is_that_of_the_dense_posterior(learn, starts):
    model, xs = linear(control=0.5 * jnp.eye(2), starts=starts), _sequences()
    em = tracking.expectation_maximisation(model, xs, steps=1, learn=learn)
    expected = _by_hand(model, xs, learn)
    for name in NAMES:
        value = getattr(em.model, name)
        np.testing.assert_allclose(value, expected.get(name, getattr(model, name)), rtol=0, atol=1e-10)
    for k, after in enumerate((model, em.model)):
        parts = zip(xs.observation, xs.present, xs.control, strict=True)
        total = sum(posterior(after, *part)[2] for part in parts)
        np.testing.assert_allclose(em.log_likelihoods[k], total, atol=1e-9)


def test_the_likelihood_does_not_decrease():
    em = tracking.expectation_maximisation(linear(control=jnp.eye(2)), _sequences(8), steps=60)
    rise = np.diff(em.log_likelihoods)
    scale = np.max(np.abs(em.log_likelihoods))
    assert em.log_likelihoods.shape == (61,)
    assert np.all(rise > -1e-12 * scale)
    assert rise[0] > 1


def test_it_recovers_the_noises_and_the_transition_that_made_the_data():
    truth = linear(
        transition=jnp.asarray([[0.9, 0.2], [-0.2, 0.9]]),
        observation=jnp.eye(2),
        process_noise=jnp.diag(jnp.asarray([0.2, 0.6])),
        observation_noise=0.5 * jnp.eye(2),
        initial_mean=jnp.zeros(2),
        initial_covariance=jnp.zeros((2, 2)),
    )
    ys, _ = tracking.simulate(truth, jax.random.key(1), steps=100, runs=50)
    learn = ("transition", "process_noise", "observation_noise")
    wrong = linear(
        transition=0.5 * jnp.eye(2),
        observation=jnp.eye(2),
        process_noise=jnp.eye(2),
        observation_noise=2 * jnp.eye(2),
        initial_mean=jnp.zeros(2),
        initial_covariance=tracking.Factor(jnp.zeros((2, 1))),
    )
    em = tracking.expectation_maximisation(wrong, ys, steps=200, learn=learn)
    # 5000 samples: a relative error of some 2 in the root of their number, times the noise-to-signal ratio.
    np.testing.assert_allclose(em.model.transition, truth.transition, atol=0.03)
    np.testing.assert_allclose(em.model.process_noise, truth.process_noise, atol=0.05)
    np.testing.assert_allclose(em.model.observation_noise, truth.observation_noise, atol=0.05)
    at_the_truth = jnp.sum(jax.vmap(tracking.KalmanFilter(truth))(ys).log_likelihood)
    assert em.log_likelihoods[-1] > at_the_truth


def test_what_has_no_closed_form_or_no_data_is_refused():
    ys = observations()[None]
    fit = tracking.expectation_maximisation
    with pytest.raises(TypeError, match="expected a LinearGaussian model, got NonlinearGaussian"):
        fit(nonlinear(), ys, steps=1)
    with pytest.raises(ValueError, match="transition of the model varies in time"):
        fit(linear(transition=tracking.TimeVarying(jnp.ones((6, 2, 2)))), ys, steps=1)
    with pytest.raises(ValueError, match="expected steps of at least 1, got 0"):
        fit(linear(), ys, steps=0)
    with pytest.raises(ValueError, match=r"cannot learn \['noise'\]. Name some of transition"):
        fit(linear(), ys, steps=1, learn=["noise"])
    with pytest.raises(ValueError, match="cannot learn nothing"):
        fit(linear(), ys, steps=1, learn=[])
    with pytest.raises(ValueError, match=r"expected observations \[runs time observation\], got shape \(6, 3\)"):
        fit(linear(), observations(), steps=1)
    with pytest.raises(ValueError, match="sequence 1 is not valid: 1 values of the observation are not finite"):
        fit(linear(), jnp.concatenate([ys, ys.at[0, 0, 0].set(jnp.nan)]), steps=1)
    with pytest.raises(ValueError, match="the log-likelihood is not finite after 0 steps"):
        fit(linear(observation_noise=jnp.zeros((3, 3))), ys, steps=1)
