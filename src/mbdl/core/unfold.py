"""Deep unfolding: a fixed number of iterations become layers."""

from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx

from . import layers
from .change import array_of, changed, check_learnable, holds_learned, kind_of, marked, with_fields, within
from .constraints import AbstractConstraint, Unconstrained, unconstrained
from .learned import Learned, PerLayer, is_learned, learns, repeat, wrap
from .select import Selection, ancestors, select
from .solver import IterativeSolver

Solver = TypeVar("Solver", bound=IterativeSolver)


def unfold(
    solver: Solver,
    iterations: int,
    *,
    untie: Callable[[Any], Any] | None = None,
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
    unfolded = with_fields(solver, iterations=iterations, rematerialise=rematerialise)
    layers.split(unfolded, iterations)  # raises for values of another depth
    if untie is None:
        return unfolded
    changes = {}
    for selection in select(unfolded, untie, "unfold"):
        _check_untied_once(unfolded, selection)
        level = sum(isinstance(node, IterativeSolver) for node in ancestors(unfolded, selection.outer)[1:])
        value = _untied(unfolded, selection, constraint)
        changes[selection.outer] = PerLayer(repeat(value, iterations), level)
    return changed(unfolded, changes)


def _check_untied_once(solver: Any, selection: Selection) -> None:
    """Raise for a selection that holds, or lies in, what follows the layers of this solver or of an outer one."""
    for address, (_, above) in layers.all_per_layer(solver).items():
        shorter = min(len(address), len(selection.chain[-1]))
        if above >= 0 and address[:shorter] == selection.chain[-1][:shorter]:
            which = "from layer to layer" if above == 0 else "from layer to layer of an outer solver"
            raise ValueError(
                f"unfold: {selection.name}, or a part of it, differs {which} already. Untie each part once, and unfold "
                "a nested solver before the one that it is in"
            )


def _untied(solver: Any, selection: Selection, constraint: AbstractConstraint | None) -> Any:
    """What one layer holds in the place of the selected node: the same, learned."""
    is_array = eqx.is_array_like(selection.held)
    learned = selection.inside or holds_learned(selection) or (not is_array and learns(selection.held))
    if constraint is not None and not isinstance(constraint, Unconstrained) and (learned or not is_array):
        kind = "learned already, with a constraint of its own" if learned else kind_of(selection.held)
        raise ValueError(
            f"unfold: a constraint is for arrays that are not learned yet, and {selection.name} is {kind}. Select "
            "arrays, or leave constraint out"
        )
    if selection.inside and not holds_learned(selection):
        holder = [node for node in ancestors(solver, selection.outer) if is_learned(node)][-1]
        return Learned(selection.node, unconstrained, (*holder.origin, "unfold"), holder.frozen)
    if learned:
        return marked(selection.node, "unfold")
    if is_array:
        value = wrap(array_of(solver, selection, "unfold"), constraint or unconstrained, "unfold")
    else:
        check_learnable(selection.held, "unfold", selection.name)
        value = Learned(selection.held, unconstrained, ("unfold",))
    return within(selection, value)
