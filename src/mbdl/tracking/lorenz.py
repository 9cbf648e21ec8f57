"""The Lorenz system, a chaotic one, in discrete time."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mbdl.core import as_leaf
from mbdl.core.checks import finite, positive

from .building import diagonal, elapsed, initial, rows_of
from .inputs import Moment
from .linear_observation import LinearObservation
from .model import Starts, as_map
from .nonlinear import Function, NonlinearGaussian
from .rotation import axes_rotation
from .taylor import taylor_order, taylor_transition


class Lorenz(eqx.Module):
    r"""The transition of the Lorenz system, $s^+ = F(s) s$ with
    $$F(s) = \sum_{j=0}^{J} \frac{(A(s) \Delta)^j}{j!}, \qquad
    A(s) = \begin{bmatrix} -\sigma & \sigma & 0 \\ \rho - s_3 & -1 & 0 \\ s_2 & 0 & -\beta \end{bmatrix},$$
    where $\Delta$ is the duration since the sample before. Its Jacobian is that of $F(s) s$, which is not $F(s)$: by
    automatic differentiation.

    Args:
        step: $\Delta$ where a moment has no duration.
        order: the Taylor order $J$.
        sigma: $\sigma$.
        rho: $\rho$.
        beta: $\beta$.
        rotation: a matrix `[3 3]` that is applied to the state first, $s^+ = F(s) \, \Omega \, s$: a wrong model.

    Raises:
        ValueError: for a step that is not positive, a negative order, or parameters that are not finite.

    Differentiable in: the state, the duration and every parameter.

    >>> import jax.numpy as jnp, numpy as np
    >>> from mbdl import tracking
    >>> print(np.asarray(tracking.Lorenz(0.02)(jnp.ones(3), tracking.Moment(0))).round(3))
    [1.049 1.524 0.968]
    """

    step: Float[Array, ""]
    sigma: Float[Array, ""]
    rho: Float[Array, ""]
    beta: Float[Array, ""]
    rotation: Float[Array, "3 3"] | None
    order: int = eqx.field(static=True)

    def __init__(
        self, step: Any, *, order: int = 5, sigma: Any = 10.0, rho: Any = 28.0, beta: Any = 8 / 3, rotation: Any = None
    ):
        self.step = positive(as_leaf(step), "Lorenz: step")
        self.sigma, self.rho, self.beta = (
            finite(as_leaf(value), f"Lorenz: {name}") for name, value in zip("σρβ", (sigma, rho, beta), strict=True)
        )
        self.rotation = None if rotation is None else as_map(rotation, 3, 3, "Lorenz: rotation")
        self.order = taylor_order(order, "Lorenz")

    def __call__(self, state: Float[Array, "3"], moment: Moment) -> Float[Array, "3"]:
        rate = jnp.zeros((3, 3), state.dtype)
        rate = rate.at[0, 0].set(-self.sigma).at[0, 1].set(self.sigma)
        rate = rate.at[1, 0].set(self.rho - state[2]).at[1, 1].set(-1.0)
        rate = rate.at[2, 0].set(state[1]).at[2, 2].set(-self.beta)
        turned = state if self.rotation is None else self.rotation @ state
        return taylor_transition(rate, turned, elapsed(moment, self.step), self.order)


def lorenz(
    step: Any = 0.02,
    *,
    q2: Any,
    r2: Any,
    order: int = 5,
    observation: Function | None = None,
    difference: Any = None,
    rotate_transition: Any = None,
    rotate_observation: Any = None,
    initial_mean: Any = None,
    initial_covariance: Any = None,
    starts: Starts = "before",
) -> NonlinearGaussian:
    r"""The Lorenz system with noise, $s_t = F(s_{t-1}) s_{t-1} + v_t$, $y_t = h(s_t) + w_t$, with $Q = q^2 I$
    and $R = r^2 I$.

    All three states are observed by default. A rotation turns the state by the same angle about each axis, before $F$
    or before it is observed: the mismatch of the literature. Another observation is a function, such as `Spherical()`
    with `difference=WrappedDifference([2])`.

    Args:
        step: the time between samples, where the inputs give no durations.
        q2: $q^2$, one variance or one a component.
        r2: $r^2$, likewise.
        order: the Taylor order of $F$.
        observation: $h$, `(state, moment) -> [observation]`; by default the state.
        difference: as in `NonlinearGaussian`.
        rotate_transition: an angle in degrees.
        rotate_observation: likewise, for the default observation.
        initial_mean: `[3]`, ones by default.
        initial_covariance: `[3 3]` or a `Factor`; by default zero, for a known initial state.
        starts: as in `LinearGaussian`.

    Returns:
        a `NonlinearGaussian` with a `Lorenz` transition.

    Raises:
        ValueError: for a step that is not positive, negative variances, shapes that do not agree, or a rotation of an
            observation that is given.

    Source: G. Revach, N. Shlezinger, X. Ni, A. L. Escoriza, R. J. G. van Sloun and Y. C. Eldar, "KalmanNet: Neural
    network aided Kalman filtering for partially known dynamics", IEEE Transactions on Signal Processing 70, 2022.

    >>> import jax
    >>> from mbdl import tracking
    >>> true = tracking.lorenz(q2=1e-3, r2=0.1, rotate_observation=1.0)
    >>> observations, states = tracking.simulate(true, jax.random.key(0), steps=20, runs=2)
    >>> tracking.ExtendedKalmanFilter(tracking.lorenz(q2=1e-3, r2=0.1))(observations[0]).mean.shape
    (20, 3)
    """
    mean, covariance = initial(initial_mean, initial_covariance, np.ones(3), "lorenz")
    if observation is not None and rotate_observation is not None:
        raise ValueError("lorenz: rotate_observation turns the default observation; leave it out where one is given")
    turn = None if rotate_transition is None else axes_rotation(rotate_transition).astype(mean.dtype)
    if observation is None:
        turned = jnp.eye(3) if rotate_observation is None else axes_rotation(rotate_observation)
        observation = LinearObservation(turned.astype(mean.dtype))
    return NonlinearGaussian(
        transition=Lorenz(step, order=order, rotation=turn),
        observation=observation,
        process_noise=diagonal(q2, 3, mean.dtype, "lorenz: q2"),
        observation_noise=diagonal(r2, rows_of(observation, mean), mean.dtype, "lorenz: r2"),
        initial_mean=mean,
        initial_covariance=covariance,
        difference=difference,
        starts=starts,
    )
