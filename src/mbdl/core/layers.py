"""Taking the layers of an unfolded solver apart: which `PerLayer` leaves follow its loop, and the rule at one layer."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jax.tree_util import keystr

from .learned import Learned, PerLayer
from .select import Address, children, replace


def per_layer(rule: Any) -> dict[Address, PerLayer]:
    """The `PerLayer` leaves that follow the layers of this solver, by address; not those of solvers nested in it."""
    return {address: leaf for address, (leaf, above) in all_per_layer(rule).items() if above == 0}


def all_per_layer(rule: Any) -> dict[Address, tuple[PerLayer, int]]:
    """All `PerLayer` leaves by address, each with the place of the solver whose layers it follows.

    The place is 0 for this solver, negative for one nested in it, and positive for one that it is nested in. Inside the
    leaves of this solver none is looked for.
    """
    from .solver import IterativeSolver

    found: dict[Address, tuple[PerLayer, int]] = {}

    def walk(node: Any, address: Address, depth: int) -> None:
        if isinstance(node, PerLayer):
            found[address] = node, node.level - depth
            if node.level == depth:
                return
        pairs = children(node)
        if pairs is None:
            return
        depth += isinstance(node, IterativeSolver) and address != ()
        for i, (_, child) in enumerate(pairs):
            walk(child, (*address, i), depth)

    walk(rule, (), 0)
    return found


def split(rule: Any, iterations: int) -> tuple[list[Any], Callable[[list[Any]], Any]]:
    """The stacked values of a solver's layers, and the solver with one layer's values in their place.

    Raises:
        ValueError: when a stack does not have one entry for each iteration.
    """
    layers = per_layer(rule)
    for leaf in layers.values():
        depths = {value.shape[0] if value.ndim else 0 for value in jax.tree.leaves(leaf.value) if eqx.is_array(value)}
        if depths - {iterations}:
            raise ValueError(
                f"{type(rule).__name__}: a per-layer value has {sorted(depths)} layers and the solver {iterations} "
                f"iterations. "
                "Unfold it to the depth of its values, or unfold the solver anew"
            )
    addresses = list(layers)

    def at(values: list[Any]) -> Any:
        return replace(rule, dict(zip(addresses, values, strict=True))) if addresses else rule

    return [layers[address].value for address in addresses], at


def take(values: list[Any], k: int) -> list[Any]:
    """The values of one layer."""
    return jax.tree.map(lambda leaf: leaf[k] if eqx.is_array(leaf) else leaf, values)


def name(rule: Any, address: Address) -> str:
    """The path of an address as a user would write it."""
    path, node = "", rule
    for step in address:
        pairs = children(node)
        assert pairs is not None
        key, child = pairs[step]
        wrapper = isinstance(node, (Learned, PerLayer))
        path, node = path + ("" if wrapper else keystr((key,))), child
    return path
