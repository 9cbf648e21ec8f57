"""Learning a model by the likelihood of its observations, through any filter."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from .estimates import Estimates


def negative_log_likelihood(estimates: Estimates, observations: Any = None) -> Float[Array, ""]:
    r"""The negative log-likelihood of a sequence, $-\sum_t \log p(y_t \mid y_1, \dots, y_{t-1})$, by its filter: the
    objective of `mbdl.unsupervised`, by which noise covariances and models are learned without states.

    Args:
        estimates: what a filter returned for the sequence.
        observations: the sequence; not used, as the estimates know it. `mbdl.unsupervised` passes it.

    Returns:
        a number in nats.

    Raises:
        TypeError: for estimates of a filter that knows no likelihood.

    Differentiable in: what the filter is differentiable in.

    >>> import jax.numpy as jnp, mbdl
    >>> from mbdl import tracking
    >>> model = tracking.LinearGaussian(
    ...     transition=jnp.eye(1), observation=jnp.eye(1), process_noise=jnp.eye(1),
    ...     observation_noise=jnp.eye(1), initial_mean=jnp.zeros(1), initial_covariance=jnp.eye(1),
    ... )
    >>> risk = mbdl.unsupervised(jnp.zeros((5, 1, 1)), tracking.negative_log_likelihood)
    >>> print(f"{risk(tracking.KalmanFilter(model)):.3f}")
    1.468
    """
    if estimates.log_likelihood is None:
        raise TypeError(
            "negative_log_likelihood: the filter gives no likelihood, since its gain knows no covariances. Learn it "
            "from states, by mbdl.supervised, or from the predicted observations"
        )
    return -jnp.sum(estimates.log_likelihood)
