"""The bound of a vehicle's steering angle, which in terms of its control depends on the bend of the road: kept by a
clip, or by a policy that decides the angle itself."""

from functools import partial
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

import mbdl


@partial(mbdl.register, name="studies.vehicle.Steerable")
class Steerable(mbdl.RecursiveRule):
    r"""A policy of a vehicle whose control $(a, z)$ is clipped so that $|\tan\delta| = |z + L\kappa|$ stays within its
    bound."""

    policy: mbdl.RecursiveRule
    length: float
    most: float

    def init(self) -> Any:
        return self.policy.init()

    def step(self, memory: Any, x: Float[Array, "6"]) -> tuple[Any, Float[Array, "2"]]:
        memory, (acceleration, z) = self.policy.step(memory, x)
        bend = self.length * x[5]
        return memory, jnp.stack([acceleration, jnp.clip(z + bend, -self.most, self.most) - bend])

    def valid(self, x: Any) -> Bool[Array, ""]:
        return self.policy.valid(x)

    def why_not_finite(self, x: Any, decision: Any) -> str:
        return self.policy.why_not_finite(x, decision)


@partial(mbdl.register, name="studies.vehicle.AngleSteering")
class AngleSteering(mbdl.RecursiveRule):
    r"""A policy that decides $(a, \tan\delta)$, whose bounds are numbers, in the place of the control
    $(a, z = \tan\delta - L\kappa)$."""

    policy: mbdl.RecursiveRule
    length: float

    def init(self) -> Any:
        return self.policy.init()

    def step(self, memory: Any, x: Float[Array, "6"]) -> tuple[Any, Float[Array, "2"]]:
        memory, (acceleration, tangent) = self.policy.step(memory, x)
        return memory, jnp.stack([acceleration, tangent - self.length * x[5]])

    def valid(self, x: Any) -> Bool[Array, ""]:
        return self.policy.valid(x)

    def why_not_finite(self, x: Any, decision: Any) -> str:
        return self.policy.why_not_finite(x, decision)
