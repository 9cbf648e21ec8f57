"""The Kalman filter and the Rauch-Tung-Striebel smoother of a linear model, against dynamax and filterpy.

Trajectories of 100 observations, single precision (filterpy: double), a stable dense transition, all states observed.
Every side returns the same: filtered means, smoothed means, or smoothed means and covariances; what else a library
computes, its compiler may leave out. dynamax updates first, so the initial state is that `"at"` the first observation.
Many trajectories are mapped over; filterpy, which takes them one by one, is measured on a few, where all sides are.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mbdl import tracking

from . import peers
from .timing import Contender, Tables, measure

OUTPUTS = ("filtered means", "smoothed means", "smoothed means and covariances")
TOLERANCE = 1e-4
"""Of the largest value: a hundred steps of single precision."""


def run(
    *,
    rounds: int = 15,
    sizes: tuple[int, ...] = (2, 4, 6, 10, 16, 32),
    steps: int = 100,
    many: int = 1000,
    few: int = 10,
    outputs: tuple[str, ...] = OUTPUTS,
) -> Tables:
    """Measures every output at every size of the state.

    Args:
        rounds: repetitions.
        sizes: numbers of states, and of observed components.
        steps: observations of a trajectory.
        many: trajectories at once, without filterpy.
        few: trajectories at once, with filterpy.
        outputs: what is returned, of `OUTPUTS`.

    Yields:
        The title of each table with its measurements, once it is measured.
    """
    for output in outputs:
        for size in sizes:
            for count in (many, few):
                model, ys = problem(size, steps=steps, runs=count)
                own = ours(model, ys, output)
                contenders = [Contender("mbdl", lambda p=own: p), compared("dynamax", dynamax, model, ys, output, own)]
                if count == few:
                    contenders.append(compared("filterpy", filterpy, model, ys, output, own))
                title = f"Linear model, {size} states, T = {steps}, {count} trajectories: {output}"
                yield title, measure(contenders, rounds=rounds)


def problem(size: int, *, steps: int, runs: int) -> tuple[tracking.LinearGaussian, jax.Array]:
    """A stable model whose transition is a dense rotation that shrinks, and observations of it."""
    rotation, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((size, size)))
    model = tracking.LinearGaussian(
        transition=jnp.asarray(0.95 * rotation, jnp.float32),
        observation=jnp.eye(size),
        process_noise=0.1 * jnp.eye(size),
        observation_noise=jnp.eye(size),
        initial_mean=jnp.zeros(size),
        initial_covariance=jnp.eye(size),
        starts="at",
    )
    return model, tracking.simulate(model, jax.random.key(0), steps=steps, runs=runs).observations


def ours(
    model: tracking.LinearGaussian,
    ys: jax.Array,
    output: str,
    *,
    filter: Callable[..., Any] = tracking.KalmanFilter,
    smoother: Callable[..., Any] = tracking.RTSSmoother,
) -> Callable[[], tuple]:
    """A program of the library."""
    rule = filter(model) if output == OUTPUTS[0] else smoother(model)

    def one(y: jax.Array) -> tuple:
        estimates = rule(y)
        return (estimates.mean, estimates.covariance) if output == OUTPUTS[2] else (estimates.mean,)

    return program(one, ys)


def dynamax(
    model: tracking.LinearGaussian, ys: jax.Array, output: str, *, module: str = "linear_gaussian_ssm.inference"
) -> Callable[[], tuple]:
    """A program of one of dynamax's modules."""
    library = peers.dynamax(module)
    parameters = peers.dynamax().make_lgssm_params(
        model.initial_mean,
        model.initial_covariance,
        model.transition,
        model.process_noise,
        model.observation,
        model.observation_noise,
    )

    def one(y: jax.Array) -> tuple:
        if output == OUTPUTS[0]:
            return (library.lgssm_filter(parameters, y).filtered_means,)
        posterior = library.lgssm_smoother(parameters, y)
        covariances = (posterior.smoothed_covariances,) if output == OUTPUTS[2] else ()
        return (posterior.smoothed_means, *covariances)

    return program(one, ys)


def filterpy(model: tracking.LinearGaussian, ys: jax.Array, output: str) -> Callable[[], tuple]:
    """A program of filterpy: its batch filter over time, and a loop over the trajectories."""
    library = peers.filterpy()
    size = model.state_size
    F, H, Q, R, P = (
        np.asarray(matrix, np.float64)
        for matrix in (
            model.transition,
            model.observation,
            model.process_noise,
            model.observation_noise,
            model.initial_covariance,
        )
    )
    observations = np.asarray(ys, np.float64)

    def one(y: np.ndarray) -> tuple:
        kalman = library.KalmanFilter(dim_x=size, dim_z=size)
        kalman.x, kalman.P = np.zeros(size), P.copy()
        kalman.F, kalman.H, kalman.Q, kalman.R = F, H, Q, R
        means, covariances, *_ = kalman.batch_filter(y, update_first=True)
        if output == OUTPUTS[0]:
            return (means,)
        means, covariances, *_ = kalman.rts_smoother(means, covariances)
        return (means, covariances) if output == OUTPUTS[2] else (means,)

    return lambda: tuple(np.stack(arrays) for arrays in zip(*map(one, observations), strict=True))


def difference(theirs: tuple, expected: tuple) -> float:
    """The largest difference of the outputs, each relative to the largest value."""
    pairs = [(np.asarray(a), np.asarray(b)) for a, b in zip(theirs, expected, strict=True)]
    return max(float(np.max(np.abs(a - b)) / np.max(np.abs(b))) for a, b in pairs)


def program(one: Callable[[jax.Array], tuple], ys: jax.Array) -> Callable[[], tuple]:
    """A program of one trajectory, mapped over all and compiled."""
    compiled = jax.jit(jax.vmap(one))
    return lambda: compiled(ys)


def compared(
    name: str, make: Callable, model: Any, ys: jax.Array, output: str, expected: Callable[[], tuple]
) -> Contender:
    """A peer, whose outputs are compared with the library's before it is timed.

    Raises:
        AssertionError: when it is built, if they differ.
    """

    def build() -> Callable[[], tuple]:
        theirs = make(model, ys, output)
        largest = difference(theirs(), expected())
        if not largest < TOLERANCE:
            raise AssertionError(f"{name} computes something else: its {output} differ by {largest:.1e}")
        contender.note = f"differs by {largest:.0e}"
        return theirs

    contender = Contender(name, build)
    return contender
