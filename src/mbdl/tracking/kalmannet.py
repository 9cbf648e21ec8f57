"""KalmanNet: a Kalman filter whose gain a recurrent network corrects."""

from typing import Any, Literal

from jaxtyping import PRNGKeyArray

from mbdl.core import dtype_of

from .cascade_network import CascadeNetwork
from .extended import ExtendedKalmanFilter, kalman_filter_of
from .gain import AbstractGain
from .gain_network import SingleUnitNetwork
from .input_features import Differences, InputFeatures, sizes
from .kalman import KalmanFilter
from .linear import LinearGaussian
from .model import AbstractModel
from .recurrent_gain import RecurrentGain
from .steady_state import nominal_gain


def KalmanNet(
    model: AbstractModel,
    *,
    key: PRNGKeyArray,
    architecture: Literal[1, 2] = 2,
    nominal: AbstractGain | None = None,
    features: InputFeatures | None = None,
    initial: Any = None,
) -> KalmanFilter | ExtendedKalmanFilter:
    r"""KalmanNet: the (extended) Kalman filter of a partly known model, with a gain that a recurrent network corrects,
    $$\hat s_t = \hat s^-_t + \bigl(K^0 + \Delta_\theta\bigr) (y_t - h(\hat s^-_t)).$$

    Before training it is the steady-state Kalman filter of a linear model, whose transient has to be learned, and the
    extended Kalman filter of a nonlinear one. The network needs neither $Q$ nor $R$ nor exact $f$ and $h$: it learns
    from trajectories what the gain should be, for `mbdl.supervised((ys, states), tracking.state_error)`, or without
    states from `mbdl.unsupervised(ys, tracking.prediction_error)`. Controls, missing observations and irregular samples
    are taken as by any filter of the model.

    Args:
        model: a `LinearGaussian`, or another model for the extended filter.
        key: a JAX random key for the network.
        architecture: 2 for three recurrent units in the places of $Q$, $P^-$ and $S$ (`CascadeNetwork`), 1 for a
            single, larger one (`SingleUnitNetwork`).
        nominal: the gain $K^0$ that is corrected. By default `SteadyStateGain()` for a linear model that does not vary
            in time, and else `KalmanGain()`, which has the transient too and follows the linearisation; with a linear
            model and irregular samples give the second. `SteadyStateGain(at=state)` of a nonlinear model costs less a
            step, and `FixedGain(K)` is one of your own.
        features: `InputFeatures()` by default; those of a `Saturation` where there are outliers.
        initial: the hidden state before the first observation; that of the network by default.

    Returns:
        a `KalmanFilter` or `ExtendedKalmanFilter` with a `RecurrentGain`.

    Raises:
        ValueError: for an architecture that there is not.

    Deviates from the paper in that the network corrects a nominal gain, in units of its covariances, and starts at
    zero: there it gives the whole gain, and starts at random.

    Source: G. Revach et al., "KalmanNet: Neural network aided Kalman filtering for partially known dynamics", IEEE
    Transactions on Signal Processing 70, 2022.

    >>> import jax, jax.numpy as jnp, mbdl
    >>> from mbdl import tracking
    >>> model = tracking.LinearGaussian(
    ...     transition=jnp.array([[1.0, 1.0], [0.0, 1.0]]), observation=jnp.eye(2), process_noise=0.1 * jnp.eye(2),
    ...     observation_noise=jnp.eye(2), initial_mean=jnp.zeros(2), initial_covariance=jnp.zeros((2, 2)),
    ... )
    >>> kalmannet = tracking.KalmanNet(model, key=jax.random.key(0))
    >>> print(mbdl.spectrum(kalmannet))
    KalmanFilter: DNN-aided (34 known, 5,208 learned)
    """
    m, n = sizes(model)
    dtype = dtype_of(model)
    if architecture == 2:
        network = CascadeNetwork(m, n, dtype=dtype, key=key)
    elif architecture == 1:
        sees = ("innovation", "update") if isinstance(model, LinearGaussian) else Differences._fields
        network = SingleUnitNetwork(m, n, sees=sees, dtype=dtype, key=key)
    else:
        raise ValueError(f"KalmanNet: expected architecture 1 or 2, got {architecture!r}")
    nominal = nominal_gain(model) if nominal is None else nominal
    gain = RecurrentGain(network, nominal=nominal, features=features, initial=initial)
    return kalman_filter_of(model, gain)
