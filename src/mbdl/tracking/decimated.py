"""Trajectories of a finely stepped system without noise, of which every so many-th sample is observed."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from mbdl.core import loop, resolve, settle

from .building import at_least_one
from .covariance import draw
from .inputs import Moment
from .model import AbstractModel, check_noise
from .simulate import Simulated


def decimated(model: AbstractModel, key: PRNGKeyArray, *, steps: int, runs: int, every: int) -> Simulated:
    r"""Draws trajectories that follow the transition of a model without process noise, keeps every so many-th state,
    and observes those with noise,
    $$z_k = f(z_{k-1}), \qquad s_t = z_{(t + 1) n}, \qquad y_t = h(s_t) + w_t, \qquad t = 0, 1, \dots$$

    A filter with a step that is $n$ times as long, which knows less of the system between two samples, is thereby
    mismatched in its dynamics. No more than the kept states is held in memory.

    What differs between runs is the initial state, which is drawn where `initial_covariance` is not zero, and the
    noise of the observations; the noise of a run at a time depends on the key, the run and the time alone. Where the
    initial state is `"at"` the first observation, $s_t = z_{t n}$.

    Args:
        model: the finely stepped model; its process noise is left out. A chaotic system is followed in the dtype of
            the model, so that the trajectories of two dtypes part after a while.
        key: a JAX random key.
        steps: the number of observations of each run.
        runs: the number of runs.
        every: $n$, the number of fine steps between two observations.

    Returns:
        `Simulated(observations, states)`.

    Raises:
        ValueError: for fewer than one step, run, or fine step.

    Source: G. Revach, N. Shlezinger, X. Ni, A. L. Escoriza, R. J. G. van Sloun and Y. C. Eldar, "KalmanNet: Neural
    network aided Kalman filtering for partially known dynamics", IEEE Transactions on Signal Processing 70, 2022.

    >>> import jax
    >>> from mbdl import tracking
    >>> fine = tracking.lorenz(1e-4, q2=0.0, r2=1.0)
    >>> observations, states = tracking.decimated(fine, jax.random.key(0), steps=10, runs=2, every=200)
    >>> observations.shape, states.shape
    ((2, 10, 3), (2, 10, 3))
    """
    for name, value in (("steps", steps), ("runs", runs), ("every", every)):
        at_least_one(value, f"decimated: {name}")
    return Simulated(*_decimated(settle(resolve(model)), key, steps, runs, every))


@eqx.filter_jit
def _decimated(model: AbstractModel, key: PRNGKeyArray, steps: int, runs: int, every: int) -> tuple[Array, Array]:
    run_keys = jax.vmap(lambda run: jax.random.fold_in(key, run))(jnp.arange(runs))

    def run(key: PRNGKeyArray) -> tuple[Array, Array]:
        initial_key, key = jax.random.split(key)
        state = model.initial_mean + draw(initial_key, model.initial_covariance)

        def step(state: Array, time: Array) -> tuple[Array, tuple[Array, Array]]:
            fine = time * every

            def follow(k: Array, state: Array) -> Array:
                return model.transit(state, Moment(fine + k))

            begins = model.begins(Moment(time))
            count = every if begins is False else jnp.where(begins, 0, every)
            state = jax.lax.fori_loop(0, count, follow, state)
            moment = Moment(time)
            check_noise(model, moment)
            noise = draw(jax.random.fold_in(key, time), model.observation_noise_at(moment))
            return state, (model.observe(state, moment) + noise, state)

        return loop(step, state, jnp.arange(steps), length=steps)[1]

    return jax.vmap(run)(run_keys)
