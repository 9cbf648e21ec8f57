"""The Kalman filter of a linear Gaussian model."""

from collections.abc import Callable
from typing import Any

from .estimates import Estimates
from .filter import AbstractFilter
from .gain import AbstractGain
from .kalman_gain import KalmanGain
from .linear import LinearGaussian
from .linearised import FilterMemory, first_memory, linearised_step
from .whole_sequence import filtered_through


class KalmanFilter(AbstractFilter):
    r"""The Kalman filter,
    $$\hat s^-_t = F \hat s_{t-1} + B u_t, \qquad \hat s_t = \hat s^-_t + K_t (y_t - H \hat s^-_t),$$
    the minimum mean-square-error estimate for a linear Gaussian model with the gain `KalmanGain()`.

    `kf(ys)` filters a sequence `[time observation]`, or `Inputs` where there are controls, missing observations or
    durations, and returns `Estimates`; `start` and `advance` filter a stream, `run` blocks of one.

    Args:
        model: a `LinearGaussian`.
        gain: what weighs the innovations: `KalmanGain()` by default, another form of it (`SquareRootGain`,
            `InformationGain`, `SteadyStateGain`), or a learned one (`KalmanNet` substitutes it).

    Raises:
        TypeError: for a model that is not linear.
        ValueError: when it runs, for observations of another size than the model's, observations that are not finite
            and not declared missing, none at all, or a singular innovation covariance.

    Differentiable in: the observations, the controls, and every array of the model and of the gain.

    Source: R. E. Kalman, "A new approach to linear filtering and prediction problems", Journal of Basic Engineering 82,
    1960.

    >>> import jax.numpy as jnp, numpy as np
    >>> from mbdl import tracking
    >>> model = tracking.LinearGaussian(
    ...     transition=jnp.eye(1), observation=jnp.eye(1), process_noise=jnp.zeros((1, 1)),
    ...     observation_noise=jnp.eye(1), initial_mean=jnp.zeros(1), initial_covariance=jnp.eye(1),
    ... )
    >>> estimates = tracking.KalmanFilter(model)(jnp.array([[2.0], [4.0]]))
    >>> print(np.asarray(estimates.mean[:, 0]).round(3), np.asarray(estimates.covariance[:, 0, 0]).round(3))
    [1. 2.] [0.5 0.333]
    """

    model: LinearGaussian
    gain: AbstractGain

    def __init__(self, model: LinearGaussian, gain: AbstractGain | None = None):
        if not isinstance(model, LinearGaussian):
            raise TypeError(
                f"KalmanFilter: expected a LinearGaussian model, got {type(model).__name__}. Use ExtendedKalmanFilter, "
                "UnscentedKalmanFilter or ParticleFilter for a nonlinear one"
            )
        self.model = model
        self.gain = KalmanGain() if gain is None else gain
        self.gain.check(model, "KalmanFilter")

    def init(self) -> FilterMemory:
        return first_memory(self.model, self.gain)

    def step(self, memory: FilterMemory, x: Any) -> tuple[FilterMemory, Estimates]:
        return linearised_step(self.model, self.gain, memory, x)

    def through(self, memory: FilterMemory, xs: Any) -> tuple[FilterMemory, Estimates]:
        return self.followed(memory, xs, lambda gain: None)[:2]

    def followed(
        self, memory: FilterMemory, xs: Any, keep: Callable[[Any], Any]
    ) -> tuple[FilterMemory, Estimates, Any]:
        """As `through`, with what is kept of the gain's memory after each observation; for authors of smoothers."""
        return filtered_through(self.model, self.gain, memory, xs, keep)
