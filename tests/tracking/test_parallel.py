"""The filter and the smoother in parallel over time are the sequential ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tracking.rules import inputs, linear, nonlinear, observations

from mbdl import tracking


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def _equal(actual, expected):
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-10)


def _cases():
    steps = 9
    varying = tracking.TimeVarying(0.7 * jax.random.normal(jax.random.key(20), (steps, 2, 2)))
    gaps = inputs(steps)
    gaps = tracking.Inputs(gaps.observation, gaps.control, gaps.present.at[:3].set(False))
    return {
        "gaps and control": (linear(control=jnp.eye(2)), gaps),
        "at, with gaps and control": (linear(control=jnp.eye(2), starts="at"), gaps),
        "varying": (linear(transition=varying), observations(steps)),
        "singular": (
            linear(process_noise=tracking.Factor(jnp.ones((2, 1))), initial_covariance=jnp.zeros((2, 2))),
            observations(steps),
        ),
    }


@pytest.mark.parametrize("case", ["gaps and control", "at, with gaps and control", "varying", "singular"])
def test_they_are_the_sequential_ones(case):
    model, xs = _cases()[case]
    parallel, sequential = tracking.ParallelRTSSmoother(model)(xs), tracking.RTSSmoother(model)(xs)
    _equal(parallel, sequential)


def test_a_block_goes_on_from_the_memory_of_the_one_before():
    model, xs = _cases()["gaps and control"]
    whole = tracking.KalmanFilter(model)(xs)
    kf = tracking.ParallelKalmanFilter(model)
    first = kf.run(jax.tree.map(lambda leaf: leaf[:4], xs))
    second = kf.run(jax.tree.map(lambda leaf: leaf[4:], xs), first.memory)
    _equal(jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first.output, second.output), whole)


def _known():
    model = linear(starts="at", initial_covariance=jnp.zeros((2, 2)))
    return tracking.KalmanFilter(model, tracking.SquareRootGain())


FILTERS = {
    "unscented": lambda: tracking.UnscentedKalmanFilter(nonlinear()),
    "of square roots": lambda: tracking.ExtendedKalmanFilter(nonlinear(), tracking.SquareRootGain()),
    "of singular square roots": _known,
}


@pytest.mark.parametrize("make", FILTERS.values(), ids=FILTERS.keys())
def test_the_way_back_is_parallel_behind_another_filter(make):
    kf = make()
    _equal(tracking.ParallelRTSSmoother(kf)(observations()), tracking.RTSSmoother(kf)(observations()))


@pytest.mark.parametrize("make", [tracking.ParallelKalmanFilter, tracking.ParallelRTSSmoother])
def test_where_they_fail_they_name_a_filter_that_takes_another_gain(make):
    rule = make(linear(observation_noise=jnp.zeros((3, 3))))
    with pytest.raises(ValueError, match="or use float64 or a filter with tracking.SquareRootGain: this one takes no"):
        rule(observations())


def test_behind_a_gain_without_covariances_the_parallel_smoother_names_what_has_them():
    kf = tracking.KalmanFilter(linear(), tracking.FixedGain(jnp.zeros((2, 3))))
    with pytest.raises(
        TypeError, match=r"ParallelRTSSmoother: the gain of the filter .* use tracking.RTSSmoother with"
    ):
        tracking.ParallelRTSSmoother(kf)(observations())


def test_a_model_that_is_not_linear_is_refused():
    with pytest.raises(TypeError, match="ParallelKalmanFilter: expected a LinearGaussian model"):
        tracking.ParallelKalmanFilter(nonlinear())
    with pytest.raises(TypeError, match="ParallelRTSSmoother: expected a state-space model or a filter"):
        tracking.ParallelRTSSmoother(None)
