"""The Rauch-Tung-Striebel smoother against the dense joint posterior, and around other filters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tracking.joint import posterior
from tracking.rules import badly_scaled, inputs, linear, nonlinear, observations

import mbdl
from mbdl import tracking


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def _cases():
    steps = 6
    varying = tracking.TimeVarying(0.7 * jax.random.normal(jax.random.key(20), (steps, 2, 2)))
    still = jnp.asarray([[1.0, 0.5], [0.0, 1.0]])
    return {
        "plain": (linear(), tracking.Inputs(observations())),
        "control": (linear(control=jnp.eye(2)), tracking.Inputs(observations(), inputs().control)),
        "at, with control": (
            linear(control=jnp.eye(2), starts="at"),
            tracking.Inputs(observations(), inputs().control),
        ),
        "gaps and control": (linear(control=jnp.eye(2)), inputs()),
        "at, with gaps and control": (linear(control=jnp.eye(2), starts="at"), inputs()),
        "varying": (linear(transition=varying), tracking.Inputs(observations(), present=inputs().present)),
        "known initial state": (linear(initial_covariance=jnp.zeros((2, 2))), tracking.Inputs(observations())),
        "a state without noise, initially known": (
            linear(
                transition=still,
                process_noise=jnp.diag(jnp.asarray([0.3, 0.0])),
                initial_covariance=jnp.diag(jnp.asarray([1.0, 0.0])),
            ),
            tracking.Inputs(observations()),
        ),
        "states on a line": (
            linear(
                transition=jnp.outer(jnp.asarray([0.3, 0.7]), jnp.asarray([1.1, 0.4])),
                process_noise=tracking.Factor(jnp.asarray([[0.3], [0.7]])),
            ),
            tracking.Inputs(observations()),
        ),
        "one observation": (linear(), tracking.Inputs(observations()[:1])),
        "no noise at all": (linear(process_noise=tracking.Factor(jnp.zeros((2, 1)))), tracking.Inputs(observations())),
    }


CASES = ["plain", "control", "at, with control", "gaps and control", "at, with gaps and control", "varying"]
CASES += ["known initial state", "a state without noise, initially known", "one observation", "no noise at all"]
CASES += ["states on a line"]


@pytest.mark.parametrize("gain", [tracking.KalmanGain, tracking.SquareRootGain])
@pytest.mark.parametrize("case", CASES)
def test_it_is_the_posterior_of_the_joint_gaussian(case, gain):
    model, xs = _cases()[case]
    smoothed = tracking.RTSSmoother(tracking.KalmanFilter(model, gain()))(xs)
    mean, covariance, likelihood = posterior(model, xs.observation, xs.present, xs.control)
    steps = range(1, len(mean))
    close = {"rtol": 0, "atol": 1e-10}
    np.testing.assert_allclose(smoothed.mean, mean[1:], **close)
    np.testing.assert_allclose(smoothed.initial_mean, mean[0], **close)
    np.testing.assert_allclose(smoothed.covariance, [covariance[t, :, t] for t in steps], **close)
    np.testing.assert_allclose(smoothed.initial_covariance, covariance[0, :, 0], **close)
    np.testing.assert_allclose(smoothed.cross_covariance, [covariance[t, :, t - 1] for t in steps], **close)
    np.testing.assert_allclose(jnp.sum(smoothed.filtered.log_likelihood), likelihood, **close)


class Watching(tracking.RTSGain):
    """The gain of the smoother, of which the smoother does not know that it is determined beforehand."""

    predetermined = False


@pytest.mark.parametrize("case", ["control", "at, with control"])
def test_one_product_a_step_is_the_way_back(case):
    model, xs = _cases()[case]
    found, expected = (tracking.RTSSmoother(model, gain)(xs) for gain in (tracking.RTSGain(), Watching()))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12), found, expected)


def test_it_smooths_around_any_filter():
    model, ys = linear(), observations()
    expected = tracking.RTSSmoother(model)(ys)
    filters = (
        tracking.KalmanFilter(model, tracking.SquareRootGain()),
        tracking.ExtendedKalmanFilter(model),
        tracking.UnscentedKalmanFilter(model),
    )
    for kf in filters:
        smoothed = tracking.RTSSmoother(kf)(ys)
        np.testing.assert_allclose(smoothed.mean, expected.mean, atol=1e-10)
        np.testing.assert_allclose(smoothed.covariance, expected.covariance, atol=1e-10)


MAPS = {
    "a large direction that is seen": ([[1.0, 0.3]], [[1.0, 0.5], [0.0, 1.0]]),
    "a large direction that is not seen": ([[-0.6, 0.8]], [[0.9, 0.0], [0.0, 0.9]]),
}


@pytest.mark.parametrize("make", [tracking.RTSSmoother, tracking.ParallelRTSSmoother])
@pytest.mark.parametrize("case", MAPS)
def test_behind_the_square_root_form_it_holds_a_condition_of_1e10_in_single_precision(case, make):
    observation, transition = MAPS[case]
    ys = np.random.default_rng(1).normal(size=(20, 1))

    def smoothed(dtype):
        maps = {"observation": jnp.asarray(observation, dtype), "transition": jnp.asarray(transition, dtype)}
        kf = tracking.KalmanFilter(badly_scaled(dtype, **maps), tracking.SquareRootGain())
        return make(kf)(jnp.asarray(ys, dtype))

    found, exact = smoothed(jnp.float32), smoothed(jnp.float64)
    every = [jnp.concatenate([s.initial_covariance[None], s.covariance]) for s in (found, exact)]
    scale = jnp.sqrt(jnp.diagonal(every[1], axis1=1, axis2=2))
    relative = [P.astype(jnp.float64) / (scale[:, :, None] * scale[:, None, :]) for P in every]
    # A factor of condition 1e5 is known to 1e5 times the precision of float32, and its square to twice that.
    precision = float(jnp.finfo(jnp.float32).eps)
    np.testing.assert_allclose(*relative, rtol=0, atol=2e5 * precision)
    # The square of a factor is semidefinite but for the rounding of its entries.
    assert float(jnp.min(jnp.linalg.eigvalsh(relative[0]))) > -2 * precision
    cross = (found.cross_covariance - exact.cross_covariance) / (scale[1:, :, None] * scale[:-1, None, :])
    np.testing.assert_allclose(cross, 0, atol=2e5 * precision)
    means = [jnp.concatenate([s.initial_mean[None], s.mean]) for s in (found, exact)]
    np.testing.assert_allclose((means[0] - means[1]) / scale, 0, atol=2e5 * precision)
    assert found.initial_covariance.dtype == found.covariance.dtype == found.mean.dtype == jnp.float32


class Squares(tracking.RTSGain):
    """The gain of the smoother, of which it is not told that the filter holds factors."""

    def ahead(self, model, mean, covariance, following, joint=None):
        assert joint is not None
        return tracking.RTSGain().ahead(model, mean, covariance, following)


def test_a_gain_that_holds_no_factors_goes_behind_a_filter_that_does():
    kf = tracking.KalmanFilter(linear(), tracking.SquareRootGain())
    found, expected = tracking.RTSSmoother(kf, Squares())(observations()), tracking.RTSSmoother(kf)(observations())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11), found, expected)


def test_of_a_nonlinear_model_it_is_nearer_to_the_states_than_the_filter():
    model = nonlinear(process_noise=0.1 * jnp.eye(2), observation_noise=0.1 * jnp.eye(3))
    ys, states = tracking.simulate(model, jax.random.key(0), steps=30, runs=200)
    smoothed = jax.vmap(tracking.RTSSmoother(model))(ys)
    errors = [np.mean((estimate - states) ** 2, axis=(1, 2)) for estimate in (smoothed.filtered.mean, smoothed.mean)]
    gain = errors[0] - errors[1]
    assert np.mean(gain) > 5 * np.std(gain) / np.sqrt(len(gain))


class _Constant(tracking.AbstractSmootherGain):
    """A gain that counts its calls, knows no covariance, and keeps what it was shown."""

    value: jax.Array

    def init(self, model):
        return jnp.zeros((), jnp.int32)

    def __call__(self, model, memory, features):
        shown = features.later - features.smoothed + 0 * features.transition[0]
        return self.value * jnp.eye(2) + 0 * shown[0], None, memory + 1


def test_a_gain_without_covariances_stands_in():
    rule = tracking.RTSSmoother(linear())
    learned = mbdl.substitute(rule, lambda r: r.gain, _Constant(jnp.asarray(0.0)))
    smoothed = learned(observations())
    np.testing.assert_allclose(smoothed.mean, smoothed.filtered.mean)
    assert smoothed.covariance is None
    assert smoothed.cross_covariance is None
    moving = mbdl.substitute(rule, lambda r: r.gain, _Constant(jnp.asarray(0.5)))(observations())
    mean, filtered = moving.mean, moving.filtered
    np.testing.assert_allclose(mean[-2], filtered.mean[-2] + 0.5 * (mean[-1] - filtered.predicted_mean[-1]))


def test_what_a_gain_is_shown():
    shown = []

    class Spy(tracking.AbstractSmootherGain):
        def init(self, model):
            return None

        def __call__(self, model, memory, features):
            jax.debug.callback(lambda f: shown.append(f), features)
            return tracking.RTSGain()(model, memory, features)

        def ahead(self, model, mean, covariance, following, joint=None):
            return tracking.RTSGain().ahead(model, mean, covariance, following, joint)

    smoothed = tracking.RTSSmoother(linear(), Spy())(observations())
    jax.effects_barrier()
    ordered = sorted(shown, key=lambda f: float(np.abs(f.smoothed - smoothed.mean[-1]).sum()))
    last = ordered[0]
    filtered = smoothed.filtered
    np.testing.assert_allclose(last.filtered, filtered.mean[-2])
    np.testing.assert_allclose(last.next_filtered, filtered.mean[-1])
    np.testing.assert_allclose(last.predicted, filtered.predicted_mean[-1])
    np.testing.assert_allclose(last.later - last.smoothed, filtered.mean[-1] - filtered.predicted_mean[-1])
    second = next(f for f in shown if np.allclose(f.smoothed, smoothed.mean[-2]))
    np.testing.assert_allclose(second.later, smoothed.mean[-1])


def test_what_cannot_be_smoothed_is_refused():
    with pytest.raises(TypeError, match="RTSSmoother: expected a state-space model or a filter"):
        tracking.RTSSmoother(jnp.eye(2))

    class Fixed(tracking.AbstractGain):
        def init(self, model):
            return None

        def __call__(self, model, memory, innovation, features):
            return jnp.zeros((2, 3)), None, None

    with pytest.raises(TypeError, match="gives no covariances"):
        tracking.RTSSmoother(tracking.KalmanFilter(linear(), Fixed()))(observations())
    with pytest.raises(ValueError, match="all observations are missing"):
        tracking.RTSSmoother(linear())(tracking.Inputs(observations(), present=jnp.zeros(6, bool)))
    with pytest.raises(ValueError, match="first at step 0 of 6. The covariance of an innovation is singular"):
        tracking.RTSSmoother(linear(observation_noise=jnp.zeros((3, 3))))(observations())
