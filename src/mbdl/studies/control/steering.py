"""A vehicle whose control is the steering angle itself, so that the bound of the steering is a bound of the control."""

from functools import partial
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

import mbdl
from mbdl import control


def turned(state: Array, control: Array, amount: Any) -> Float[Array, "2"]:
    r"""A control of a vehicle with an amount times the curvature added to its second component: $L$ leads from $(a, z)$
    to $(a, \tan\delta)$, $-L$ back."""
    return jnp.stack([control[0], control[1] + amount * state[5]])


@partial(mbdl.register, name="studies.vehicle.SteeredVehicle")
class SteeredVehicle(control.AbstractSystem):
    r"""A `control.Vehicle` whose control is $(a, \tan\delta)$."""

    vehicle: control.Vehicle
    control_size: int = eqx.field(static=True)

    def __init__(self, vehicle: control.Vehicle):
        self.vehicle, self.control_size = vehicle, vehicle.control_size

    def initial(self, key: PRNGKeyArray, noise: Any) -> Float[Array, "6"]:
        return self.vehicle.initial(key, noise)

    def process_noise(self, key: PRNGKeyArray, time: Int[Array, ""]) -> Any:
        return self.vehicle.process_noise(key, time)

    def observation_noise(self, key: PRNGKeyArray, time: Int[Array, ""]) -> None:
        return self.vehicle.observation_noise(key, time)

    def nominal_noise(self, time: Int[Array, ""]) -> Any:
        return self.vehicle.nominal_noise(time)

    def move(self, state: Array, control: Array, noise: Any, time: Array) -> Float[Array, "6"]:
        return self.vehicle.move(state, turned(state, control, -self.vehicle.length), noise, time)

    def observe(self, state: Array, control: Array, noise: None, time: Array) -> Float[Array, "6"]:
        return self.vehicle.observe(state, control, noise, time)


@partial(mbdl.register, name="studies.vehicle.SteeredCost")
class SteeredCost(control.AbstractCost):
    r"""A cost of $(a, z)$, where the control is $(a, \tan\delta)$."""

    cost: control.AbstractCost
    length: float

    def stage(self, stage: control.Stage) -> Float[Array, ""]:
        return self.cost.stage(stage._replace(control=turned(stage.state, stage.control, -self.length)))

    def terminal(self, state: Float[Array, "6"]) -> Float[Array, ""]:
        return self.cost.terminal(state)


@partial(mbdl.register, name="studies.vehicle.Turned")
class Turned(mbdl.RecursiveRule):
    """A policy of a vehicle whose second control is more by an amount times the curvature."""

    policy: mbdl.RecursiveRule
    amount: float

    def init(self) -> Any:
        return self.policy.init()

    def step(self, memory: Any, x: Float[Array, "6"]) -> tuple[Any, Float[Array, "2"]]:
        memory, control = self.policy.step(memory, x)
        return memory, turned(x, control, self.amount)

    def valid(self, x: Any) -> Bool[Array, ""]:
        return self.policy.valid(x)

    def why_not_finite(self, x: Any, decision: Any) -> str:
        return self.policy.why_not_finite(x, decision)
