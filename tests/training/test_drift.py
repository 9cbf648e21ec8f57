"""Drift detectors: their rate of false alarms and their delay, against theory and published values."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from mbdl.training.drift import CumulativeSum, PageHinkley, mean_run_length

NORMAL = np.asarray(jax.random.normal(jax.random.key(0), (2000, 600)))


@jax.jit
def run_lengths(detector, scores):
    """After how many scores each run alarms, the number of scores where it does not."""

    def one(scores):
        _, alarms = jax.lax.scan(lambda state, score: detector.update(state, score), detector.init(), scores)
        return jnp.where(jnp.any(alarms), jnp.argmax(alarms) + 1, len(scores))

    return jax.vmap(one)(scores)


@pytest.mark.parametrize(
    ("threshold", "rise", "published"),
    [(4, 0.0, 336), (5, 0.0, 930), (4, 1.0, 8.38), (5, 1.0, 10.4), (4, 2.0, 3.34), (5, 2.0, 4.01)],
)
def test_the_run_length_is_the_published_one(threshold, rise, published):
    # D. C. Montgomery's table for the two-sided test, of which two one-sided ones without a rise are half as long.
    np.testing.assert_allclose(mean_run_length(0.5, threshold, rise), published, rtol=3e-3)


@pytest.mark.parametrize(
    ("detector", "scores", "begins"),
    [
        (CumulativeSum(0.0, 1.0, threshold=3.0), NORMAL, 0),
        (PageHinkley(threshold=3.0), 7 + 3 * NORMAL, 2),
        (PageHinkley(threshold=3.0, warm_up=10), NORMAL, 10),
    ],
    ids=["known baseline", "running baseline", "warm-up"],
)
def test_the_rate_of_false_alarms_is_the_documented_one(detector, scores, begins):
    lengths = np.asarray(run_lengths(detector, scores))
    expected = mean_run_length(0.5, 3.0) + begins  # 118; runs of 600 are cut short with a probability of e^-5
    assert abs(np.mean(lengths) - expected) < 3 * np.std(lengths) / math.sqrt(len(lengths)) + 600 * math.exp(-5) / 5


def test_the_delay_is_that_of_theory_after_a_long_baseline():
    rising = NORMAL[:, :300].copy()
    rising[:, 200:] += 2.0
    calm = np.asarray(run_lengths(PageHinkley(threshold=8.0), rising)) > 200
    delays = np.asarray(run_lengths(PageHinkley(threshold=8.0), rising))[calm] - 200
    # The statistic begins above zero and the baseline follows the rise a little: within a score of the theory.
    assert np.mean(calm) > 0.9
    assert abs(np.mean(delays) - mean_run_length(0.5, 8.0, 2.0)) < 1.0
    assert np.mean(np.asarray(run_lengths(PageHinkley(threshold=8.0), NORMAL[:, :300])) == 300) > 0.9


def test_the_statistic_is_that_of_the_definition(x64):
    scores, total = 3 + 2 * NORMAL[0, :40].astype(float), 0.0
    scores[30:] += 3.0
    detector = PageHinkley(tolerance=0.3, threshold=4.0, warm_up=3)
    state = detector.init()
    for t, score in enumerate(scores):
        state, alarm = detector.update(state, score)
        if t >= 3:
            before = scores[:t]
            r = (score - before.mean()) / (before.std(ddof=1) * math.sqrt(1 + 1 / t))
            z = scipy.special.ndtri(scipy.stats.t.cdf(r, t - 1))
            total = max(0.0, total + min(max(z, -6.0), 6.0) - 0.3)
        np.testing.assert_allclose(state.sum, total, rtol=1e-8, atol=1e-8)
        assert bool(alarm) == (total > 4.0)
    assert total > 4.0


def test_scores_without_spread_and_an_infinite_threshold():
    flat = jnp.ones((1, 20))
    assert int(run_lengths(PageHinkley(), flat)[0]) == 20
    assert int(run_lengths(PageHinkley(), flat.at[0, 10:].set(1.5))[0]) == 11
    assert int(run_lengths(PageHinkley(threshold=math.inf), flat.at[0, 10:].set(9.0))[0]) == 20


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PageHinkley(tolerance=-1.0), "tolerance of at least 0"),
        (lambda: PageHinkley(threshold=0.0), "threshold above 0"),
        (lambda: PageHinkley(warm_up=1), "warm_up of at least 2"),
        (lambda: CumulativeSum(0.0, 0.0), "deviation must be positive"),
        (lambda: CumulativeSum(math.nan, 1.0), "mean must be finite"),
        (lambda: CumulativeSum(0.0, 1.0, threshold=math.nan), "threshold above 0"),
        (lambda: mean_run_length(0.5, math.inf), "a finite threshold above 0"),
    ],
)
def test_what_is_given_wrong_is_an_error(make, message):
    with pytest.raises(ValueError, match=message):
        make()
