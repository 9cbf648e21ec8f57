"""The closed loop: one run of a system under a policy."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mbdl.core import RecursiveRule, loop

from .constraints import Constraints
from .cost import AbstractCost, Stage
from .system import AbstractSystem


class Rollout(NamedTuple):
    """One run of a closed loop.

    Attributes:
        states: $x_0, \\dots, x_T$, `[time+1 state]`.
        controls: `[time control]`.
        observations: `[time observation]`.
        costs: of each stage, `[time]`.
        terminal: the cost of the last state.
        violations: by how much each stage breaks the constraints, `[time]`.
    """

    states: Float[Array, "times state"]
    controls: Float[Array, "time control"]
    observations: Float[Array, "time observation"]
    costs: Float[Array, " time"]
    terminal: Float[Array, ""]
    violations: Float[Array, " time"]


class Noise(NamedTuple):
    """What one run meets, whatever its policy.

    Attributes:
        times: $0, \\dots, T$.
        state: $x_0$.
        process: the process noise at each time, with a leading axis of `times`.
        observation: that of the observations.
    """

    times: Int[Array, " times"]
    state: Float[Array, " state"]
    process: Any
    observation: Any


def noise_at(system: AbstractSystem, key: PRNGKeyArray, time: Int[Array, ""]) -> tuple[Any, Any]:
    """The process noise and that of the observation at one time, by the key of the run and the time alone."""
    process_key, observation_key = jax.random.split(jax.random.fold_in(key, time))
    return system.process_noise(process_key, time), system.observation_noise(observation_key, time)


def rollout(
    system: AbstractSystem,
    policy: RecursiveRule,
    cost: AbstractCost,
    constraints: Constraints,
    memory: Any,
    noise: Noise,
    rematerialise: bool = False,
) -> Rollout:
    """One run of a resolved policy from its first memory.

    Raises:
        ValueError: while tracing, for a decision that is no control of the system, or a cost that is no number.
    """
    state = noise.state
    control = jnp.zeros(system.control_size, state.dtype)

    def step(carry: tuple[Array, Any, Array], met: Any) -> tuple[tuple[Array, Any, Array], Any]:
        state, memory, control = carry
        time, seen, moving = met
        observation = system.observe(state, control, seen, time)
        memory, control = policy.step(memory, observation)
        control = _fitting(control, system.control_size, policy).astype(state.dtype)
        following = system.move(state, control, moving, time + 1)
        stage = Stage(state, control, following, time)
        value = _number(cost.stage(stage), cost)
        return (following, memory, control), (following, control, observation, value, constraints.violation(stage))

    now = jax.tree.map(lambda leaf: leaf[:-1], (noise.times, noise.observation))
    met = (*now, jax.tree.map(lambda leaf: leaf[1:], noise.process))
    (last, _, _), (states, controls, observations, costs, violations) = loop(
        step, (state, memory, control), met, length=len(noise.times) - 1, rematerialise=rematerialise
    )
    states = jnp.concatenate([state[None], states])
    return Rollout(states, controls, observations, costs, cost.terminal(last), violations)


def mean_cost(run: Rollout) -> Float[Array, "*runs"]:
    """The cost of a run by its number of stages."""
    return (jnp.sum(run.costs, axis=-1) + run.terminal) / run.costs.shape[-1]


def _fitting(control: Any, size: int, policy: Any) -> Array:
    if jnp.shape(control) != (size,):
        raise ValueError(
            f"{type(policy).__name__}: the policy decides an array of shape {jnp.shape(control)}, and the system takes "
            f"a control of shape {(size,)}"
        )
    return control


def _number(value: Any, cost: Any) -> Array:
    if jnp.shape(value) != ():
        raise ValueError(f"{type(cost).__name__}: a stage costs a number, got an array of shape {jnp.shape(value)}")
    return value
