"""What makes two calls of `fit` the same run: names and digests of everything that its numbers depend on."""

import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, Literal

from mbdl.core.loops import equations


def digest_of_arrays(tree: Any) -> str:
    """A digest of the values, shapes and dtypes of all arrays of a tree."""
    digest = hashlib.blake2b(digest_size=12)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if hasattr(leaf, "dtype"):
            if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                leaf = jax.random.key_data(leaf)
            array = np.ascontiguousarray(np.asarray(leaf))
            digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {np.shape(leaf)};".encode())
            digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def structure_of(tree: Any) -> str:
    """The places, shapes and dtypes of the arrays of a tree, and a digest of them in front."""
    text = ", ".join(
        f"{jax.tree_util.keystr(path)} {leaf.dtype}{list(leaf.shape)}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    )
    return f"{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()} ({text[:200]})"


def digest_of_computation(program: ClosedJaxpr) -> str:
    """A digest of a traced program: its primitives, shapes, literals and constants.

    It sees what no other setting names: the loss, the optimiser and its learning rate, the rule's static fields.
    """
    digest = hashlib.blake2b(digest_size=12)

    def constants(values: Any) -> None:
        for value in values:
            if hasattr(value, "dtype") and not isinstance(value, Tracer):
                digest.update(digest_of_arrays(value).encode())

    constants(program.consts)
    for equation in equations(program.jaxpr):
        literals = [np.asarray(v.val).tobytes().hex() for v in equation.invars if isinstance(v, Literal)]
        shapes = [str(v.aval) for v in equation.outvars]
        options = sorted(
            (name, repr(value))
            for name, value in equation.params.items()
            if isinstance(value, bool | int | float | str | tuple) and not _holds_objects(value)
        )
        digest.update(repr((equation.primitive.name, literals, shapes, options)).encode())
        constants(c for value in equation.params.values() if isinstance(value, ClosedJaxpr) for c in value.consts)
    return digest.hexdigest()


def _holds_objects(value: Any) -> bool:
    """Whether a parameter holds something whose text may differ between processes."""
    if isinstance(value, tuple):
        return any(_holds_objects(item) for item in value)
    return not isinstance(value, bool | int | float | str | type(None))
