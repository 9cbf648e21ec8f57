"""The verbs that move a rule along the spectrum. Each returns a new rule of the same class and decides the same at
first."""

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

from . import layers
from .constraints import AbstractConstraint, Unconstrained, unconstrained
from .learned import Learned, PerLayer, is_learned, repeat, wrap
from .select import Selection, ancestors, replace, select
from .solver import IterativeSolver

Rule = TypeVar("Rule")
Solver = TypeVar("Solver", bound=IterativeSolver)
Where = Callable[[Any], Any]


def learn(rule: Rule, where: Where, *, constraint: AbstractConstraint = unconstrained) -> Rule:
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
        if selection.inside or any(map(is_learned, selection.nodes)):
            raise ValueError(
                f"learn: {selection.name} is already learned. Select what is not, or use mbdl.freeze and mbdl.thaw "
                f"to stop and "
                "resume its training"
            )
        changes[selection.chain[-1]] = wrap(_array(selection, "learn"), constraint, "learn")
    return replace(rule, changes)


def freeze(rule: Rule, where: Where) -> Rule:
    """Stop the training of learned parts; they go on counting as learned, not as known.

    Raises:
        ValueError: when nothing learned is selected.
    """
    return _set_frozen(rule, where, True, "freeze")


def thaw(rule: Rule, where: Where) -> Rule:
    """Resume the training of frozen parts.

    Raises:
        ValueError: when nothing learned is selected.
    """
    return _set_frozen(rule, where, False, "thaw")


def tuned(rule: Rule, where: Where) -> Rule:
    """Mark arrays as chosen by a search over data: `spectrum` counts them as tuned, neither known nor learned.

    Raises:
        ValueError: as `learn` does.
        TypeError: as `learn` does.
    """
    selections = select(rule, where, "tuned")
    changes = {}
    for selection in selections:
        if selection.inside or any(map(is_learned, selection.nodes)):
            raise ValueError(f"tuned: {selection.name} is already learned. Select what a search has chosen")
        changes[selection.chain[-1]] = Learned(_array(selection, "tuned"), unconstrained, ("tuned",), frozen=True)
    return replace(rule, changes)


def unfold(
    solver: Solver,
    iterations: int,
    *,
    untie: Where | None = None,
    constraint: AbstractConstraint | None = None,
    rematerialise: bool = False,
) -> Solver:
    """Deep unfolding: fix the number of iterations and let parameters differ from layer to layer.

    Args:
        solver: an iterative solver.
        iterations: the number of layers.
        untie: selects what each layer has a learned copy of: arrays, or components such as a network in the place of
            a prox. All layers begin with the solver's own value; for independent networks substitute a
            `PerLayer.independent(…)` into the unfolded solver. `None` unties nothing.
        constraint: the set that untied arrays live in (what is learned already keeps its own).
        rematerialise: recompute each layer in the backward pass: memory for one layer instead of all, at the cost of
            a second forward pass.

    Returns:
        a solver of the same class, whose decision is at first that of the same solver at the same depth.

    Raises:
        TypeError: for a rule that does not iterate.
        ValueError: for a depth below one, or what is untied already. Untying what a step does not read raises when
            the solver is first traced.
    """
    if not isinstance(solver, IterativeSolver):
        raise TypeError(
            f"unfold: {type(solver).__name__} does not iterate. Unfold an iterative solver (a subclass of "
            f"mbdl.IterativeSolver)"
        )
    unfolded = _with(solver, iterations=iterations, rematerialise=rematerialise)
    layers.split(unfolded, iterations)  # raises for values of another depth
    if untie is None:
        return unfolded
    changes = {}
    for selection in select(unfolded, untie, "unfold"):
        level = sum(isinstance(node, IterativeSolver) for node in ancestors(unfolded, selection.outer)[1:])
        if any(isinstance(node, PerLayer) and node.level == level for node in selection.nodes):
            raise ValueError(f"unfold: {selection.name} differs from layer to layer already. Untie it once")
        changes[selection.outer] = PerLayer(repeat(_untied(selection, constraint), iterations), level)
    return replace(unfolded, changes)


