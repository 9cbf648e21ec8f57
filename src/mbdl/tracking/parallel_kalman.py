"""The Kalman filter in parallel over time."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mbdl.core import time_steps

from .covariance import dense, symmetric
from .estimates import Estimates
from .filter import AbstractFilter
from .gain import masked_noise
from .inputs import Inputs, Moment, as_inputs
from .kalman_gain import KalmanGain, whitener_of
from .linear import LinearGaussian
from .linearised import FilterMemory, first_memory, linearised_step
from .steps import checked, seen


class ParallelKalmanFilter(AbstractFilter):
    r"""The Kalman filter of a sequence in a number of parallel steps that grows with $\log T$: what `KalmanFilter`
    returns, by an associative scan over the elements
    $$p(s_t \mid y_t, s_{t-1}) = N(A_t s_{t-1} + b_t, C_t), \qquad
    p(y_t \mid s_{t-1}) \propto \exp(\eta_t^\top s_{t-1} - \tfrac12 s_{t-1}^\top J_t s_{t-1}).$$

    It does several times the arithmetic of the sequential filter, so it pays on an accelerator and for long sequences.
    `start` and `advance` filter a stream, as those of `KalmanFilter` do.

    Args:
        model: a `LinearGaussian`.

    Raises:
        TypeError: for a model that is not linear.
        ValueError: when it runs, as `KalmanFilter` does; $H Q H^\top + R$ must be positive definite at every time.

    Differentiable in: the observations, the controls, and every array of the model.

    Source: S. Särkkä and Á. F. García-Fernández, "Temporal parallelization of Bayesian smoothers", IEEE Transactions on
    Automatic Control 66, 2021.

    >>> import jax.numpy as jnp
    >>> from mbdl import tracking
    >>> model = tracking.LinearGaussian(
    ...     transition=jnp.eye(1), observation=jnp.eye(1), process_noise=jnp.zeros((1, 1)),
    ...     observation_noise=jnp.eye(1), initial_mean=jnp.zeros(1), initial_covariance=jnp.eye(1),
    ... )
    >>> estimates = tracking.ParallelKalmanFilter(model)(jnp.array([[2.0], [4.0], [2.0]]))
    >>> [f"{mean:.2f}" for mean in estimates.mean[:, 0]]
    ['1.00', '2.00', '2.00']
    """

    model: LinearGaussian

    def __init__(self, model: LinearGaussian):
        if not isinstance(model, LinearGaussian):
            raise TypeError(
                f"ParallelKalmanFilter: expected a LinearGaussian model, got {type(model).__name__}. A filter that "
                "linearises at its estimates is sequential"
            )
        KalmanGain().check(model, "ParallelKalmanFilter")
        self.model = model

    def init(self) -> FilterMemory:
        return first_memory(self.model, KalmanGain())

    def step(self, memory: FilterMemory, x: Any) -> tuple[FilterMemory, Estimates]:
        return linearised_step(self.model, KalmanGain(), memory, x)

    def through(self, memory: FilterMemory, xs: Any) -> tuple[FilterMemory, Estimates]:
        steps = time_steps(xs, "ParallelKalmanFilter")
        inputs, times = as_inputs(xs), memory.time + jnp.arange(steps, dtype=memory.time.dtype)
        elements = jax.vmap(lambda time, x: _element(self.model, time, x))(times, inputs)
        first, _ = self.step(memory, jax.tree.map(lambda leaf: leaf[0], inputs))
        nothing = jax.tree.map(lambda leaf: jnp.zeros_like(leaf[0]), elements)
        start = nothing._replace(b=first.mean, C=first.gain)
        elements = jax.tree.map(lambda leaf, value: leaf.at[0].set(value), elements, start)
        filtered = jax.lax.associative_scan(_combined, elements)
        # Beside the means and covariances, a step of the sequential filter from each of its memories gives all.
        before = FilterMemory(
            times,
            jnp.concatenate([memory.mean[None], filtered.b[:-1]]),
            jnp.concatenate([memory.gain[None], filtered.C[:-1]]),
        )
        _, estimates = jax.vmap(self.step)(before, inputs)
        estimates = eqx.tree_at(lambda e: (e.mean, e.covariance), estimates, (filtered.b, filtered.C))
        return FilterMemory(memory.time + steps, filtered.b[-1], filtered.C[-1]), estimates


class _Element(NamedTuple):
    """What one observation, or a run of them, tells of the state after it given the state before it."""

    A: Float[Array, "*time state state"]
    b: Float[Array, "*time state"]
    C: Float[Array, "*time state state"]
    eta: Float[Array, "*time state"]
    J: Float[Array, "*time state state"]


def _element(model: LinearGaussian, time: Array, x: Any) -> _Element:
    """The element of an observation that is not the first; that of the first is known otherwise."""
    inputs: Inputs = checked(model, x)
    moment = Moment(time, inputs.control, inputs.duration)
    zero = jnp.zeros_like(model.initial_mean)
    identity = jnp.eye(model.state_size, dtype=zero.dtype)
    F, u = model.transit_jacobian(zero, moment), model.transit(zero, moment)
    H = seen(model.observe_jacobian(zero, moment), inputs.present)
    Q = dense(model.process_noise_at(moment))
    R = dense(masked_noise(model.observation_noise_at(moment), inputs.present))
    W = whitener_of(symmetric(H @ Q @ H.T + R))
    innovation = seen(inputs.observation, inputs.present) - H @ u
    K = Q @ H.T @ W.T @ W
    rest = identity - K @ H
    whitened = W @ H @ F
    return _Element(
        A=rest @ F,
        b=u + K @ innovation,
        C=symmetric(rest @ Q @ rest.T + K @ R @ K.T),
        eta=whitened.T @ (W @ innovation),
        J=whitened.T @ whitened,
    )


def _combined(early: _Element, late: _Element) -> _Element:
    """The element of two runs of observations, one after the other; stacked along a leading axis."""
    return jax.vmap(_combined_pair)(early, late)


def _combined_pair(early: _Element, late: _Element) -> _Element:
    A, b, C, eta, J = early
    size = len(b)
    # Only what holds an observation is a vector: of a linear model all sequences of a batch share the matrices.
    known = jnp.linalg.solve(jnp.eye(size, dtype=b.dtype) + C @ late.J, jnp.concatenate([A, C], axis=1))
    moved = known[:, :size]
    ahead = late.A @ known
    told, expected = jnp.split(jnp.concatenate([late.J, late.A]) @ b, 2)
    news = jnp.concatenate([ahead[:, size:], moved.T]) @ (late.eta - told)
    return _Element(
        A=ahead[:, :size],
        b=expected + news[:size] + late.b,
        C=symmetric(ahead[:, size:] @ late.A.T + late.C),
        eta=news[size:] + eta,
        J=symmetric(moved.T @ late.J @ A + J),
    )
