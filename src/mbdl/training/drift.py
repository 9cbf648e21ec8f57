"""Drift detectors: sequential tests of whether a score has risen, with a known rate of false alarms."""

import abc
import math
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import betainc, ndtri
from jaxtyping import Array, Bool, Float, Int

from mbdl.core import as_leaf
from mbdl.core.checks import finite, floating, positive

MOST = 6.0  # standard deviations that one score counts at most: one outlier is no reason for float32 to overflow


class AbstractDetector(eqx.Module):
    """A sequential test on a stream of scores, of which lower is better."""

    @abc.abstractmethod
    def init(self) -> Any:
        """The state before the first score."""

    @abc.abstractmethod
    def update(self, state: Any, score: Float[Array, ""]) -> tuple[Any, Bool[Array, ""]]:
        """The state after one more score, and whether there is an alarm; whoever acts on it begins again at `init`."""


class CumulativeSum(AbstractDetector):
    r"""Page's test for a rise of the mean over a baseline that is known,
    $$g_t = \max\Bigl(0, \; g_{t-1} + \frac{x_t - \mu}{\sigma} - k\Bigr), \qquad g_0 = 0, \qquad
    \text{alarm when } g_t > h.$$

    For independent normal scores without drift, $1/$`mean_run_length(k, h)` is the rate of false alarms: one in 931
    scores with the defaults. Scores with a heavier upper tail alarm more often (measured: one in 148 for squares of
    normal numbers, one in 483 for the mean of 30 such): give their logarithm, or a higher threshold.

    Args:
        mean: $\mu$ of the scores without drift.
        deviation: $\sigma > 0$, their standard deviation.
        tolerance: $k \ge 0$ in standard deviations, half the rise that is to be found.
        threshold: $h > 0$ in standard deviations; infinity never alarms.

    Raises:
        ValueError: for a mean that is not finite, or a deviation, tolerance or threshold out of range.

    Differentiable in: nothing; an alarm is a decision.

    Source: E. S. Page, "Continuous inspection schemes", Biometrika 41, 1954.

    >>> import jax, jax.numpy as jnp
    >>> detector = CumulativeSum(0.0, 1.0)
    >>> scores = jnp.array([0.0, 1.0, 3.0, 3.0, 3.0])
    >>> jax.lax.scan(lambda s, x: detector.update(s, x), detector.init(), scores)[1].tolist()
    [False, False, False, True, True]
    """

    mean: Float[Array, ""]
    deviation: Float[Array, ""]
    tolerance: Float[Array, ""]
    threshold: Float[Array, ""]

    def __init__(self, mean: Any, deviation: Any, *, tolerance: Any = 0.5, threshold: Any = 5.0):
        self.mean = finite(floating(as_leaf(mean)), "CumulativeSum: the mean")
        self.deviation = positive(floating(as_leaf(deviation)), "CumulativeSum: the deviation")
        self.tolerance, self.threshold = _checked(tolerance, threshold, "CumulativeSum")

    def init(self) -> Float[Array, ""]:
        return jnp.zeros(())

    def update(self, state: Float[Array, ""], score: Any) -> tuple[Float[Array, ""], Bool[Array, ""]]:
        standardised = jnp.clip((jnp.asarray(score) - self.mean) / self.deviation, -MOST, MOST)
        return _page(state, standardised, self.tolerance, self.threshold)


class Baseline(NamedTuple):
    """What `PageHinkley` carries.

    Attributes:
        sum: Page's statistic $g_t$.
        count: how many scores there were.
        mean: their mean.
        squares: the sum of their squared deviations from it.
    """

    sum: Float[Array, ""]
    count: Int[Array, ""]
    mean: Float[Array, ""]
    squares: Float[Array, ""]


