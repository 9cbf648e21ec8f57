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
    `settle`), and so does a NumPy scalar in double precision, which is a Python number. As an array it costs no new
    trace for a new value. What is an array, `Learned` or `PerLayer` already is returned as is.

    Args:
        value: a Python number, an array, or a wrapped leaf.

    Raises:
        TypeError: for anything else.
    """
    from .learned import Learned, PerLayer

    if isinstance(value, (Learned, PerLayer, jax.Array, jax.ShapeDtypeStruct)):
        return value
    if isinstance(value, (bool, np.ndarray, np.generic)) and not isinstance(value, (float, complex)):
        return jnp.asarray(value)
    if isinstance(value, (int, float)):
        return jnp.asarray(float(value))
    if isinstance(value, complex):
        return jnp.asarray(complex(value))
    raise TypeError(f"expected a number or an array, got {value!r} of type {type(value).__name__}")


def context(tree: Any) -> np.dtype | None:
    """The floating dtype of a tree's strongly typed inexact arrays together, or `None` where there are none."""
    strong = [
        jax.dtypes.canonicalize_dtype(leaf.dtype)
        for leaf in jax.tree.leaves(tree)
        if eqx.is_inexact_array(leaf) and not isinstance(leaf, (float, complex)) and not _is_weak(leaf)
    ]
    return np.dtype(jnp.finfo(jnp.result_type(*strong)).dtype) if strong else None


def dtype_of(tree: Any) -> np.dtype:
    """The floating dtype of a tree: that of its strongly typed inexact arrays together, else JAX's default.

    A complex tree has the dtype of its real part: weights and step sizes are real.
    """
    return context(tree) or np.dtype(jnp.zeros(()).dtype)


def settle(tree: Tree, dtype: Any = None) -> Tree:
    """Give every weakly typed number in a tree the dtype of its context.

    Python numbers and NumPy arrays become JAX arrays. Nothing is float64 inside a float32 rule afterwards, also under
    x64. `True` and `False` stay as they are: they are options, not numbers. So do Python numbers inside a learned
    network (a dropout rate): in it, what is learned are arrays.

    Args:
        tree: any pytree.
        dtype: floating dtype of the context; by default that of the strongly typed arrays of the tree. Where there
            are none, numbers stay weakly typed and take the dtype of what they meet.
    """
    if dtype is None:
        dtype = context(tree)

    from .learned import Learned, is_learned

    def leaf(value: Any, numbers: bool = True) -> Any:
        if isinstance(value, Learned):
            network = not jax.tree_util.treedef_is_leaf(jax.tree.structure(value.raw))
            raw = jax.tree.map(lambda held: leaf(held, not network), value.raw, is_leaf=is_learned)
            return Learned(raw, jax.tree.map(leaf, value.constraint), value.origin, value.frozen)
        if isinstance(value, np.generic) and isinstance(value, (float, complex)):
            value = value.item()  # np.float64 is a float, and np.complex128 a complex
        if isinstance(value, bool) or (isinstance(value, (int, float, complex)) and not numbers):
            return value
        if isinstance(value, (int, float, complex, np.ndarray, np.generic)):
            value = jnp.asarray(value)
        if dtype is None or not _is_weak(value):
            return value
        if jnp.issubdtype(value.dtype, jnp.complexfloating):
            return jnp.asarray(value, jnp.result_type(dtype, jnp.complex64))
        return jnp.asarray(value, dtype if jnp.issubdtype(value.dtype, jnp.floating) else value.dtype)

    return jax.tree.map(leaf, tree, is_leaf=is_learned)


def _is_weak(value: Any) -> bool:
    return isinstance(value, jax.Array) and bool(getattr(value, "weak_type", False))
