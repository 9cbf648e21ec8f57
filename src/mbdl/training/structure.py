"""A pytree taken apart into arrays and a hashable rest, so that compiled programs can be kept by it."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np


class Structure(NamedTuple):
    """What of a pytree is not an array: equal structures share compiled programs."""

    treedef: Any
    static: tuple[Any, ...]
    kinds: tuple[type, ...]  # 1, 1.0 and True are equal, but programs for them are not

    def rebuild(self, arrays: list[Any]) -> Any:
        """The pytree with these arrays in their places."""
        remaining = iter(arrays)
        return jax.tree.unflatten(self.treedef, [next(remaining) if leaf is _Array else leaf for leaf in self.static])


class _Array:
    """The place of an array."""


def take_apart(tree: Any) -> tuple[list[Any], Structure]:
    """The arrays of a pytree, on the device, and its structure.

    Raises:
        TypeError: if something in the tree is neither an array nor hashable.
    """
    leaves, treedef = jax.tree.flatten(tree)
    leaves = [jax.numpy.asarray(leaf) if isinstance(leaf, np.ndarray | np.generic) else leaf for leaf in leaves]
    static = tuple(_Array if eqx.is_array(leaf) else leaf for leaf in leaves)
    structure = Structure(treedef, static, tuple(map(type, static)))
    try:
        hash(structure)
    except TypeError as error:
        raise TypeError(
            "fit needs everything in the rule and the risk that is not an array to be hashable, so that compiled "
            f"programs can be kept by it, but: {error}."
        ) from error
    return [leaf for leaf in leaves if eqx.is_array(leaf)], structure
