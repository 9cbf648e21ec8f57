"""Whether a filter's covariances are right: normalised errors, and their chi-square test."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import gammaincinv

from .estimates import Estimates
from .kalman_gain import whitener_of


class Consistency(NamedTuple):
    """The test of normalised squares; made by `consistency`.

    Attributes:
        average: their average for each degree of freedom, about one for a consistent filter, `[*shape]`.
        lower: the lower end of the interval in which it lies with the given confidence, `[*shape]`.
        upper: the upper end.
    """

    average: Any
    lower: Any
    upper: Any

    @property
    def consistent(self) -> Any:
        """Whether the average lies in the interval, `[*shape]`."""
        return (self.lower <= self.average) & (self.average <= self.upper)


def normalised_estimation_error_squared(
    estimates: Estimates, states: Float[Array, "*time state"]
) -> Float[Array, "*time"]:
    r"""The squared error in units of the covariance that the filter claims, $(\hat s - s)^\top P^{-1} (\hat s - s)$.

    Of a consistent filter it is $\chi^2$ with as many degrees of freedom as the state has components.

    Args:
        estimates: of a filter or a smoother, with covariances; any leading axes.
        states: the true states, `[*time state]`.

    Returns:
        `[*time]`; NaN where a covariance is singular.

    Raises:
        ValueError: for estimates without covariances, or states of another shape.

    >>> import jax.numpy as jnp
    >>> from mbdl import tracking
    >>> model = tracking.LinearGaussian(
    ...     transition=jnp.eye(1), observation=jnp.eye(1), process_noise=jnp.zeros((1, 1)),
    ...     observation_noise=jnp.eye(1), initial_mean=jnp.zeros(1), initial_covariance=jnp.eye(1),
    ... )
    >>> estimates = tracking.KalmanFilter(model)(jnp.array([[2.0]]))
    >>> tracking.normalised_estimation_error_squared(estimates, jnp.array([[3.0]])).round(3).tolist()
    [8.0]
    """
    what = "normalised_estimation_error_squared"
    if estimates.covariance is None:
        raise ValueError(f"{what}: the estimates have no covariance. Use a filter or a gain that computes one")
    if jnp.shape(states) != estimates.mean.shape:
        raise ValueError(f"{what}: expected states of shape {estimates.mean.shape}, got {jnp.shape(states)}")

    def square(error: Array, covariance: Array) -> Array:
        return jnp.sum((whitener_of(covariance) @ error) ** 2)

    return jnp.vectorize(square, signature="(n),(n,n)->()")(estimates.mean - states, estimates.covariance)


def consistency(squares: Any, degrees: Any, *, confidence: float = 0.95) -> Consistency:
    r"""The chi-square test of normalised squared innovations (NIS) or estimation errors (NEES).

    Averages are over the leading axis, whose entries have to be independent. Innovations of a consistent filter are
    independent over time; errors are not, so that they are averaged over runs, for each time. The sum of $K$ values
    with $d$ degrees of freedom each is $\chi^2$ with $K d$, which gives the interval. An average above it tells that
    the filter trusts itself too much, one below it too little.

    Args:
        squares: `[independent *shape]`: `estimates.normalised_innovation_squared`, or what
            `normalised_estimation_error_squared` returned. Concrete: the test is no part of a compiled function.
        degrees: the degrees of freedom of each: the number of observed components (or of states), a number, or
            `[independent *shape]` where some are missing.
        confidence: the probability that a consistent filter passes, between zero and one.

    Returns:
        a `Consistency`; its `consistent` says whether the test is passed.

    Raises:
        ValueError: for a confidence out of its range, degrees of another shape, or no degrees of freedom at all.

    Source: Y. Bar-Shalom, X. R. Li and T. Kirubarajan, "Estimation with applications to tracking and navigation",
    Wiley, 2001.

    >>> import jax
    >>> from mbdl import tracking
    >>> squares = jax.random.chisquare(jax.random.key(0), 3, shape=(1000,))
    >>> bool(tracking.consistency(squares, 3).consistent), bool(tracking.consistency(2 * squares, 3).consistent)
    (True, False)
    """
    squares, degrees = np.asarray(squares, np.float64), np.asarray(degrees, np.float64)
    if not 0 < confidence < 1:
        raise ValueError(f"consistency: expected a confidence between 0 and 1, got {confidence!r}")
    if squares.ndim < 1 or degrees.shape not in ((), squares.shape):
        raise ValueError(
            f"consistency: expected squares [independent ...] and degrees a number or of the same shape, got shapes "
            f"{squares.shape} and {degrees.shape}"
        )
    total = np.sum(np.broadcast_to(degrees, squares.shape), axis=0)
    if not np.all(total > 0):
        raise ValueError("consistency: there are no degrees of freedom to test. Leave out times without observations")
    lower, upper = (2 * gammaincinv(total / 2, p) / total for p in ((1 - confidence) / 2, (1 + confidence) / 2))
    return Consistency(np.sum(squares, axis=0) / total, lower, upper)
