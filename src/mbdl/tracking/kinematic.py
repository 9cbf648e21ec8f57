"""Kinematic models: points whose velocity or acceleration is constant up to white noise."""

import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mbdl.core import as_leaf
from mbdl.core.checks import positive

from .building import at_least_one, diagonal, elapsed, initial, variances
from .inputs import Moment
from .linear import LinearGaussian
from .model import Starts


class KinematicTransition(eqx.Module):
    r"""The transition matrix of a chain of integrators in each axis,
    $F_{ij} = \Delta^{j - i} / (j - i)! \cdot I$ for $j \ge i$, where $\Delta$ is the duration since the sample before.

    The state holds the positions of all axes, then their velocities, then their accelerations.

    Args:
        step: the duration where a moment has none.
        order: how many of position, velocity, acceleration ... the state holds.
        axes: the number of axes.

    Raises:
        ValueError: for a step that is not positive, or an order or axes below one.

    >>> from mbdl import tracking
    >>> tracking.KinematicTransition(0.5, order=2, axes=1)(tracking.Moment(0)).tolist()
    [[1.0, 0.5], [0.0, 1.0]]
    """

    step: Float[Array, ""]
    order: int = eqx.field(static=True)
    axes: int = eqx.field(static=True)

    def __init__(self, step: Any, *, order: int, axes: int):
        self.step = positive(as_leaf(step), "KinematicTransition: step")
        self.order = at_least_one(order, "KinematicTransition: order")
        self.axes = at_least_one(axes, "KinematicTransition: axes")

    def __call__(self, moment: Moment) -> Float[Array, "state state"]:
        step = elapsed(moment, self.step)
        i, j = np.indices((self.order, self.order))
        power = np.maximum(j - i, 0)
        weight = np.where(j >= i, 1 / np.vectorize(math.factorial)(power), 0.0)
        chain = jnp.asarray(weight, step.dtype) * step**power
        return jnp.kron(chain, jnp.eye(self.axes, dtype=step.dtype))


class KinematicNoise(eqx.Module):
    r"""The covariance of white noise of spectral density $q^2$ that enters the last integrator of such a chain of $n$,
    $$Q_{ij} = q^2 \, \frac{\Delta^{2n - 1 - i - j}}{(n - 1 - i)! \, (n - 1 - j)! \, (2n - 1 - i - j)},
    \qquad i, j = 0, \dots, n - 1.$$

    Args:
        density: $q^2$, one for all axes or `[axes]`, in units of the last derivative squared by time.
        step: the duration where a moment has none.
        order: $n$.
        axes: the number of axes.

    Raises:
        ValueError: for a negative density, a step that is not positive, or an order or axes below one.

    >>> from mbdl import tracking
    >>> print(tracking.KinematicNoise(1.0, 0.5, order=2, axes=1)(tracking.Moment(0)).round(4))
    [[0.0417 0.125 ]
     [0.125  0.5   ]]
    """

    density: Float[Array, "*axes"]
    step: Float[Array, ""]
    order: int = eqx.field(static=True)
    axes: int = eqx.field(static=True)

    def __init__(self, density: Any, step: Any, *, order: int, axes: int):
        self.order = at_least_one(order, "KinematicNoise: order")
        self.axes = at_least_one(axes, "KinematicNoise: axes")
        self.density = variances(density, axes, "KinematicNoise: density")
        self.step = positive(as_leaf(step), "KinematicNoise: step")

    def __call__(self, moment: Moment) -> Float[Array, "state state"]:
        step = elapsed(moment, self.step)
        i, j = self.order - 1 - np.indices((self.order, self.order))  # how often noise is integrated on its way
        power, factorial = i + j + 1, np.vectorize(math.factorial)
        chain = jnp.asarray(1 / (factorial(i) * factorial(j) * power), step.dtype) * step**power
        return jnp.kron(chain, jnp.diag(jnp.broadcast_to(self.density, (self.axes,))))


