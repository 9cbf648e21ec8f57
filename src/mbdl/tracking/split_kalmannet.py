"""Split-KalmanNet: a Kalman filter whose gain two recurrent networks correct."""

import jax
from jaxtyping import PRNGKeyArray

from mbdl.core import dtype_of

from .extended import ExtendedKalmanFilter, kalman_filter_of
from .gain import AbstractGain
from .input_features import InputFeatures, sizes
from .kalman import KalmanFilter
from .model import AbstractModel
from .split_gain import SplitGain, split_networks
from .steady_state import nominal_gain


def SplitKalmanNet(
    model: AbstractModel,
    *,
    key: PRNGKeyArray,
    nominal: AbstractGain | None = None,
    features: InputFeatures | None = None,
) -> KalmanFilter | ExtendedKalmanFilter:
    r"""Split-KalmanNet: the (extended) Kalman filter of a partly known model, with the gain $K_t = G_1 H_t^\top G_2$ of
    which one network corrects the covariance $G_1$ of the prediction and another the inverse $G_2$ of that of the
    innovation. Before training it is the steady-state Kalman filter of a linear model, and the extended Kalman filter
    of a nonlinear one.

    Args:
        model: a `LinearGaussian`, or another model for the extended filter.
        key: a JAX random key for the networks.
        nominal: the gain whose covariances are corrected. By default `SteadyStateGain()` for a linear model that does
            not vary in time, and else `KalmanGain()`; with a linear model and irregular samples give the second.
        features: `InputFeatures()` by default.

    Returns:
        a `KalmanFilter` or `ExtendedKalmanFilter` with a `SplitGain`.

    Source: G. Choi, J. Park, N. Shlezinger, Y. C. Eldar and N. Lee, "Split-KalmanNet: A robust model-based deep
    learning approach for state estimation", IEEE Transactions on Vehicular Technology, 2023.

    >>> import jax, jax.numpy as jnp, mbdl
    >>> from mbdl import tracking
    >>> model = tracking.LinearGaussian(
    ...     transition=jnp.array([[1.0, 1.0], [0.0, 1.0]]), observation=jnp.eye(2), process_noise=0.1 * jnp.eye(2),
    ...     observation_noise=jnp.eye(2), initial_mean=jnp.zeros(2), initial_covariance=jnp.zeros((2, 2)),
    ... )
    >>> print(mbdl.spectrum(tracking.SplitKalmanNet(model, key=jax.random.key(0))))
    KalmanFilter: DNN-aided (22 known, 31,528 learned)
    """
    networks = split_networks(*sizes(model), dtype_of(model), jax.random.split(key))
    nominal = nominal_gain(model) if nominal is None else nominal
    return kalman_filter_of(model, SplitGain(*networks, nominal=nominal, features=features))
