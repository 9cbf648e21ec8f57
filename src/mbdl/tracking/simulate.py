"""Trajectories drawn from a state-space model."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from mbdl.core import loop, resolve, settle

from .covariance import draw
from .inputs import Moment
from .model import AbstractModel, check_noise


class Simulated(NamedTuple):
    """Trajectories of a model; made by `simulate`.

    Attributes:
        observations: `[runs time observation]`.
        states: `[runs time state]`.
    """

    observations: Float[Array, "runs time observation"]
    states: Float[Array, "runs time state"]


def simulate(
    model: AbstractModel,
    key: PRNGKeyArray,
    steps: int,
    runs: int,
    *,
    control: Any = None,
    duration: Any = None,
) -> Simulated:
    """Draws trajectories of states and observations.

    The noise of a run at a time depends on the key, the run and the time alone: the first steps of a longer simulation
    are those of a shorter one, and two models can be compared on the same noise.

    Args:
        model: the state-space model.
        key: a JAX random key.
        steps: the number of observations of each run.
        runs: the number of runs.
        control: the inputs $u_t$ that act in all runs, `[time control]`, for a model with a control input.
        duration: the time before each observation, `[time]`, for a model that depends on it.

    Returns:
        `Simulated(observations, states)`, in this order, since that of a risk's data is context, then target.

    Raises:
        ValueError: for fewer than one step or run, controls or durations of another length, or a noise that does
            not fit.

    >>> import jax, jax.numpy as jnp
    >>> from mbdl import tracking
    >>> model = tracking.LinearGaussian(
    ...     transition=jnp.eye(2), observation=jnp.ones((1, 2)), process_noise=0.1 * jnp.eye(2),
    ...     observation_noise=jnp.eye(1), initial_mean=jnp.zeros(2), initial_covariance=jnp.zeros((2, 2)),
    ... )
    >>> observations, states = tracking.simulate(model, jax.random.key(0), steps=50, runs=3)
    >>> observations.shape, states.shape
    ((3, 50, 1), (3, 50, 2))
    """
    for name, value in (("steps", steps), ("runs", runs)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"simulate: expected {name} of at least 1, got {value!r}")
    control, duration = (None if value is None else jnp.asarray(value) for value in (control, duration))
    for name, value in (("control", control), ("duration", duration)):
        if value is not None and value.shape[:1] != (steps,):
            raise ValueError(f"simulate: {name} has shape {value.shape}; expected a leading axis of steps={steps}")
    return Simulated(*_simulate(settle(resolve(model)), key, steps, runs, control, duration))


@eqx.filter_jit
def _simulate(
    model: AbstractModel, key: PRNGKeyArray, steps: int, runs: int, control: Any, duration: Any
) -> tuple[Array, Array]:
    run_keys = jax.vmap(lambda run: jax.random.fold_in(key, run))(jnp.arange(runs))

    def run(key: PRNGKeyArray) -> tuple[Array, Array]:
        initial_key, key = jax.random.split(key)
        state = model.initial_mean + draw(initial_key, model.initial_covariance)

        def step(state: Array, x: tuple[Array, Any, Any]) -> tuple[Array, tuple[Array, Array]]:
            moment = Moment(*x)
            check_noise(model, moment)
            process_key, observation_key = jax.random.split(jax.random.fold_in(key, moment.time))
            moved = model.transit(state, moment) + draw(process_key, model.process_noise_at(moment))
            begins = model.begins(moment)
            state = moved if begins is False else jnp.where(begins, state, moved)
            noise = draw(observation_key, model.observation_noise_at(moment))
            return state, (model.observe(state, moment) + noise, state)

        return loop(step, state, (jnp.arange(steps), control, duration), length=steps)[1]

    return jax.vmap(run)(run_keys)
