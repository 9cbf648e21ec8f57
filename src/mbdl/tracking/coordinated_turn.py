"""The coordinated turn: a point that moves in the plane at a constant speed and turn rate."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import block_diag
from jaxtyping import Array, Float

from mbdl.core import as_leaf
from mbdl.core.checks import positive

from .building import diagonal, elapsed, initial, rows_of, variances
from .inputs import Moment
from .kinematic import KinematicNoise
from .linear_observation import LinearObservation
from .model import Starts
from .nonlinear import Function, NonlinearGaussian


class CoordinatedTurn(eqx.Module):
    r"""The transition of a coordinated turn: the velocity turns at the rate $\omega$, in radians by time,
    $$p^+ = p + \frac{1}{\omega}
    \begin{bmatrix} \sin\omega\Delta & \cos\omega\Delta - 1 \\ 1 - \cos\omega\Delta & \sin\omega\Delta \end{bmatrix} v,
    \qquad v^+ = \begin{bmatrix} \cos\omega\Delta & -\sin\omega\Delta \\ \sin\omega\Delta & \cos\omega\Delta
    \end{bmatrix} v, \qquad \omega^+ = \omega,$$
    where $\Delta$ is the duration since the sample before; at $\omega = 0$ its limit, the constant velocity.

    The state is $(p_1, p_2, v_1, v_2, \omega)$.

    Args:
        step: $\Delta$ where a moment has no duration.

    Raises:
        ValueError: for a step that is not positive.

    Differentiable in: the state and the duration, at a turn rate of zero too.

    >>> import jax.numpy as jnp, numpy as np
    >>> from mbdl import tracking
    >>> turn = tracking.CoordinatedTurn(1.0)
    >>> print(np.asarray(turn(jnp.array([0.0, 0.0, 1.0, 0.5, jnp.pi / 2]), tracking.Moment(0))).round(3))
    [ 0.318 0.955 -0.5 1. 1.571]
    """

    step: Float[Array, ""]

    def __init__(self, step: Any):
        self.step = positive(as_leaf(step), "CoordinatedTurn: step")

    def __call__(self, state: Float[Array, "5"], moment: Moment) -> Float[Array, "5"]:
        step = elapsed(moment, self.step)
        position, velocity, rate = state[:2], state[2:4], state[4]
        across = jnp.stack([-velocity[1], velocity[0]])
        angle = rate * step
        forward = sine_quotient(angle)
        sideways = jnp.sin(angle / 2) * sine_quotient(angle / 2)  # (1 - cos(a)) / a
        moved = position + step * (forward * velocity + sideways * across)
        turned = jnp.cos(angle) * velocity + jnp.sin(angle) * across
        return jnp.concatenate([moved, turned, rate[None]])


def sine_quotient(angle: Float[Array, ""]) -> Float[Array, ""]:
    r"""$\sin(a) / a$, by its series near zero: the derivative of the quotient, and of `jnp.sinc`, cancels there."""
    near = jnp.abs(angle) < 1
    square, series = jnp.where(near, angle, 0.0) ** 2, jnp.ones_like(angle)
    for k in range(8, 0, -1):  # the first term left out is below 1e-17
        series = 1 - series * square / (2 * k * (2 * k + 1))
    away = jnp.where(near, 1.0, angle)
    return jnp.where(near, series, jnp.sin(away) / away)


class CoordinatedTurnNoise(eqx.Module):
    r"""The process noise of a coordinated turn: white acceleration in both axes, of spectral density $q^2$, and a turn
    rate that walks at random, of variance $q_\omega^2 \Delta$.

    Args:
        acceleration: the `KinematicNoise` of positions and velocities.
        turn_density: $q_\omega^2$.

    Raises:
        ValueError: for a negative density.

    >>> import numpy as np
    >>> from mbdl import tracking
    >>> model = tracking.coordinated_turn(1.0, q2=0.3, turn_q2=0.01, r2=1.0)
    >>> print(np.diagonal(model.process_noise(tracking.Moment(0))).round(2))
    [0.1 0.1 0.3 0.3 0.01]
    """

    acceleration: KinematicNoise
    turn_density: Float[Array, ""]

    def __init__(self, acceleration: KinematicNoise, turn_density: Any):
        self.acceleration = acceleration
        self.turn_density = variances(turn_density, 1, "CoordinatedTurnNoise: turn_density")

    def __call__(self, moment: Moment) -> Float[Array, "5 5"]:
        walk = self.turn_density * elapsed(moment, self.acceleration.step)
        return block_diag(self.acceleration(moment), walk.reshape(1, 1))


def coordinated_turn(
    step: Any,
    *,
    q2: Any,
    turn_q2: Any,
    r2: Any,
    observation: Function | None = None,
    difference: Any = None,
    initial_mean: Any = None,
    initial_covariance: Any = None,
    starts: Starts = "before",
) -> NonlinearGaussian:
    r"""A point that moves in the plane at a speed and a turn rate that are constant but for noise; its position is
    observed by default.

    The state is the position, the velocity and the turn rate, $(p_1, p_2, v_1, v_2, \omega)$.

    Args:
        step: the time between samples, where the inputs give no durations.
        q2: $q^2$, the spectral density of the acceleration, one or `[2]`.
        turn_q2: $q_\omega^2$, the variance of the turn rate that is added in a unit of time.
        r2: $r^2$, the variance of an observation, one or one a component.
        observation: $h$, `(state, moment) -> [observation]`, such as `BearingRange()`; by default the position.
        difference: as in `NonlinearGaussian`; for `BearingRange` it is `WrappedDifference([0])`.
        initial_mean: `[5]`, zero by default.
        initial_covariance: `[5 5]` or a `Factor`; by default zero, for a known initial state.
        starts: as in `LinearGaussian`.

    Returns:
        a `NonlinearGaussian` with a `CoordinatedTurn` transition.

    Raises:
        ValueError: for a step that is not positive, negative variances, or shapes that do not agree.

    >>> from mbdl import tracking
    >>> model = tracking.coordinated_turn(0.5, q2=0.1, turn_q2=0.01, r2=1.0)
    >>> model.state_size, model.observation.matrix.shape
    (5, (2, 5))
    """
    what = "coordinated_turn"
    mean, covariance = initial(initial_mean, initial_covariance, np.zeros(5), what)
    if observation is None:
        observation = LinearObservation(jnp.eye(2, 5, dtype=mean.dtype))
    return NonlinearGaussian(
        transition=CoordinatedTurn(step),
        observation=observation,
        process_noise=CoordinatedTurnNoise(KinematicNoise(q2, step, order=2, axes=2), turn_q2),
        observation_noise=diagonal(r2, rows_of(observation, mean), mean.dtype, f"{what}: r2"),
        initial_mean=mean,
        initial_covariance=covariance,
        difference=difference,
        starts=starts,
    )
