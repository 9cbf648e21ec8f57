"""The extended Kalman filter of a nonlinear Gaussian model."""

from collections.abc import Callable
from typing import Any

import equinox as eqx

from .estimates import Estimates
from .filter import AbstractFilter
from .gain import AbstractGain
from .kalman import KalmanFilter
from .kalman_gain import KalmanGain
from .linear import LinearGaussian
from .linearised import FilterMemory, first_memory, linearised_step
from .model import AbstractModel
from .whole_sequence import filtered_through


class ExtendedKalmanFilter(AbstractFilter):
    r"""The extended Kalman filter: the Kalman filter of the model linearised at the estimates,
    $$\hat s^-_t = f(\hat s_{t-1}), \qquad \hat s_t = \hat s^-_t + K_t (y_t - h(\hat s^-_t)),$$
    with the gain of $F_t = \partial f / \partial s$ at $\hat s_{t-1}$ and $H_t = \partial h / \partial s$ at
    $\hat s^-_t$.

    With `iterations` above one it is the iterated filter: $h$ is linearised again at the estimate that it led to, which
    is Gauss and Newton's method for the mode of the posterior.

    Args:
        model: any model of this package.
        gain: what weighs the innovations; `KalmanGain()` by default.
        iterations: how often the observation is linearised, at least once.

    Raises:
        ValueError: for fewer than one iteration; when it runs, as `KalmanFilter` does.

    Differentiable in: the observations, the controls, and every array of the model and of the gain.

    Source: A. H. Jazwinski, "Stochastic processes and filtering theory", Academic Press, 1970; B. M. Bell and F. W.
    Cathey, "The iterated Kalman filter update as a Gauss-Newton method", IEEE Transactions on Automatic Control 38,
    1993.

    >>> import jax.numpy as jnp
    >>> from mbdl import tracking
    >>> model = tracking.NonlinearGaussian(
    ...     transition=lambda s, moment: s, observation=lambda s, moment: s**3, process_noise=jnp.zeros((1, 1)),
    ...     observation_noise=jnp.eye(1), initial_mean=jnp.ones(1), initial_covariance=jnp.eye(1),
    ... )
    >>> estimates = tracking.ExtendedKalmanFilter(model, iterations=10)(jnp.full((50, 1), 8.0))
    >>> estimates.mean[-1].round(2).tolist()
    [2.0]
    """

    model: AbstractModel
    gain: AbstractGain
    iterations: int = eqx.field(static=True)

    def __init__(self, model: AbstractModel, gain: AbstractGain | None = None, *, iterations: int = 1):
        if not isinstance(model, AbstractModel):
            raise TypeError(f"ExtendedKalmanFilter: expected a model of mbdl.tracking, got {type(model).__name__}")
        if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 1:
            raise ValueError(f"ExtendedKalmanFilter: expected iterations of at least 1, got {iterations!r}")
        self.model = model
        self.gain = KalmanGain() if gain is None else gain
        self.gain.check(model, "ExtendedKalmanFilter")
        self.iterations = iterations

    def init(self) -> FilterMemory:
        return first_memory(self.model, self.gain)

    def step(self, memory: FilterMemory, x: Any) -> tuple[FilterMemory, Estimates]:
        return linearised_step(self.model, self.gain, memory, x, self.iterations - 1)

    def through(self, memory: FilterMemory, xs: Any) -> tuple[FilterMemory, Estimates]:
        return self.followed(memory, xs, lambda gain: None)[:2]

    def followed(
        self, memory: FilterMemory, xs: Any, keep: Callable[[Any], Any]
    ) -> tuple[FilterMemory, Estimates, Any]:
        """As `through`, with what is kept of the gain's memory after each observation; for authors of smoothers."""
        return filtered_through(self.model, self.gain, memory, xs, keep, self.iterations - 1)


def kalman_filter_of(model: AbstractModel, gain: AbstractGain | None = None) -> KalmanFilter | ExtendedKalmanFilter:
    """The Kalman filter of a linear model, the extended one of another, with `KalmanGain()` or the gain that is given.

    Raises:
        TypeError: for what is no model of this package.

    >>> from mbdl import tracking
    >>> type(tracking.kalman_filter_of(tracking.lorenz(q2=0.1, r2=1.0))).__name__
    'ExtendedKalmanFilter'
    """
    return KalmanFilter(model, gain) if isinstance(model, LinearGaussian) else ExtendedKalmanFilter(model, gain)