def constant_velocity(
    step: Any,
    *,
    q2: Any,
    r2: Any,
    axes: int = 1,
    observation: Any = None,
    initial_mean: Any = None,
    initial_covariance: Any = None,
    starts: Starts = "before",
) -> LinearGaussian:
    r"""Points that move at a constant velocity but for white noise in the acceleration; in each axis, with the duration
    $\Delta$ since the sample before,
    $$F = \begin{bmatrix} 1 & \Delta \\ 0 & 1 \end{bmatrix}, \qquad
    Q = q^2 \begin{bmatrix} \Delta^3 / 3 & \Delta^2 / 2 \\ \Delta^2 / 2 & \Delta \end{bmatrix}.$$

    The state holds the positions of all axes, then their velocities. `model.process_noise.density` is $q^2$, to learn.

    Args:
        step: the time between samples, where the inputs give no durations.
        q2: $q^2$, the spectral density of the acceleration, one or `[axes]`.
        r2: $r^2$, the variance of an observation, one or one a component.
        axes: the number of axes.
        observation: $H$, `[observation state]`; by default the positions are observed.
        initial_mean: `[state]`, zero by default.
        initial_covariance: `[state state]` or a `Factor`; by default zero, for a known initial state.
        starts: as in `LinearGaussian`.

    Returns:
        a `LinearGaussian`.

    Raises:
        ValueError: for a step that is not positive, negative variances, or shapes that do not agree.

    >>> from mbdl import tracking
    >>> model = tracking.constant_velocity(0.1, q2=1.0, r2=0.5, axes=2)
    >>> model.state_size, model.observation.tolist()
    (4, [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
    """
    start = initial_mean, initial_covariance, starts
    return _kinematic("constant_velocity", 2, step, q2, r2, axes, observation, *start)


def constant_acceleration(
    step: Any,
    *,
    q2: Any,
    r2: Any,
    axes: int = 1,
    observation: Any = None,
    initial_mean: Any = None,
    initial_covariance: Any = None,
    starts: Starts = "before",
) -> LinearGaussian:
    r"""Points that move at a constant acceleration but for white noise in its derivative; in each axis, with the
    duration $\Delta$ since the sample before,
    $$F = \begin{bmatrix} 1 & \Delta & \Delta^2 / 2 \\ 0 & 1 & \Delta \\ 0 & 0 & 1 \end{bmatrix}, \qquad
    Q = q^2 \begin{bmatrix} \Delta^5 / 20 & \Delta^4 / 8 & \Delta^3 / 6 \\ \Delta^4 / 8 & \Delta^3 / 3 & \Delta^2 / 2 \\
    \Delta^3 / 6 & \Delta^2 / 2 & \Delta \end{bmatrix}.$$

    The state holds the positions of all axes, then their velocities, then their accelerations.

    Args:
        step: the time between samples, where the inputs give no durations.
        q2: $q^2$, the spectral density of the derivative of the acceleration, one or `[axes]`.
        r2: $r^2$, the variance of an observation, one or one a component.
        axes: the number of axes.
        observation: $H$, `[observation state]`; by default the positions are observed.
        initial_mean: `[state]`, zero by default.
        initial_covariance: `[state state]` or a `Factor`; by default zero, for a known initial state.
        starts: as in `LinearGaussian`.

    Returns:
        a `LinearGaussian`.

    Raises:
        ValueError: for a step that is not positive, negative variances, or shapes that do not agree.

    Source: G. Revach, N. Shlezinger, X. Ni, A. L. Escoriza, R. J. G. van Sloun and Y. C. Eldar, "KalmanNet: Neural
    network aided Kalman filtering for partially known dynamics", IEEE Transactions on Signal Processing 70, 2022.

    >>> from mbdl import tracking
    >>> model = tracking.constant_acceleration(0.01, q2=1.0, r2=1.0)
    >>> model.state_size, model.observation.tolist()
    (3, [[1.0, 0.0, 0.0]])
    """
    start = initial_mean, initial_covariance, starts
    return _kinematic("constant_acceleration", 3, step, q2, r2, axes, observation, *start)


def _kinematic(
    what: str,
    order: int,
    step: Any,
    q2: Any,
    r2: Any,
    axes: int,
    observation: Any,
    initial_mean: Any,
    initial_covariance: Any,
    starts: Starts,
) -> LinearGaussian:
    size = order * at_least_one(axes, f"{what}: axes")
    mean, covariance = initial(initial_mean, initial_covariance, np.zeros(size), what)
    observation = jnp.eye(axes, size, dtype=mean.dtype) if observation is None else jnp.asarray(observation)
    return LinearGaussian(
        transition=KinematicTransition(step, order=order, axes=axes),
        observation=observation,
        process_noise=KinematicNoise(q2, step, order=order, axes=axes),
        observation_noise=diagonal(r2, len(observation), mean.dtype, f"{what}: r2"),
        initial_mean=mean,
        initial_covariance=covariance,
        starts=starts,
    )
