"""What constructors and traced code check of the values and shapes that they are given."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from .learned import Learned, PerLayer


def concrete(value: Any) -> np.ndarray | None:
    """The value as a NumPy array where it is known now; `None` for a tracer, a wrapped leaf or a placeholder."""
    if isinstance(value, (Learned, PerLayer, Tracer, jax.ShapeDtypeStruct)) or type(value) is object:
        return None
    return np.asarray(value)


def finite(value: Any, what: str) -> Any:
    """The value itself, after a check that it is finite where it is concrete."""
    known = concrete(value)
    if known is not None and not np.all(np.isfinite(known)):
        bad = int(np.sum(~np.isfinite(known)))
        raise ValueError(f"{what} must be finite, but {bad} of its {known.size} values are not")
    return value


def nonnegative(value: Any, what: str) -> Any:
    """The value itself, after a check that it is finite and not negative where it is concrete."""
    finite(value, what)
    known = concrete(value)
    if known is not None and np.any(known < 0):
        raise ValueError(f"{what} must not be negative, got a smallest value of {known.min():g}")
    return value


def positive(value: Any, what: str) -> Any:
    """The value itself, after a check that it is finite and positive where it is concrete."""
    finite(value, what)
    known = concrete(value)
    if known is not None and np.any(known <= 0):
        raise ValueError(f"{what} must be positive, got a smallest value of {known.min():g}")
    return value


def floating(value: Any) -> Any:
    """An array of integers or booleans as floating point; anything else as it is."""
    if isinstance(value, jax.Array) and not jnp.issubdtype(value.dtype, jnp.inexact):
        return value.astype(jnp.zeros(()).dtype)
    return value


def shaped(s: Any, shape: tuple[int, ...], what: str) -> None:
    """Raise unless `s` has the shape."""
    if jnp.shape(s) != shape:
        raise ValueError(f"{what}: expected shape {shape}, got {jnp.shape(s)}; apply jax.vmap to a batch")


def greatest(values: jax.Array, axis: int | None = None, *, initial: Any = None) -> jax.Array:
    """The largest of some values, NaN where one of them is: XLA's maximum over a batch, on a processor, may leave NaN
    out."""
    return jnp.where(jnp.any(jnp.isnan(values), axis=axis), jnp.nan, jnp.max(values, axis=axis, initial=initial))
