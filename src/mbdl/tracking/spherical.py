"""The observation of a point in spherical coordinates."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .inputs import Moment


class Spherical(eqx.Module):
    r"""A point in space, the first three components $(x_1, x_2, x_3)$ of the state, in spherical coordinates,
    $$\rho = \|x\|, \qquad \theta = \arccos(x_3 / \rho) \in [0, \pi], \qquad
    \varphi = \operatorname{atan2}(x_2, x_1) \in [0, 2 \pi).$$

    $\varphi$ wraps: a model with this observation has `difference=WrappedDifference([2])`.

    Differentiable in: the state, but not on the third axis, where the angles have no derivative.

    Source: G. Revach, N. Shlezinger, X. Ni, A. L. Escoriza, R. J. G. van Sloun and Y. C. Eldar, "KalmanNet: Neural
    network aided Kalman filtering for partially known dynamics", IEEE Transactions on Signal Processing 70, 2022.

    >>> import jax.numpy as jnp, numpy as np
    >>> from mbdl import tracking
    >>> print(np.asarray(tracking.Spherical()(jnp.array([0.0, -2.0, 0.0]), tracking.Moment(0))).round(3))
    [2. 1.571 4.712]
    """

    def __call__(self, state: Float[Array, " state"], moment: Moment) -> Float[Array, "3"]:
        # The polar angle is the arccos of the quotient, without its loss of digits near the axis.
        polar = jnp.arctan2(jnp.linalg.norm(state[:2]), state[2])
        azimuth = jnp.arctan2(state[1], state[0])
        turned = jnp.where(azimuth < 0, azimuth + 2 * jnp.pi, azimuth)
        return jnp.stack([jnp.linalg.norm(state[:3]), polar, turned])
