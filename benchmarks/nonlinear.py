"""Extended and unscented filters and smoothers of the Lorenz system, against dynamax.

Trajectories of 100 observations, single precision, all three states observed. Both sides call the same functions of the
transition and of the observation, differentiate them automatically, and take the same sigma points.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mbdl import tracking

from . import peers
from .filters import compared, program
from .timing import Contender, Tables, measure

OUTPUTS = (
    "extended filter, means",
    "extended filter, means and covariances",
    "extended smoother, means",
    "extended smoother, means and covariances",
    "unscented filter, means",
    "unscented smoother, means",
)
POINTS = {"alpha": 1.0, "beta": 2.0, "kappa": 0.0}
"""Of the unscented transform."""


def run(
    *, rounds: int = 15, steps: int = 100, many: int = 1000, few: int = 10, outputs: tuple[str, ...] = OUTPUTS
) -> Tables:
    """Measures every output.

    Args:
        rounds: repetitions.
        steps: observations of a trajectory.
        many: trajectories at once.
        few: likewise, in a table of its own.
        outputs: what is returned, of `OUTPUTS`.

    Yields:
        The title of each table with its measurements, once it is measured.
    """
    model = tracking.lorenz(q2=1e-3, r2=0.1, initial_mean=jnp.ones(3), initial_covariance=0.1 * jnp.eye(3), starts="at")
    for output in outputs:
        for count in (many, few):
            ys = tracking.simulate(model, jax.random.key(0), steps=steps, runs=count).observations
            own = ours(model, ys, output)
            contenders = [Contender("mbdl", lambda p=own: p), compared("dynamax", dynamax, model, ys, output, own)]
            yield f"Lorenz system, T = {steps}, {count} trajectories: {output}", measure(contenders, rounds=rounds)


def ours(model: tracking.NonlinearGaussian, ys: jax.Array, output: str) -> Callable[[], tuple]:
    """A program of the library."""
    rule: Any = (
        tracking.ExtendedKalmanFilter(model)
        if "extended" in output
        else tracking.UnscentedKalmanFilter(model, **POINTS)
    )
    rule = tracking.RTSSmoother(rule) if "smoother" in output else rule

    def one(y: jax.Array) -> tuple:
        estimates = rule(y)
        return (estimates.mean, estimates.covariance) if "covariances" in output else (estimates.mean,)

    return program(one, ys)


def dynamax(model: tracking.NonlinearGaussian, ys: jax.Array, output: str) -> Callable[[], tuple]:
    """A program of dynamax."""
    kind, letter = ("extended", "e") if "extended" in output else ("unscented", "u")
    library, models = (peers.dynamax(f"nonlinear_gaussian_ssm.{name}") for name in (f"inference_{letter}kf", "models"))
    moment = tracking.Moment(jnp.zeros((), jnp.int32))
    parameters = models.ParamsNLGSSM(
        model.initial_mean,
        model.initial_covariance,
        lambda state: model.transit(state, moment),
        model.process_noise,
        lambda state: model.observe(state, moment),
        model.observation_noise,
    )
    points = () if kind == "extended" else (library.UKFHyperParams(**POINTS),)
    smooths = "smoother" in output
    inference = getattr(library, f"{kind}_kalman_{'smoother' if smooths else 'filter'}")

    def one(y: jax.Array) -> tuple:
        posterior = inference(parameters, y, *points)
        found = "smoothed" if smooths else "filtered"
        means, covariances = (getattr(posterior, f"{found}_{what}") for what in ("means", "covariances"))
        return (means, covariances) if "covariances" in output else (means,)

    return program(one, ys)
