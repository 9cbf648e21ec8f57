"""The bound of a vehicle's steering angle, which in terms of its control depends on the bend of the road: kept by a
clip, or by a policy that decides the angle itself."""

from functools import partial

import jax.numpy as jnp
from jaxtyping import Array, Float

import mbdl
from mbdl import control


@partial(mbdl.register, name="studies.vehicle.Steerable")
class Steerable(control.AbstractChangedPolicy):
    r"""A policy of a vehicle whose control $(a, z)$ is clipped so that $|\tan\delta| = |z + L\kappa|$ stays within its
    bound."""

    policy: mbdl.RecursiveRule
    length: float
    most: float

    def changed(self, decision: Float[Array, "2"], x: Float[Array, "6"]) -> Float[Array, "2"]:
        acceleration, z = decision
        bend = self.length * x[5]
        return jnp.stack([acceleration, jnp.clip(z + bend, -self.most, self.most) - bend])


@partial(mbdl.register, name="studies.vehicle.AngleSteering")
class AngleSteering(control.AbstractChangedPolicy):
    r"""A policy that decides $(a, \tan\delta)$, whose bounds are numbers, in the place of the control
    $(a, z = \tan\delta - L\kappa)$."""

    policy: mbdl.RecursiveRule
    length: float

    def changed(self, decision: Float[Array, "2"], x: Float[Array, "6"]) -> Float[Array, "2"]:
        acceleration, tangent = decision
        return jnp.stack([acceleration, tangent - self.length * x[5]])
