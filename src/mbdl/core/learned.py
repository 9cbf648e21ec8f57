"""The two wrappers of a rule's leaves: `Learned`, what is learned, and `PerLayer`, what differs from layer to layer."""

from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from .constraints import AbstractConstraint, Unconstrained, unconstrained

Tree = TypeVar("Tree")


class Learned(eqx.Module):
    """What is learned in a rule: unconstrained arrays, or a whole network, and the set that their values live in.

    Made by the verbs (`mbdl.learn`, `mbdl.unfold`, `mbdl.substitute`, `mbdl.augment`); algorithms never see it, since
    `resolve` has replaced it by its value before they run.

    Attributes:
        raw: unconstrained arrays, in the dtype of the rule.
        constraint: the bijection onto the feasible set, anchored at the first value.
        origin: the verbs that made it, in order.
        frozen: whether training leaves it as it is (it still counts as learned, not as known).
    """

    raw: Any
    constraint: AbstractConstraint = unconstrained
    origin: tuple[str, ...] = eqx.field(static=True, default=())
    frozen: bool = eqx.field(static=True, default=False)

    @property
    def value(self) -> Any:
        """The value in its feasible set, nested `Learned` resolved."""
        raw = resolve(self.raw)
        return raw if isinstance(self.constraint, Unconstrained) else self.constraint(raw)

    def marked(self, *, origin: tuple[str, ...] = (), frozen: bool | None = None) -> "Learned":
        """The same with verbs added to its origin, or frozen or thawed."""
        frozen = self.frozen if frozen is None else frozen
        return Learned(self.raw, self.constraint, self.origin + origin, frozen)


class PerLayer(eqx.Module):
    """Leaves that differ from layer to layer of an unfolded solver, stacked along a leading layer axis.

    `resolve` keeps it; only the loop over the layers of the solver that it belongs to takes it apart.

    Attributes:
        value: arrays (or `Learned`, or a network) with a leading axis of one entry a layer.
        level: how many iterative solvers lie between this leaf and the solver whose layers it follows (0: the
            nearest).
    """

    value: Any
    level: int = eqx.field(static=True, default=0)

    @staticmethod
    def independent(make: Callable[[PRNGKeyArray], Any], layers: int, *, key: PRNGKeyArray) -> "PerLayer":
        """Independent networks from independent keys, one a layer.

        Args:
            make: builds one network from a key.
            layers: how many.
            key: split into one key a layer.

        ```python
        prox = PerLayer.independent(lambda k: DenoiserPrior(DnCNN(key=k)), 5, key=key)
        rule = mbdl.substitute(mbdl.unfold(solver, 5), lambda r: r.prior, prox)
        ```
        """
        if layers < 1:
            raise ValueError(f"PerLayer.independent: expected at least one layer, got {layers}")
        return PerLayer(stack([make(k) for k in jax.random.split(key, layers)]))


def stack(trees: list[Tree]) -> Tree:
    """Stack the arrays of equal trees along a new leading axis; what is not an array is that of the first."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves) if eqx.is_array(leaves[0]) else leaves[0], *trees)


def repeat(tree: Tree, layers: int) -> Tree:
    """Copy the arrays of a tree along a new leading axis of separate layers."""
    return jax.tree.map(lambda leaf: jnp.stack([leaf] * layers) if eqx.is_array(leaf) else leaf, tree)


def is_learned(node: Any) -> bool:
    return isinstance(node, Learned)


def is_tuned(node: Any) -> bool:
    """Whether a node is a value chosen by search (`mbdl.tuned`): wrapped, but to the other verbs a plain value."""
    return is_learned(node) and node.origin == ("tuned",)


def learns(tree: Any) -> bool:
    """Whether something in a tree is learned, frozen or not; values chosen by search are not."""
    nodes = jax.tree.leaves(tree, is_leaf=is_learned)
    return any(is_learned(node) and not is_tuned(node) for node in nodes)


def resolve(tree: Tree) -> Tree:
    """Replace every `Learned` in a tree by its value, nested rules included; `PerLayer` stays."""
    return jax.tree.map(lambda node: node.value if is_learned(node) else node, tree, is_leaf=is_learned)


def wrap(value: Any, constraint: AbstractConstraint, origin: str) -> Learned:
    """A `Learned` whose value is `value` to rounding."""
    if isinstance(constraint, Unconstrained):
        return Learned(value, constraint, (origin,))
    raw, anchored = constraint.bind(value)
    return Learned(raw, anchored, (origin,))


def _mask(tree: Any, inside: bool) -> Any:
    def node(value: Any) -> Any:
        if is_learned(value):
            held = jax.tree.map(lambda _: False, value.constraint)
            return Learned(_mask(value.raw, not value.frozen), held, value.origin, value.frozen)
        return inside and eqx.is_inexact_array(value)

    return jax.tree.map(node, tree, is_leaf=is_learned)


def partition(rule: Tree) -> tuple[Tree, Tree]:
    """Split a rule into what training moves and the rest.

    Returns:
        two trees of the rule's structure with `None` where the other has the leaf: the arrays inside `Learned` that
        are not frozen (the innermost `Learned` decides), and everything else. `combine` puts them together again.
    """
    return eqx.partition(rule, _mask(rule, False))


def combine(learned: Tree, rest: Tree) -> Tree:
    """The inverse of `partition`."""
    return eqx.combine(learned, rest)


def count(tree: Any) -> int:
    """How many numbers the arrays of a tree hold."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree) if eqx.is_array(leaf))
