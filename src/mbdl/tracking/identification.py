"""A model from trajectories whose states are known: matrices by least squares, noises from what these leave."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mbdl.core import resolve, settle

from .inputs import Inputs, Moment, as_inputs, declared, undeclared
from .linear import LinearGaussian
from .linear_observation import LinearObservation
from .nonlinear import NonlinearGaussian

Identified = Literal["transition", "observation", "process_noise", "observation_noise"]
NAMES: tuple[Identified, ...] = get_args(Identified)

_WHAT = "least_squares"


def least_squares(model: Any, ys: Any, states: Any, *, learn: Sequence[Identified] | Identified | None = None) -> Any:
    r"""The model that fits trajectories whose states are known: each matrix by least squares,
    $$\hat F = \arg\min_F \sum_t \|s_t - F s_{t-1}\|^2, \qquad \hat H = \arg\min_H \sum_t \|y_t - H s_t\|^2$$
    (less what a control adds), and each noise as the mean square of what these, or the model's own functions, leave.

    Of linear Gaussian models it is the maximum likelihood; where the states are not known, see
    `expectation_maximisation`. The transition into the first state is left out. Of an observation that is missing in
    part, what is there is fitted, and its noise is estimated from the times at which all is there. What is marked as
    learned is taken as it is, and a noise that is found is a matrix.

    Args:
        model: a `LinearGaussian` or `NonlinearGaussian`; of the second, the observation has a matrix where it is a
            `LinearObservation`, and the transition has none.
        ys: observations `[runs time observation]`, or `Inputs` with a leading axis of runs.
        states: `[runs time state]`.
        learn: which of `"transition"`, `"observation"`, `"process_noise"` and `"observation_noise"`; by default all
            that the model has as matrices.

    Returns:
        the model with these in their places, in its own precision; they are computed in double precision.

    Raises:
        TypeError: for what is no such model.
        ValueError: for names that are unknown, or of what is no matrix; shapes that do not agree; values that are not
            finite; or states that say too little: those of all times span fewer dimensions than they have.

    Not differentiable: it is a fit, as `mbdl.fit` is.

    Source: L. Ljung, "System identification: theory for the user", 2nd edition, Prentice Hall, 1999.

    >>> import jax, jax.numpy as jnp
    >>> from mbdl import tracking
    >>> true = tracking.canonical(2, q2=1.0, r2=1.0, rotate_observation=10.0)
    >>> observations, states = tracking.simulate(true, jax.random.key(0), steps=100, runs=50)
    >>> model = tracking.canonical(2, q2=1.0, r2=1.0)
    >>> found = tracking.least_squares(model, observations, states, learn=["observation"])
    >>> angle = jnp.rad2deg(jnp.arctan2(found.observation[1, 0], found.observation[0, 0]))
    >>> print(f"{angle:.1f} degrees")
    10.0 degrees
    """
    if not isinstance(model, LinearGaussian | NonlinearGaussian):
        raise TypeError(f"{_WHAT}: expected a LinearGaussian or NonlinearGaussian model, got {type(model).__name__}")
    model = settle(resolve(model))
    names = _named(model, learn)
    with jax.enable_x64(True):
        inputs, wide = jax.tree.map(_in_double, (as_inputs(ys), model))
        known, precision = _checked(wide, inputs, states)
        for name in names:
            wide = eqx.tree_at(_PLACES[name], wide, jnp.asarray(_FITS[name](wide, inputs, known, precision)))
    fitted = [jnp.asarray(np.asarray(_PLACES[name](wide)), model.initial_mean.dtype) for name in names]
    return eqx.tree_at(lambda m: [_PLACES[name](m) for name in names], model, fitted)


def _in_double(leaf: Any) -> Any:
    return leaf.astype(jnp.float64) if eqx.is_inexact_array(leaf) else leaf


def _transition(model: Any, inputs: Inputs, states: np.ndarray, precision: float) -> np.ndarray:
    moved = states[:, 1:] - _moved(model, inputs, 0 * states[:, :-1])
    return _regression(states[:, :-1], moved, precision, "the transition")


def _observation(model: Any, inputs: Inputs, states: np.ndarray, precision: float) -> np.ndarray:
    observed, there = np.asarray(inputs.observation), _present(inputs)
    rows = []
    for k in range(observed.shape[-1]):
        seen, what = there[..., k], f"component {k} of the observation"
        rows.append(_regression(states[seen], observed[seen][:, [k]], precision, what))
    return np.concatenate(rows)


def _process_noise(model: Any, inputs: Inputs, states: np.ndarray, precision: float) -> np.ndarray:
    return _mean_square(states[:, 1:] - _moved(model, inputs, states[:, :-1]), "the process noise")


def _observation_noise(model: Any, inputs: Inputs, states: np.ndarray, precision: float) -> np.ndarray:
    expected = _over_time(model.observe, jnp.asarray(states), _moments(inputs))
    left = np.asarray(_over_time(model.innovation, inputs.observation, expected))
    return _mean_square(left[_present(inputs).all(-1)], "the observation noise")


_FITS = {
    "transition": _transition,
    "observation": _observation,
    "process_noise": _process_noise,
    "observation_noise": _observation_noise,
}
"""How each is fitted, given those before it."""


def _observation_matrix(model: Any) -> Any:
    return model.observation.matrix if isinstance(model.observation, LinearObservation) else model.observation


_PLACES = {
    "transition": lambda model: model.transition,
    "observation": _observation_matrix,
    "process_noise": lambda model: model.process_noise,
    "observation_noise": lambda model: model.observation_noise,
}
"""Where each stands in a model."""


def _named(model: Any, learn: Sequence[Identified] | Identified | None) -> tuple[Identified, ...]:
    """What is fitted, matrices before noises."""
    possible: tuple[Any, ...] = tuple(name for name in NAMES if not callable(_PLACES[name](model)))
    if learn is None and possible:
        return possible
    learn = () if learn is None else learn
    given: tuple[Any, ...] = chosen(learn, NAMES, _WHAT)
    functions = [name for name in given if name not in possible]
    if functions or not given:
        raise ValueError(
            f"{_WHAT}: {', '.join(functions)} of the model is a function, and has no least squares in closed form. "
            "Mark what it holds with mbdl.learn, and use mbdl.fit"
        )
    return tuple(name for name in possible if name in given)


def chosen(learn: Sequence[str] | str, names: Sequence[str], what: str) -> tuple[str, ...]:
    """What a caller names to be learned, one or several.

    Raises:
        ValueError: for nothing, or a name that is not among those that there are.
    """
    given = (learn,) if isinstance(learn, str) else tuple(learn)
    unknown = [name for name in given if name not in names]
    if unknown or not given:
        raise ValueError(f"{what}: cannot learn {unknown or 'nothing'}. Name some of {', '.join(names)}")
    return given


def _checked(model: Any, inputs: Inputs, states: Any) -> tuple[np.ndarray, float]:
    """The states in double precision, and the precision that they were given in."""
    known = np.asarray(states)
    wanted = (*inputs.observation.shape[:-1], model.state_size)
    if inputs.observation.ndim != 3 or known.shape != wanted:
        raise ValueError(
            f"{_WHAT}: expected observations [runs time observation] and states [runs time {model.state_size}], got "
            f"shapes {inputs.observation.shape} and {known.shape}. Give one sequence as ys[None], states[None]"
        )
    moments = _moments(inputs)
    size = model.observation_size(jax.tree.map(lambda leaf: leaf[0, 0], moments))
    if inputs.observation.shape[-1] != size:
        raise ValueError(
            f"{_WHAT}: the observations have {inputs.observation.shape[-1]} components, and those of the model {size}"
        )
    if known.shape[1] < 2:
        raise ValueError(f"{_WHAT}: expected at least two times, got states of shape {known.shape}")
    for run in np.flatnonzero(~np.asarray(jax.vmap(declared)(inputs))):
        why = undeclared(jax.tree.map(lambda leaf, run=run: leaf[run], inputs))
        if why is not None:  # A sequence of which nothing was observed has its states.
            raise ValueError(f"{_WHAT}: sequence {run} is not valid: {why}")
    if not np.all(np.isfinite(known)):
        run, time = np.argwhere(~np.isfinite(known))[0][:2]
        raise ValueError(f"{_WHAT}: the states of sequence {run} are not finite, first at step {time}")
    precision = np.finfo(known.dtype).eps if np.issubdtype(known.dtype, np.floating) else np.finfo(float).eps
    return known.astype(np.float64), float(precision)


def _moments(inputs: Inputs) -> Moment:
    times = jnp.broadcast_to(jnp.arange(inputs.observation.shape[1]), inputs.observation.shape[:2])
    return Moment(times, inputs.control, inputs.duration)


def _moved(model: Any, inputs: Inputs, before: np.ndarray) -> np.ndarray:
    """The states that the transition makes of those before, at each moment but the first."""
    later = jax.tree.map(lambda leaf: leaf[:, 1:], _moments(inputs))
    return np.asarray(_over_time(model.transit, jnp.asarray(before), later))


@eqx.filter_jit
def _over_time(function: Any, *arguments: Any) -> Array:
    return jax.vmap(jax.vmap(function))(*arguments)


def _present(inputs: Inputs) -> np.ndarray:
    if inputs.present is None:
        return np.ones(inputs.observation.shape, bool)
    return np.asarray(inputs.present)


def _regression(inputs: np.ndarray, outputs: np.ndarray, precision: float, what: str) -> np.ndarray:
    """The matrix that takes inputs to outputs, `[output input]`."""
    size = inputs.shape[-1]
    inputs, outputs = inputs.reshape(-1, size), outputs.reshape(-1, outputs.shape[-1])
    scale = np.linalg.norm(inputs, axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    matrix, _, rank, _ = np.linalg.lstsq(inputs / scale, outputs, rcond=10 * size * precision)
    if rank < size:
        raise ValueError(
            f"{_WHAT}: the states from which {what} is fitted span {rank} of their {size} dimensions. Give more of "
            "them, or leave that out of `learn`"
        )
    return matrix.T / scale


def _mean_square(left: np.ndarray, what: str) -> np.ndarray:
    flat = left.reshape(-1, left.shape[-1])
    if not len(flat):
        raise ValueError(f"{_WHAT}: at no time is all that {what} is estimated from there. Leave it out of `learn`")
    return flat.T @ flat / len(flat)