class PageHinkley(AbstractDetector):
    r"""Page's test for a rise of the mean over the running baseline: that of all scores before,
    $$r_t = \frac{x_t - \bar x_{t-1}}{\sigma_{t-1} \sqrt{1 + 1/(t-1)}}, \qquad z_t = \Phi^{-1}(F_{t-2}(r_t)), \qquad
    g_t = \max(0, \; g_{t-1} + z_t - k), \qquad \text{alarm when } g_t > h,$$
    with the mean $\bar x_{t-1}$ and the standard deviation $\sigma_{t-1}$ of the scores before, and Student's
    distribution $F_n$ with $n$ degrees of freedom.

    Nothing need be known of the scores: where they are independent and normal without drift, the $r_t$ are independent
    and have Student's distribution whatever their mean and variance, so that the $z_t$ are independent and standard
    normal. The rate of false alarms is then exactly that of a known baseline, $1/$`mean_run_length(k, h)` a score: one
    in 931 with the defaults. Where scores have a heavier upper tail, see `CumulativeSum`.

    A baseline of few scores tells little: a rise is found the sooner, the more scores there were before. The
    mean follows a rise that is not found.

    Args:
        tolerance: $k \ge 0$ in standard deviations, half the rise that is to be found.
        threshold: $h > 0$ in standard deviations; infinity never alarms.
        warm_up: how many scores only make the baseline, at least 2.

    Raises:
        ValueError: for a tolerance, threshold or warm-up out of range.

    Differentiable in: nothing; an alarm is a decision.

    Source: E. S. Page, "Continuous inspection schemes", Biometrika 41, 1954.

    >>> import jax, jax.numpy as jnp
    >>> detector = PageHinkley()
    >>> scores = jnp.array([0.9, 1.1, 1.0, 0.9, 1.1, 1.0, 2.0, 2.1, 2.0])
    >>> jax.lax.scan(lambda s, x: detector.update(s, x), detector.init(), scores)[1].tolist()
    [False, False, False, False, False, False, False, False, True]
    """

    tolerance: Float[Array, ""]
    threshold: Float[Array, ""]
    warm_up: int = eqx.field(static=True)

    def __init__(self, *, tolerance: Any = 0.5, threshold: Any = 5.0, warm_up: int = 2):
        self.tolerance, self.threshold = _checked(tolerance, threshold, "PageHinkley")
        if isinstance(warm_up, bool) or not isinstance(warm_up, int) or warm_up < 2:
            raise ValueError(f"PageHinkley: expected a warm_up of at least 2 scores, got {warm_up!r}")
        self.warm_up = warm_up

    def init(self) -> Baseline:
        return Baseline(jnp.zeros(()), jnp.zeros((), jnp.int32), jnp.zeros(()), jnp.zeros(()))

    def update(self, state: Baseline, score: Any) -> tuple[Baseline, Bool[Array, ""]]:
        known, change = state.count >= self.warm_up, jnp.asarray(score) - state.mean
        count = state.count.astype(state.mean.dtype)
        freedom = jnp.maximum(count - 1, 1)
        variance = state.squares / freedom * (1 + 1 / jnp.maximum(count, 1))
        # Scores that were all equal have no spread: any rise is then as large as one may count.
        square = jnp.where(variance > 0, change**2 / jnp.where(variance > 0, variance, 1.0), jnp.inf)
        tail = 0.5 * betainc(freedom / 2, 0.5, jnp.where(change == 0, 1.0, freedom / (freedom + square)))
        z = -jnp.sign(change) * jnp.maximum(ndtri(tail), -MOST)
        total, alarm = _page(state.sum, jnp.where(known, z, 0.0), self.tolerance, self.threshold)
        mean = state.mean + change / (count + 1)
        squares = state.squares + change**2 * count / (count + 1)
        return Baseline(jnp.where(known, total, 0.0), state.count + 1, mean, squares), alarm & known


def mean_run_length(tolerance: float, threshold: float, rise: float = 0.0) -> float:
    r"""How many scores Page's test sees on average until it alarms, for independent normal scores: without a rise, the
    time between false alarms; with one, the delay until it is found. The solution of
    $$N(z) = 1 + N(0) \, \Phi(k - z - \delta) + \int_0^h N(x) \, \varphi(x + k - z - \delta) \, dx, \qquad z = 0,$$
    by Gauss's quadrature.

    Args:
        tolerance: $k \ge 0$.
        threshold: $h > 0$, finite.
        rise: $\delta$ in standard deviations, from the first score on.

    Returns:
        $N(0)$, a number of scores.

    Raises:
        ValueError: for a tolerance or a threshold out of range.

    Source: E. S. Page, "Continuous inspection schemes", Biometrika 41, 1954.

    >>> [round(mean_run_length(0.5, 5.0, rise)) for rise in (0.0, 1.0, 2.0)]
    [931, 10, 4]
    """
    if not 0 <= tolerance < math.inf or not 0 < threshold < math.inf:
        raise ValueError(
            f"mean_run_length: expected a tolerance of at least 0 and a finite threshold above 0, got {tolerance!r} "
            f"and {threshold!r}"
        )
    nodes, weights = np.polynomial.legendre.leggauss(64)
    places = np.concatenate([[0.0], 0.5 * threshold * (nodes + 1)])
    shift = tolerance - rise - places
    density = np.exp(-0.5 * (places[1:] + shift[:, None]) ** 2) / math.sqrt(2 * math.pi)
    to_zero = np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in shift])
    kernel = np.concatenate([to_zero[:, None], 0.5 * threshold * weights * density], axis=1)
    return float(np.linalg.solve(np.eye(len(places)) - kernel, np.ones(len(places)))[0])


def _page(total: Array, z: Array, tolerance: Array, threshold: Array) -> tuple[Array, Array]:
    total = jnp.maximum(0.0, total + z - tolerance).astype(total.dtype)
    return total, total > threshold


def _checked(tolerance: Any, threshold: Any, what: str) -> tuple[Array, Array]:
    if not 0 <= tolerance < math.inf:
        raise ValueError(f"{what}: expected a tolerance of at least 0 standard deviations, got {tolerance!r}")
    if not threshold > 0:
        raise ValueError(f"{what}: expected a threshold above 0 standard deviations, got {threshold!r}")
    return floating(as_leaf(tolerance)), floating(as_leaf(threshold))
