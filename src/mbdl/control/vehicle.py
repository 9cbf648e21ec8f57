"""A vehicle that follows a road of changing curvature at a changing desired speed."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mbdl.core import as_leaf
from mbdl.core.checks import positive

from .system import AbstractSystem


class RoadNoise(NamedTuple):
    """What moves a `Vehicle` beside its control.

    Attributes:
        disturbance: standard normal, of the lateral deviation, the heading and the speed, `[3]`.
        keeps_curvature: whether the curvature stays.
        curvature: the next one where it does not, 1/m.
        keeps_desired_speed: whether the desired speed stays.
        desired_speed: the next one where it does not, m/s.
    """

    disturbance: Float[Array, "3"]
    keeps_curvature: Array
    curvature: Float[Array, ""]
    keeps_desired_speed: Array
    desired_speed: Float[Array, ""]


class Vehicle(AbstractSystem):
    r"""A kinematic vehicle in the coordinates of its road, with the state $x = (s, e, \Delta\psi, v, v_{des}, \kappa)$:
    the way along the road (m), the lateral deviation (m), the heading error (rad), the speed and the desired one (m/s),
    the curvature (1/m); and the control $u = (a, z)$: the acceleration (m/s²) and $z = \tan\delta - L\kappa$ for the
    steering angle $\delta$,
    $$s^+ = s + \frac{h v \cos\Delta\psi}{1 - e\kappa}, \quad e^+ = e + h v \sin\Delta\psi + 0.1 w_1, \quad
    \Delta\psi^+ = \Delta\psi + h v \Bigl(\kappa + \frac zL - \frac{\kappa\cos\Delta\psi}{1 - e\kappa}\Bigr) +
    0.01 w_2, \quad v^+ = v + h a + 0.1 w_3.$$
    At each step the curvature is drawn anew from $N(0, 0.01)$ with probability 0.05, the desired speed from
    $U[3, 6]$ with probability 0.02. It begins at $(0, 0.5, 0.1, 3, 4.5, 0)$.

    Args:
        step: $h$, s.
        length: $L$, the wheelbase, m.

    Raises:
        ValueError: for a step or a length that is not positive.

    Source: A. Agrawal, S. Barratt, S. Boyd and B. Stellato, "Learning convex optimization control policies", L4DC 2020.

    >>> import jax.numpy as jnp
    >>> from mbdl import control
    >>> vehicle = control.Vehicle()
    >>> state = jnp.array([0.0, 0.5, 0.0, 3.0, 4.5, 0.0])
    >>> after = vehicle.move(state, jnp.array([1.0, 0.0]), vehicle.nominal_noise(1), 1)
    >>> [round(float(value), 2) for value in after]
    [0.6, 0.5, 0.0, 3.2, 4.5, 0.0]
    """

    step: Float[Array, ""]
    length: Float[Array, ""]
    control_size: int = eqx.field(static=True)

    def __init__(self, *, step: Any = 0.2, length: Any = 2.8):
        self.step = positive(as_leaf(step), "Vehicle: step")
        self.length = positive(as_leaf(length), "Vehicle: length")
        self.control_size = 2

    def initial(self, key: PRNGKeyArray, noise: RoadNoise) -> Float[Array, "6"]:
        return jnp.array([0.0, 0.5, 0.1, 3.0, 4.5, 0.0], noise.disturbance.dtype)

    def process_noise(self, key: PRNGKeyArray, time: Int[Array, ""]) -> RoadNoise:
        disturbed, keeps_curvature, curvature, keeps_speed, speed = jax.random.split(key, 5)
        return RoadNoise(
            jax.random.normal(disturbed, (3,)),
            jax.random.bernoulli(keeps_curvature, 0.95),
            0.1 * jax.random.normal(curvature),
            jax.random.bernoulli(keeps_speed, 0.98),
            jax.random.uniform(speed, minval=3.0, maxval=6.0),
        )

    def observation_noise(self, key: PRNGKeyArray, time: Int[Array, ""]) -> None:
        return None

    def nominal_noise(self, time: Int[Array, ""]) -> RoadNoise:
        stays = jnp.asarray(True)
        return RoadNoise(jnp.zeros(3), stays, jnp.zeros(()), stays, jnp.zeros(()))

    def move(self, state: Array, control: Array, noise: RoadNoise, time: Array) -> Float[Array, "6"]:
        s, e, heading, v, desired, curvature = state
        acceleration, z = control
        w = noise.disturbance
        bent = jnp.cos(heading) / (1 - e * curvature)
        way = self.step * v
        return jnp.stack(
            [
                s + way * bent,
                e + way * jnp.sin(heading) + 0.1 * w[0],
                heading + way * (curvature + z / self.length - curvature * bent) + 0.01 * w[1],
                v + self.step * acceleration + 0.1 * w[2],
                jnp.where(noise.keeps_desired_speed, desired, noise.desired_speed),
                jnp.where(noise.keeps_curvature, curvature, noise.curvature),
            ]
        )

    def observe(self, state: Array, control: Array, noise: None, time: Array) -> Float[Array, "6"]:
        return state


class VehicleFeatures(eqx.Module):
    r"""What a convex policy of a `Vehicle` is told at a state: the affine map from the control to
    $y = (e^+, \Delta\psi^+, v^+ - 0.98 v_{des} - 0.09, e^{++})$, the deviations that follow, as
    $f$ and the coefficients of the control.

    Args:
        step: $h$, s.
        length: $L$, the wheelbase, m.

    Returns:
        of a state: $f$ `[4]`; the coefficient $hv / L$ of $z$ in the heading; the coefficient $h^2 v^2 / L$ of $z$ in
        the last; $L\kappa$, by which $z$ is bounded. ($a$ has the coefficient $h$ in the speed.)

    >>> import jax.numpy as jnp
    >>> from mbdl import control
    >>> f, heading, deviation, bend = control.VehicleFeatures()(jnp.array([0.0, 0.5, 0.0, 3.0, 4.5, 0.0]))
    >>> [round(float(value), 2) for value in f]
    [0.5, 0.0, -1.5, 0.5]
    """

    step: Float[Array, ""]
    length: Float[Array, ""]

    def __init__(self, *, step: Any = 0.2, length: Any = 2.8):
        self.step = positive(as_leaf(step), "VehicleFeatures: step")
        self.length = positive(as_leaf(length), "VehicleFeatures: length")

    def __call__(self, state: Float[Array, "6"]) -> tuple[Float[Array, "4"], Array, Array, Array]:
        _, e, heading, v, desired, curvature = state
        way = self.step * v
        after = e + way * jnp.sin(heading)
        turned = heading + way * (curvature - curvature * jnp.cos(heading) / (1 - e * curvature))
        f = jnp.stack([after, turned, v - 0.98 * desired - 0.09, after + way * jnp.sin(turned)])
        return f, way / self.length, way**2 / self.length, self.length * curvature
