"""DNN-aided optimisation: a network in the place of a component, or a learned correction of every iteration."""

from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

from .change import changed, check_learnable, kind_of, marked, with_fields
from .constraints import unconstrained
from .learned import Learned, PerLayer, is_learned, learns
from .leaves import dtype_of
from .select import Selection, ancestors, select
from .solver import IterativeSolver

Rule = TypeVar("Rule")
Solver = TypeVar("Solver", bound=IterativeSolver)


def substitute(rule: Rule, where: Callable[[Any], Any], network: Any) -> Rule:
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
    stands = network.value if isinstance(network, PerLayer) else network
    for selection in select(rule, where, "substitute"):
        above = ancestors(rule, selection.outer)
        if any(isinstance(node, PerLayer) for node in above):
            raise ValueError(
                f"substitute: {selection.name} lies inside what differs from layer to layer. Substitute that as a "
                "whole, or substitute before mbdl.unfold"
            )
        if isinstance(network, PerLayer) and sum(isinstance(node, IterativeSolver) for node in above) <= network.level:
            raise TypeError(
                f"substitute: {selection.name} is in no solver with layers, so nothing can differ from layer to layer. "
                "Give one network, not a PerLayer"
            )
        if not learns(stands):
            check_learnable(stands, "substitute", selection.name)
        _check_protocol(selection, stands)
        value = marked(stands, "substitute") if learns(stands) else Learned(stands, unconstrained, ("substitute",))
        changes[selection.outer] = PerLayer(value, network.level) if isinstance(network, PerLayer) else value
    return changed(rule, changes)


def _check_protocol(selection: Selection, component: Any) -> None:
    held = component.raw if is_learned(component) else component  # one may pass a component wrapped as a whole
    protocols = [
        base
        for base in type(selection.held).__mro__
        if base.__name__.startswith("Abstract") and base.__module__.split(".")[0] != "equinox"
    ]
    if protocols and not any(isinstance(held, protocol) for protocol in protocols):
        raise TypeError(
            f"substitute: {selection.name} is {kind_of(selection.held)} ({protocols[0].__name__}), and {kind_of(held)} "
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
    check_learnable(correction, "augment", "the correction")
    gated = Gated(correction, jnp.zeros((), dtype_of((solver, correction))))
    return with_fields(solver, correction=Learned(gated, unconstrained, ("augment",)))
