"""Leaves of a rule: arrays in the dtype of their context, whatever number the user wrote."""

from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

Tree = TypeVar("Tree")


def is_concrete(value: Any) -> bool:
    """Whether a value is known now, and not a tracer of a transformation."""
    return not isinstance(value, Tracer)


def as_leaf(value: Any) -> Any:
    """Turn a number that a user wrote into an array leaf of a rule.

    A Python number becomes a *weakly typed* array, which takes the dtype of the rule that it is put into (see
    `settle`). As an array it costs no new trace for a new value. What is an array, `Learned` or `PerLayer` already is
    returned as is.

    Args:
        value: a Python number, an array, or a wrapped leaf.

    Raises:
        TypeError: for anything else.
    """
    from .learned import Learned, PerLayer

    if isinstance(value, (Learned, PerLayer, jax.Array, jax.ShapeDtypeStruct)):
        return value
    if isinstance(value, (bool, int, float, complex, np.ndarray, np.generic)):
        if isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        return jnp.asarray(value)
    raise TypeError(f"expected a number or an array, got {value!r} of type {type(value).__name__}")


def dtype_of(tree: Any) -> np.dtype:
    """The floating dtype of a tree: that of its strongly typed inexact arrays together, else JAX's default.

    A complex tree has the dtype of its real part: weights and step sizes are real.
    """
    strong = [
        leaf.dtype
        for leaf in jax.tree.leaves(tree)
        if eqx.is_inexact_array(leaf) and not getattr(leaf, "weak_type", False)
    ]
    if not strong:
        return np.dtype(jnp.zeros(()).dtype)
    return np.dtype(jnp.finfo(jnp.result_type(*strong)).dtype)


def settle(tree: Tree, dtype: Any = None) -> Tree:
    """Give every weakly typed number in a tree the dtype of its context.

    Python numbers and NumPy arrays become JAX arrays. Nothing is float64 inside a float32 rule afterwards, also under
    x64.

    Args:
        tree: any pytree.
        dtype: floating dtype of the context; by default `dtype_of(tree)`.
    """
    if dtype is None:
        dtype = dtype_of(tree)

    def leaf(value: Any) -> Any:
        if isinstance(value, (np.ndarray, np.generic)):
            return jnp.asarray(value)
        if isinstance(value, float) or (
            getattr(value, "weak_type", False) and jnp.issubdtype(value.dtype, jnp.floating)
        ):
            return jnp.asarray(value, dtype)
        if isinstance(value, (bool, int)):
            return jnp.asarray(value)
        if isinstance(value, complex):
            return jnp.asarray(value, jnp.result_type(dtype, jnp.complex64))
        return value

    return jax.tree.map(leaf, tree)