def _untied(selection: Selection, constraint: AbstractConstraint | None) -> Any:
    node = selection.node
    if any(map(is_learned, selection.nodes)) or selection.inside:
        if constraint is not None and not isinstance(constraint, Unconstrained):
            raise ValueError(
                f"unfold: {selection.name} is learned already, with a constraint of its own. Leave constraint out, "
                f"or unfold first"
            )
        return _marked(node, "unfold") if is_learned(node) else node
    if eqx.is_array_like(selection.held):
        return wrap(_array(selection, "unfold"), constraint or unconstrained, "unfold")
    if any(map(is_learned, jax.tree.leaves(node, is_leaf=is_learned))):
        return _marked(node, "unfold")
    if constraint is not None and not isinstance(constraint, Unconstrained):
        raise ValueError(
            f"unfold: a constraint is for arrays, and {selection.name} is {_kind(node)}. Select its arrays, or leave "
            "constraint out"
        )
    _check_learnable(node, "unfold", selection.name)
    return Learned(node, unconstrained, ("unfold",))


def substitute(rule: Rule, where: Where, network: Any) -> Rule:
    """DNN-aided optimisation: put a network (or a component that holds one) in the place of a component.

    Args:
        rule: any rule.
        where: selects the component, for example `lambda r: r.prior`.
        network: what takes its place. All of its floating-point arrays are learned, unless parts of it are marked
            `Learned` already: then these are. A `PerLayer` gives every layer of an unfolded solver its own.

    Returns:
        the rule with the component replaced.

    Raises:
        TypeError: when it cannot stand in that place, or holds nothing to learn.
        ValueError: for a bad selection.
    """
    changes = {}
    selections = select(rule, where, "substitute")
    for selection in selections:
        stands = network.value if isinstance(network, PerLayer) else network
        if not any(map(is_learned, jax.tree.leaves(stands, is_leaf=is_learned))):
            _check_learnable(stands, "substitute", selection.name)
        _check_protocol(selection, stands)
        replacement = _substituted(stands)
        changes[selection.outer] = (
            PerLayer(replacement, network.level) if isinstance(network, PerLayer) else replacement
        )
    return replace(rule, changes)


def _substituted(component: Any) -> Any:
    if any(map(is_learned, jax.tree.leaves(component, is_leaf=is_learned))):
        return _marked(component, "substitute")
    return Learned(component, unconstrained, ("substitute",))


def _check_protocol(selection: Selection, component: Any) -> None:
    held = component.raw if is_learned(component) else component
    protocols = [
        base
        for base in type(selection.held).__mro__
        if base.__name__.startswith("Abstract") and base.__module__.split(".")[0] != "equinox"
    ]
    if protocols and not any(isinstance(held, protocol) for protocol in protocols):
        raise TypeError(
            f"substitute: {selection.name} is {_kind(selection.held)} ({protocols[0].__name__}), and {_kind(held)} "
            f"cannot stand in "
            "its place. Wrap the network in a component with that protocol, such as mbdl.inverse.DenoiserPrior for "
            "a prior"
        )


class Gated(eqx.Module):
    r"""A learned correction behind a gate that is closed at first: $\Delta = g\,c(s, x)$ with $g = 0$.

    Attributes:
        correction: `(decision, x) -> delta`, of the decision's structure.
        gate: a scalar.
    """

    correction: Callable[[Any, Any], Any]
    gate: jax.Array

    def __call__(self, decision: Any, x: Any) -> Any:
        delta = self.correction(decision, x)
        given, expected = jax.tree.map(jnp.shape, delta), jax.tree.map(jnp.shape, decision)
        if given != expected:
            raise ValueError(f"augment: the correction returned shape {given} for a decision of shape {expected}")
        return jax.tree.map(lambda d, s: (self.gate * d).astype(s.dtype), delta, decision)


