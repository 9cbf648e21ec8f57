"""RTSNet: a Rauch-Tung-Striebel smoother whose gains recurrent networks correct."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from mbdl.core import dtype_of, resolve, substitute

from .cascade_network import CascadeNetwork
from .covariance_readout import WithCovariance
from .filter import AbstractFilter
from .fixed_gain import FixedGain
from .kalmannet import KalmanNet
from .model import AbstractModel
from .recurrent_gain import RecurrentGain
from .recurrent_smoother_gain import BackwardNetwork, FixedSmootherGain, RecurrentSmootherGain
from .rts import RTSSmoother
from .smoother import AbstractSmoother
from .smoother_gain import AbstractSmootherGain, RTSGain
from .steady_state import settles
from .two_pass import TwoPassSmoother


def RTSNet(
    model_or_filter: AbstractModel | AbstractFilter,
    *,
    key: PRNGKeyArray,
    passes: Literal[1, 2] = 1,
    nominal: AbstractSmootherGain | None = None,
    scale: Any = None,
) -> AbstractSmoother:
    r"""RTSNet: KalmanNet forward, then a way back,
    $$\hat s^s_t = \hat s_t + \bigl(G^0 + \Delta_\theta\bigr) (\hat s^s_{t+1} - \hat s^-_{t+1}),$$
    with a gain that a recurrent network corrects too. Before training it is the steady-state Rauch-Tung-Striebel
    smoother of a linear model, and the extended smoother of a nonlinear one. The second of two passes takes the first
    one's result as its observation; before training it leaves that as it is.

    Args:
        model_or_filter: a model, for which the filter is `KalmanNet(model)`; or a filter, say a trained `KalmanNet`.
        key: a JAX random key for the networks.
        passes: one or two passes forward and back.
        nominal: the gain $G^0$ of the way back. By default `SteadyStateSmootherGain()` of a linear model that does not
            vary in time, and behind a filter that is given; else `RTSGain()`, with covariances of the filter from
            `WithCovariance`. `RTSGain()` goes with any filter that knows its covariances.
        scale: the units of the state's components, `[state]`; 1 by default.

    Returns:
        an `RTSSmoother` with a `RecurrentSmootherGain`, or a `TwoPassSmoother` with that as its first pass.

    Raises:
        ValueError: for a number of passes that is not one or two.

    Deviates from the paper as `KalmanNet` does: the networks correct nominal gains, and start at zero.

    Source: G. Revach et al., "RTSNet: Learning to smooth in partially known state-space models", IEEE Transactions on
    Signal Processing, 2023.

    >>> import jax, jax.numpy as jnp, mbdl
    >>> from mbdl import tracking
    >>> model = tracking.LinearGaussian(
    ...     transition=jnp.array([[1.0, 1.0], [0.0, 1.0]]), observation=jnp.eye(2), process_noise=0.1 * jnp.eye(2),
    ...     observation_noise=jnp.eye(2), initial_mean=jnp.zeros(2), initial_covariance=jnp.zeros((2, 2)),
    ... )
    >>> print(mbdl.spectrum(tracking.RTSNet(model, key=jax.random.key(0))))
    RTSSmoother: DNN-aided (42 known, 7,370 learned)
    """
    if passes not in (1, 2):
        raise ValueError(f"RTSNet: expected one pass or two, got passes={passes!r}")
    keys = jax.random.split(key, 4)
    ahead, nominal = _ahead(model_or_filter, nominal, keys[0])
    m, dtype = resolve(ahead.model).state_size, dtype_of(ahead)
    gain = RecurrentSmootherGain(BackwardNetwork(m, dtype=dtype, key=keys[1]), nominal=nominal, scale=scale)
    first = substitute(RTSSmoother(ahead), lambda rule: rule.gain, gain)
    if passes == 1:
        return first
    identity = jnp.eye(m, dtype=dtype)
    forward = RecurrentGain(CascadeNetwork(m, m, dtype=dtype, key=keys[2]), nominal=FixedGain(identity))
    backward = RecurrentSmootherGain(
        BackwardNetwork(m, dtype=dtype, key=keys[3]), nominal=FixedSmootherGain(0 * identity), scale=scale
    )
    return TwoPassSmoother(first, forward, backward)


def _ahead(
    model_or_filter: AbstractModel | AbstractFilter, nominal: AbstractSmootherGain | None, key: PRNGKeyArray
) -> tuple[AbstractFilter, AbstractSmootherGain | None]:
    """The filter, and the gain of the way back that goes with it, unless one is given."""
    if isinstance(model_or_filter, AbstractFilter):
        return model_or_filter, nominal
    kalmannet = KalmanNet(model_or_filter, key=key)
    if nominal is not None or settles(model_or_filter):
        return kalmannet, nominal
    return substitute(kalmannet, lambda rule: rule.gain, WithCovariance(kalmannet.gain)), RTSGain()
