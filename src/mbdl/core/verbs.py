"""Learned optimisation: the verbs that make arrays of a rule learned, and stop and resume their training.

Every verb returns a new rule of the same class, which decides the same at first."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax

from .change import array_of, changed, holds_learned, place_of
from .constraints import AbstractConstraint, unconstrained
from .learned import Learned, is_learned, is_tuned, learns, wrap
from .select import ancestors, select

Rule = TypeVar("Rule")


def learn(rule: Rule, where: Callable[[Any], Any], *, constraint: AbstractConstraint = unconstrained) -> Rule:
    """Learned optimisation: make arrays of a rule learned; the rule itself stays as it is.

    Args:
        rule: any rule.
        where: selects arrays, for example `lambda r: (r.step_size, r.prior.weight)`.
        constraint: the set that the values live in: `mbdl.unconstrained`, `mbdl.positive`, `mbdl.interval(a, b)`,
            `mbdl.positive_definite` or `mbdl.simplex`.

    Returns:
        the rule with the arrays wrapped in `Learned`; its decisions are the same to rounding.

    Raises:
        ValueError: when nothing is selected, a part is selected twice, or a value is not inside its set.
        TypeError: when something other than a floating-point array is selected.
    """
    changes = {}
    for selection in select(rule, where, "learn"):
        if selection.inside or holds_learned(selection):
            raise ValueError(
                f"learn: {selection.name} is already learned. Select what is not, or use mbdl.freeze and mbdl.thaw to "
                "stop and resume its training"
            )
        changes[place_of(selection)] = wrap(array_of(rule, selection, "learn"), constraint, "learn")
    return changed(rule, changes)


def freeze(rule: Rule, where: Callable[[Any], Any]) -> Rule:
    """Stop the training of learned parts; they go on counting as learned, not as known.

    Raises:
        ValueError: when nothing learned is selected.
    """
    return _set_frozen(rule, where, True, "freeze")


def thaw(rule: Rule, where: Callable[[Any], Any]) -> Rule:
    """Resume the training of frozen parts.

    Raises:
        ValueError: when nothing learned is selected.
    """
    return _set_frozen(rule, where, False, "thaw")


def tuned(rule: Rule, where: Callable[[Any], Any]) -> Rule:
    """Mark arrays as chosen by a search over data: `spectrum` counts them as tuned, neither known nor learned.

    Raises:
        ValueError: as `learn` does.
        TypeError: as `learn` does.
    """
    changes = {}
    for selection in select(rule, where, "tuned"):
        if selection.inside or holds_learned(selection):
            raise ValueError(f"tuned: {selection.name} is already learned. Select what a search has chosen")
        value = array_of(rule, selection, "tuned")
        changes[place_of(selection)] = Learned(value, unconstrained, ("tuned",), frozen=True)
    return changed(rule, changes)


def _set_frozen(rule: Rule, where: Callable[[Any], Any], frozen: bool, verb: str) -> Rule:
    def flip(tree: Any) -> Any:
        def node(n: Any) -> Any:
            if not is_learned(n) or is_tuned(n):
                return n
            return Learned(flip(n.raw), n.constraint, n.origin, frozen)

        return jax.tree.map(node, tree, is_leaf=is_learned)

    changes = {}
    for selection in select(rule, where, verb, whole=True):
        node = selection.node
        if selection.inside and not is_learned(node):
            holder = [n for n in ancestors(rule, selection.outer) if is_learned(n)][-1]
            changes[selection.outer] = Learned(flip(node), unconstrained, holder.origin, frozen)
        elif learns(node):
            changes[selection.outer] = flip(node)
        else:
            raise ValueError(
                f"{verb}: nothing in {selection.name} is learned. Apply mbdl.learn, unfold or substitute first"
            )
    return changed(rule, changes)