def augment(solver: Solver, correction: Callable[[Any, Any], Any]) -> Solver:
    """Add a learned correction to every iteration, zero at first.

    Args:
        solver: an iterative solver that has `shift`.
        correction: a network `(decision, x) -> delta`, whose output has the shape of the decision.

    Returns:
        a solver of the same class; its `correction` holds the network and its gate, and may be untied.

    Raises:
        TypeError: for a rule that does not iterate or has no `shift`.
        ValueError: when it is augmented already.
    """
    if not isinstance(solver, IterativeSolver):
        raise TypeError(f"augment: {type(solver).__name__} does not iterate, so there is no iteration to correct")
    if type(solver).shift is IterativeSolver.shift:
        raise TypeError(
            f"augment: {type(solver).__name__} does not say how a correction is added to its state; write its `shift`"
        )
    if solver.correction is not None:
        raise ValueError(
            f"augment: this {type(solver).__name__} has a correction already. Substitute r.correction to change it"
        )
    _check_learnable(correction, "augment", "the correction")
    return _with(solver, correction=Learned(Gated(correction, jnp.zeros(())), unconstrained, ("augment",)))


def _with(rule: Rule, **fields: Any) -> Rule:
    """A copy of a rule with fields changed, checked as its constructor checks them."""
    changed = copy.copy(rule)
    for name, value in fields.items():
        object.__setattr__(changed, name, value)
    for base in type(changed).__mro__:
        check = base.__dict__.get("__check_init__")
        if check is not None:
            check(changed)
    return changed


def _array(selection: Selection, verb: str) -> jax.Array:
    held = selection.held
    if isinstance(held, float):
        return jnp.asarray(held)
    if eqx.is_inexact_array(held):
        return held
    if eqx.is_array(held):
        raise TypeError(
            f"{verb}: {selection.name} is an array of {held.dtype}, which cannot be learned; convert it to floating "
            f"point"
        )
    raise TypeError(
        f"{verb}: {selection.name} is {_kind(held)}, not an array. Select its arrays, or put a network in its place "
        f"with "
        "mbdl.substitute"
    )


def _kind(node: Any) -> str:
    article = "an" if type(node).__name__[0].lower() in "aeiou" else "a"
    return f"{article} {type(node).__name__}"


def _check_learnable(component: Any, verb: str, name: str) -> None:
    if not any(map(eqx.is_inexact_array, jax.tree.leaves(component))):
        raise TypeError(
            f"{verb}: {name}: {_kind(component)} holds no floating-point array, so there is nothing to learn in it"
        )


def _marked(tree: Any, verb: str) -> Any:
    """The tree with a verb added to the origin of everything learned in it."""
    return jax.tree.map(lambda n: n.marked(origin=(verb,)) if is_learned(n) else n, tree, is_leaf=is_learned)


def _set_frozen(rule: Rule, where: Where, frozen: bool, verb: str) -> Rule:
    def flip(tree: Any) -> Any:
        def node(n: Any) -> Any:
            if not is_learned(n):
                return n
            return Learned(flip(n.raw), n.constraint, n.origin, frozen)

        return jax.tree.map(node, tree, is_leaf=is_learned)

    changes = {}
    for selection in select(rule, where, verb, whole=True):
        node = selection.node
        if selection.inside:
            holder = [n for n in ancestors(rule, selection.outer) if is_learned(n)][-1]
            changes[selection.outer] = Learned(flip(node), unconstrained, holder.origin, frozen)
        elif any(map(is_learned, jax.tree.leaves(node, is_leaf=is_learned))):
            changes[selection.outer] = flip(node)
        else:
            raise ValueError(
                f"{verb}: nothing in {selection.name} is learned. Apply mbdl.learn, unfold or substitute first"
            )
    return replace(rule, changes)
