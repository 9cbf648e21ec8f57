"""The Kalman filter and smoother in parallel over time, against dynamax's.

The linear model of `filters`, single precision; both sides scan associatively over time and return the same.
"""

from functools import partial

from mbdl import tracking

from . import filters
from .filters import OUTPUTS, compared, problem
from .timing import Contender, Tables, measure


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


ours = partial(filters.ours, filter=tracking.ParallelKalmanFilter, smoother=tracking.ParallelRTSSmoother)
dynamax = partial(filters.dynamax, module="linear_gaussian_ssm.parallel_inference")
