"""The Rauch-Tung-Striebel smoother in parallel over time."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .covariance import Factor, dense
from .filter import AbstractFilter
from .inputs import Moment, as_inputs
from .linear import LinearGaussian
from .parallel_kalman import ParallelKalmanFilter
from .rts import filtered_with_factors, joint_factor
from .smoother import AbstractSmoother, Smoothed, as_filter, assembled, estimates_before
from .smoother_gain import regression, regression_by_factors, through_regression


class ParallelRTSSmoother(AbstractSmoother):
    r"""The Rauch-Tung-Striebel smoother in a number of parallel steps that grows with $\log T$: what `RTSSmoother`
    returns, by an associative scan over the regressions of each state on the next one,
    $$p(s_t \mid s_{t+1}, y_1, \dots, y_t)
    = N(\hat s_t + G_t (s_{t+1} - \hat s^-_{t+1}), \; P_t - G_t C_{t+1}^\top).$$

    Args:
        model_or_filter: a `LinearGaussian`, for which the filter is parallel too (`ParallelKalmanFilter`); or a filter
            or another model, for which the way back alone is.

    Raises:
        TypeError: for what is no model and no filter, or, when it runs, a filter that knows no covariances.
        ValueError: when it runs, as the filter does.

    Differentiable in: the observations, the controls, and every array of the filter.

    Source: S. Särkkä and Á. F. García-Fernández, "Temporal parallelization of Bayesian smoothers", IEEE Transactions on
    Automatic Control 66, 2021.

    >>> import jax.numpy as jnp
    >>> from mbdl import tracking
    >>> model = tracking.LinearGaussian(
    ...     transition=jnp.eye(1), observation=jnp.eye(1), process_noise=jnp.zeros((1, 1)),
    ...     observation_noise=jnp.eye(1), initial_mean=jnp.zeros(1), initial_covariance=jnp.eye(1),
    ... )
    >>> smoothed = tracking.ParallelRTSSmoother(model)(jnp.array([[2.0], [4.0], [2.0]]))
    >>> [f"{mean:.2f}" for mean in smoothed.mean[:, 0]]
    ['2.00', '2.00', '2.00']
    """

    filter: AbstractFilter

    def __init__(self, model_or_filter: Any):
        linear = isinstance(model_or_filter, LinearGaussian)
        self.filter = (
            ParallelKalmanFilter(model_or_filter) if linear else as_filter(model_or_filter, "ParallelRTSSmoother")
        )

    def decide(self, xs: Any) -> Smoothed:
        model, inputs = self.filter.model, as_inputs(xs)
        filtered, factors = filtered_with_factors(self.filter, xs)
        mean, covariance = estimates_before(model, filtered)
        if covariance is None:
            raise TypeError(
                "ParallelRTSSmoother: the gain of the filter gives no covariances, from which the way back is "
                "computed. Give it a readout (tracking.WithCovariance), or use tracking.RTSSmoother with a learned "
                "smoother gain"
            )
        if factors is None:
            G, rest = jax.vmap(regression)(covariance, filtered.predicted_covariance, filtered.cross_covariance)
            last = filtered.covariance
        else:
            moments = Moment(jnp.arange(len(mean)), inputs.control, inputs.duration)
            joint = jax.vmap(lambda *at: joint_factor(model, *at))(mean, factors[:-1], moments)
            (G, rest), last = jax.vmap(regression_by_factors)(joint), jax.vmap(Factor)(factors[-1:])
        # The last element is the filter's estimate, which regresses on nothing.
        gains = jnp.concatenate([G, jnp.zeros_like(G[:1])])
        offsets = jnp.concatenate([mean - jnp.einsum("tij,tj->ti", G, filtered.predicted_mean), filtered.mean[-1:]])
        spreads = jax.tree.map(lambda every, of_last: jnp.concatenate([every, of_last[-1:]]), rest, last)
        _, means, spreads = jax.lax.associative_scan(jax.vmap(_composed), (gains, offsets, spreads), reverse=True)
        covariances = jax.vmap(dense)(spreads)
        cross = covariances[1:] @ jnp.swapaxes(G, 1, 2)
        return assembled(filtered, means[0], means[1:-1], covariances[0], covariances[1:], cross)


def _composed(late: tuple[Array, Array, Any], early: tuple[Array, Array, Any]) -> tuple[Array, Array, Any]:
    """The regression of an early state on a late one, through one between them."""
    G, offset, spread = early
    further, late_offset, late_spread = late
    return G @ further, G @ late_offset + offset, through_regression(G, spread, late_spread)
