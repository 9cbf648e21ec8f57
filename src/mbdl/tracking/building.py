"""What the named models share: variances as covariances, an initial state, a step length."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mbdl.core import as_leaf, dtype_of
from mbdl.core.checks import finite, floating, nonnegative

from .inputs import Moment


def variances(value: Any, size: int, what: str) -> Any:
    """A variance, or one for each of `size` components, as a leaf.

    Raises:
        ValueError: for another shape, or what is negative or not finite.
    """
    value = _leaf(value)
    if value.shape not in ((), (size,)):
        raise ValueError(
            f"{what}: expected one variance, or one for each of {size} components, got shape {value.shape}"
        )
    return nonnegative(value, what)


def point(value: Any, size: int, what: str) -> Any:
    """A vector of `size` components as a leaf.

    Raises:
        ValueError: for another shape, or what is not finite.
    """
    value = _leaf(value)
    if hasattr(value, "shape") and value.shape != (size,):
        raise ValueError(f"{what}: expected shape ({size},), got {value.shape}")
    return finite(value, what)


def _leaf(value: Any) -> Any:
    """A number, an array or a list of numbers as a leaf."""
    return floating(as_leaf(np.asarray(value, float) if isinstance(value, (list, tuple)) else value))


def diagonal(value: Any, size: int, dtype: Any, what: str) -> Float[Array, "size size"]:
    """The covariance of independent components, from one variance or one a component."""
    return jnp.diag(jnp.broadcast_to(variances(value, size, what), (size,)).astype(dtype))


def initial(mean: Any, covariance: Any, default: Any, what: str) -> tuple[Float[Array, " state"], Any]:
    """The initial mean and covariance of a model whose state has the size of `default`; a known state by default.

    Raises:
        ValueError: for a mean of another size.
    """
    dtype = dtype_of((mean, covariance))
    mean = jnp.asarray(default, dtype) if mean is None else floating(as_leaf(mean))
    if mean.shape != (len(default),):
        raise ValueError(f"{what}: expected initial_mean to have shape ({len(default)},), got {mean.shape}")
    return mean, jnp.zeros((len(default), len(default)), mean.dtype) if covariance is None else covariance


def elapsed(moment: Moment, step: Float[Array, ""]) -> Float[Array, ""]:
    """The time since the observation before: the moment's duration where it has one."""
    return step if moment.duration is None else moment.duration


def at_least_one(value: Any, what: str) -> int:
    """A count, checked.

    Raises:
        ValueError: for what is no integer of at least one.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{what}: expected an integer of at least 1, got {value!r}")
    return value


def rows_of(observation: Any, mean: Float[Array, " state"]) -> int:
    """How many components a function observes of a state."""
    return jax.eval_shape(observation, mean, Moment(jnp.zeros((), jnp.int32))).shape[0]
