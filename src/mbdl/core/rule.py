"""Decision rules: maps from a context to a decision, held as pytrees."""

import abc
import weakref
from functools import partial
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from .learned import resolve
from .leaves import context, dtype_of, is_concrete, settle


class DecisionRule(eqx.Module):
    """A map from a context $x$ to a decision $s$; a pytree whose known leaves are arrays and whose learned ones are
    `Learned`.

    A subclass implements `decide`, and `valid` where an input may be non-finite. Both see the rule resolved: every
    `Learned` replaced by its value. A context is one example without a batch axis; batches are `jax.vmap(rule)(xs)`.

    Numbers in fields become arrays in the dtype of the rule's other arrays (a rule that has none takes the dtype of its
    context); sizes and options are static fields (`equinox.field(static=True)`). Rules hash and compare by identity.

    ```python
    class Shrink(mbdl.DecisionRule):
        weight: jax.Array

        def decide(self, x):
            return jnp.sign(x) * jnp.maximum(jnp.abs(x) - self.weight, 0.0)

    Shrink(0.1)(jnp.array([1.0, 0.05]))
    ```
    """

    def __check_init__(self):
        dtype = context(self)
        for field in self.__dataclass_fields__.values():
            if not field.metadata.get("static", False) and hasattr(self, field.name):
                object.__setattr__(self, field.name, settle(getattr(self, field.name), dtype))

    @abc.abstractmethod
    def decide(self, x: Any) -> Any:
        """The decision for one context; called with the rule resolved."""

    def valid(self, x: Any) -> Bool[Array, ""]:
        """Whether a context is a valid input; by default, whether all of it is finite."""
        return all_finite(x)

    @final
    def __call__(self, x: Any, *, trace: bool = False) -> Any:
        """The decision for one context, compiled once for each structure and shape.

        Args:
            x: the context, an array or a pytree of arrays, without batch axes.
            trace: return the decision after every iteration, along a leading axis, instead of the last one (only for
                rules that iterate).

        Raises:
            ValueError: when the input is not valid or the decision is not finite. Under a transformation (`jit`,
                `vmap`, `grad`) nothing raises and NaN propagates.
        """
        if trace and not hasattr(self, "iterates"):
            raise TypeError(f"trace=True needs a rule that iterates; {type(self).__name__} does not")
        decision, flags = evaluate(self, "iterates" if trace else "decide", x)
        self._check(flags, x, decision)
        return decision

    def why_invalid(self, x: Any) -> str:
        """What is wrong with an input that `valid` refuses, and what to do, in words; `x` is concrete."""
        bad = sum(int(jnp.sum(~jnp.isfinite(leaf))) for leaf in jax.tree.leaves(x) if eqx.is_inexact_array_like(leaf))
        what = f"{bad} of its values are not finite" if bad else "the rule's `valid` refuses it"
        return f"{what}. Remove or impute such values before the rule is applied"

    def why_not_finite(self, x: Any, decision: Any) -> str:
        """Why a decision may not be finite although the input is valid, in words; both are concrete."""
        return (
            "The rule diverged or its parameters are out of range: try a smaller step size, fewer iterations or float64"
        )

    def _check(self, flags: Array | None, x: Any, decision: Any) -> None:
        """Raise for flags that are concrete and not both set."""
        if flags is None or (bits := int(flags)) == 3:
            return
        name = type(self).__name__
        if not bits & 1:
            raise ValueError(f"{name}: the input is not valid: {self.why_invalid(x)}")
        raise ValueError(
            f"{name}: the decision is not finite although the input is valid: {self.why_not_finite(x, decision)}"
        )

    def __hash__(self) -> int:
        return object.__hash__(self)

    def __eq__(self, other: object) -> bool:
        return self is other


def all_finite(tree: Any) -> Bool[Array, ""]:
    """Whether every floating-point array in a tree is finite."""
    checks = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree) if eqx.is_inexact_array(leaf)]
    return jnp.all(jnp.stack(checks)) if checks else jnp.asarray(True)


class _Structure:
    """What of a rule is not an array, hashable, so that a compiled function can be looked up by it quickly."""

    __slots__ = ("_hash", "static", "treedef")

    def __init__(self, treedef: Any, static: tuple[Any, ...]):
        self.treedef = treedef
        self.static = static
        self._hash = hash((treedef, static))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, _Structure) and self.static == other.static and self.treedef == other.treedef

    def rebuild(self, arrays: list[Any]) -> Any:
        remaining = iter(arrays)
        leaves = [next(remaining) if leaf is _ARRAY else leaf for leaf in self.static]
        return jax.tree.unflatten(self.treedef, leaves)


class _Array:
    """The place of an array in the leaves of a structure."""


_ARRAY = _Array
_taken_apart: weakref.WeakKeyDictionary[DecisionRule, tuple[list[Any], _Structure]] = weakref.WeakKeyDictionary()


def _take_apart(rule: DecisionRule) -> tuple[list[Any], _Structure]:
    known = _taken_apart.get(rule)
    if known is None:
        leaves, treedef = jax.tree.flatten(settle(rule))
        arrays = [leaf for leaf in leaves if eqx.is_array(leaf)]
        known = arrays, _Structure(treedef, tuple(_ARRAY if eqx.is_array(leaf) else leaf for leaf in leaves))
        if all(map(is_concrete, arrays)):  # a tracer must not outlive its transformation
            _taken_apart[rule] = known
    return known


@partial(jax.jit, static_argnums=(0, 1, 2))
def _run(
    structure: _Structure, method: str, valid: str, arrays: list[Any], arguments: tuple[Any, ...]
) -> tuple[Any, Array]:
    rule, x = structure.rebuild(arrays), jax.tree.map(jnp.asarray, arguments[0])
    rule, x = settle((rule, x), dtype_of((rule, x)))
    rule = resolve(rule)
    decision = getattr(rule, method)(x, *arguments[1:])
    flags = getattr(rule, valid)(x).astype(jnp.uint8) + 2 * all_finite(decision).astype(jnp.uint8)
    return decision, flags


def evaluate(rule: DecisionRule, method: str, x: Any, *options: Any, valid: str = "valid") -> tuple[Any, Array | None]:
    """Run a method of the resolved rule, compiled; return its result and flags (1: input valid, 2: result finite).

    `valid` names the method that says whether the input is.

    The flags are `None` under a transformation: also where it would leave them concrete, as `jax.grad` does.
    """
    arrays, structure = _take_apart(rule)
    decision, flags = _run(structure, method, valid, arrays, (x, *options))
    known = is_concrete(flags) and all(map(is_concrete, arrays)) and all(map(is_concrete, jax.tree.leaves(x)))
    return decision, flags if known else None
