"""Simulated or recorded runs as data: transitions for a model, observed sequences for a filter."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from mbdl.tracking import Inputs

from .simulate import Trajectories


def transitions(runs: Trajectories) -> tuple[tuple[Array, Array, Array], Array]:
    """The transitions of simulated or recorded runs, as data for `Prediction` and `mbdl.supervised`.

    Args:
        runs: from `simulate`.

    Returns:
        `((states, controls, times), following)`, each with one leading axis of all stages of all runs.
    """
    count, steps = runs.controls.shape[:2]
    times = jnp.broadcast_to(jnp.arange(steps), (count, steps))
    parts = runs.states[:, :-1], runs.controls, times, runs.states[:, 1:]
    states, controls, times, following = (jnp.reshape(part, (count * steps, *part.shape[2:])) for part in parts)
    return (states, controls, times), following


def sequences(runs: Trajectories) -> tuple[Inputs, Float[Array, "runs time state"]]:
    """The observations and controls of simulated or recorded runs and their states, as data for a filter: that of an
    `LQG` is trained by the error of its estimates before, or in the place of, the cost of the closed loop.

    Args:
        runs: from `simulate`.

    Returns:
        `(inputs, states)`: for each run the observations `[runs time observation]`, with the control before each
        (zero before the first), and the states that were observed.

    >>> import jax, jax.numpy as jnp, mbdl, optax
    >>> from mbdl import control, tracking
    >>> system = control.LinearSystem(
    ...     0.9 * jnp.eye(2), jnp.ones((2, 1)), process_noise=jnp.eye(2), observation_noise=jnp.eye(2)
    ... )
    >>> cost = control.QuadraticCost(jnp.eye(2), jnp.eye(1))
    >>> policy = control.LQG(tracking.KalmanFilter(system.model), control.LQR(system, cost))
    >>> runs = control.simulate(system, policy, jax.random.key(0), steps=30, runs=20, cost=cost)
    >>> risk = mbdl.supervised(control.sequences(runs), tracking.state_error)
    >>> filter = mbdl.learn(policy.filter, lambda f: f.model.transition)
    >>> fit = mbdl.fit(filter, risk, optax.adam(1e-2), steps=20, key=jax.random.key(1))
    >>> better = control.LQG(fit.rule, policy.controller)
    """
    before = jnp.concatenate([jnp.zeros_like(runs.controls[:, :1]), runs.controls[:, :-1]], axis=1)
    return Inputs(runs.observations, before), runs.states[:, :-1]
