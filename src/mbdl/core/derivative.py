"""What has no derivative raises while tracing; it never returns a silent zero."""

from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

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
    read = structure.unflatten(_needed(jaxpr, [True] * len(jaxpr.outvars)))
    return jax.tree.map(lambda flag, _: bool(flag), eqx.combine(read, jax.tree.map(lambda _: False, static)), arguments)


def _needed(jaxpr: Jaxpr, wanted: list[bool]) -> list[bool]:
    """Which inputs of a jaxpr the wanted outputs depend on."""
    needed = {var for var, flag in zip(jaxpr.outvars, wanted, strict=True) if flag and not isinstance(var, Literal)}
    for equation in reversed(jaxpr.eqns):
        outputs = [var in needed for var in equation.outvars]
        if any(outputs):
            called = _called(equation)
            flags = [True] * len(equation.invars) if called is None else _needed(called, outputs)
            read = zip(equation.invars, flags, strict=True)
            needed.update(var for var, flag in read if flag and not isinstance(var, Literal))
    return [var in needed for var in jaxpr.invars]


def _called(equation: Any) -> Jaxpr | None:
    """The jaxpr of an equation that calls a function once on its inputs, else `None`."""
    if equation.primitive.name not in ("jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call"):
        return None
    inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
    inner = inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner
    if not isinstance(inner, Jaxpr) or len(inner.invars) != len(equation.invars):
        return None
    return inner
