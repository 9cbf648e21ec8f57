"""What has no derivative raises while tracing; it never returns a silent zero."""

from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
from jax.extend.core import Literal

Tree = TypeVar("Tree")


def nondifferentiable(value: Tree, what: str, remedy: str) -> Tree:
    """The value itself; differentiating it raises `TypeError` while tracing.

    Args:
        value: a tree of arrays.
        what: the name of the quantity that has no derivative.
        remedy: what to do instead.
    """

    def guard(leaf: Any) -> Any:
        @jax.custom_jvp
        def identity(x):
            return x

        @identity.defjvp
        def _(primals, tangents):
            raise TypeError(f"{what} has no derivative here. {remedy}")

        return identity(leaf) if eqx.is_inexact_array(leaf) else leaf

    return jax.tree.map(guard, value)


def reads(function: Callable[..., Any], *arguments: Any) -> Any:
    """Which array leaves of the arguments the outputs of a function depend on.

    Returns:
        a tree of the arguments' structure with a bool in the place of every array, `False` for what is not one. A
        leaf that enters a nested call counts as read.
    """
    dynamic, static = eqx.partition(arguments, eqx.is_array)
    leaves, structure = jax.tree.flatten(dynamic)

    def flat(*flat_leaves):
        out = function(*eqx.combine(structure.unflatten(flat_leaves), static))
        return eqx.filter(out, eqx.is_array_like)

    jaxpr = jax.make_jaxpr(flat)(*leaves).jaxpr
    needed = {var for var in jaxpr.outvars if not isinstance(var, Literal)}
    for equation in reversed(jaxpr.eqns):
        if any(var in needed for var in equation.outvars):
            needed.update(var for var in equation.invars if not isinstance(var, Literal))
    read = structure.unflatten([var in needed for var in jaxpr.invars])
    return jax.tree.map(lambda flag, _: bool(flag), eqx.combine(read, jax.tree.map(lambda _: False, static)), arguments)
