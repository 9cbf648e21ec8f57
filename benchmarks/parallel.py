"""The Kalman filter and smoother in parallel over time, against dynamax's.

The linear model of `filters`, single precision; both sides scan associatively over time and return the same.
"""

from collections.abc import Callable

import jax

from mbdl import tracking

from . import peers
from .filters import compared, peer_parameters, problem, program
from .timing import Contender, Tables, measure

OUTPUTS = ("filtered means", "smoothed means", "smoothed means and covariances")


def run(
    *,
    rounds: int = 15,
    sizes: tuple[int, ...] = (2, 6, 16),
    lengths: tuple[tuple[int, int], ...] = ((100, 100), (10, 1000)),
    outputs: tuple[str, ...] = OUTPUTS,
) -> Tables:
    """Measures every output at every size of the state.

    Args:
        rounds: repetitions.
        sizes: numbers of states, and of observed components.
        lengths: pairs of trajectories at once and their observations.
        outputs: what is returned, of `OUTPUTS`.

    Yields:
        The title of each table with its measurements, once it is measured.
    """
    for output in outputs:
        for size in sizes:
            for count, steps in lengths:
                model, ys = problem(size, steps=steps, runs=count)
                own = ours(model, ys, output)
                contenders = [Contender("mbdl", lambda p=own: p), compared("dynamax", dynamax, model, ys, output, own)]
                title = f"Parallel over time, {size} states, T = {steps}, {count} trajectories: {output}"
                yield title, measure(contenders, rounds=rounds)


def ours(model: tracking.LinearGaussian, ys: jax.Array, output: str) -> Callable[[], tuple]:
    """A program of the library."""
    smooths = output != OUTPUTS[0]
    rule = (tracking.ParallelRTSSmoother if smooths else tracking.ParallelKalmanFilter)(model)

    def one(y: jax.Array) -> tuple:
        estimates = rule(y)
        return (estimates.mean, estimates.covariance) if output == OUTPUTS[2] else (estimates.mean,)

    return program(one, ys)


def dynamax(model: tracking.LinearGaussian, ys: jax.Array, output: str) -> Callable[[], tuple]:
    """A program of dynamax."""
    library, parameters = peers.dynamax("linear_gaussian_ssm.parallel_inference"), peer_parameters(model)

    def one(y: jax.Array) -> tuple:
        if output == OUTPUTS[0]:
            return (library.lgssm_filter(parameters, y).filtered_means,)
        posterior = library.lgssm_smoother(parameters, y)
        covariances = (posterior.smoothed_covariances,) if output == OUTPUTS[2] else ()
        return (posterior.smoothed_means, *covariances)

    return program(one, ys)
