"""What the verbs share: looking at what was selected, and making the changed rule."""

import copy
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

from .learned import PerLayer, is_learned, is_tuned
from .leaves import context, dtype_of, settle
from .select import Address, Selection, replace

Rule = TypeVar("Rule")


def with_fields(rule: Rule, **fields: Any) -> Rule:
    """A copy of a rule with fields changed, checked as its constructor checks them."""
    copied = copy.copy(rule)
    for name, value in fields.items():
        object.__setattr__(copied, name, value)
    for base in type(copied).__mro__:
        check = base.__dict__.get("__check_init__")
        if check is not None:
            check(copied)
    return copied


def changed(rule: Rule, changes: dict[Address, Any]) -> Rule:
    """The rule with nodes replaced, and numbers in them in the dtype of the rule."""
    made = replace(rule, changes)
    return settle(made, context(rule) or dtype_of(made))


def holds_learned(selection: Selection) -> bool:
    return any(is_learned(node) and not is_tuned(node) for node in selection.nodes)


def place_of(selection: Selection) -> Address:
    """Where the wrapper of an array goes: inside `PerLayer`, in the place of the mark of a search."""
    tuned = [address for address, node in zip(selection.chain, selection.nodes, strict=True) if is_tuned(node)]
    return (tuned or selection.chain)[-1]


def within(selection: Selection, value: Any) -> Any:
    """A value in the `PerLayer` wrappers that the selected node has."""
    for node in reversed(selection.nodes):
        value = PerLayer(value, node.level) if isinstance(node, PerLayer) else value
    return value


def array_of(rule: Any, selection: Selection, verb: str) -> jax.Array:
    held = selection.held
    if isinstance(held, (float, complex)):
        held = jnp.asarray(held)
    if eqx.is_inexact_array(held):
        return settle(held, dtype_of(rule))
    if eqx.is_array(held):
        raise TypeError(
            f"{verb}: {selection.name} is an array of {held.dtype}, which cannot be learned; convert it to floating "
            f"point"
        )
    raise TypeError(
        f"{verb}: {selection.name} is {kind_of(held)}, not an array. Select its arrays, or put a network in its place "
        f"with "
        "mbdl.substitute"
    )


def kind_of(node: Any) -> str:
    article = "an" if type(node).__name__[0].lower() in "aeiou" else "a"
    return f"{article} {type(node).__name__}"


def check_learnable(component: Any, verb: str, name: str) -> None:
    if not any(map(eqx.is_inexact_array, jax.tree.leaves(component))):
        raise TypeError(
            f"{verb}: {name}: {kind_of(component)} holds no floating-point array, so there is nothing to learn in it"
        )


def marked(tree: Any, verb: str) -> Any:
    """The tree with a verb added to the origin of everything learned in it."""

    def mark(node: Any) -> Any:
        return node.marked(origin=(verb,)) if is_learned(node) and not is_tuned(node) else node

    return jax.tree.map(mark, tree, is_leaf=is_learned)
