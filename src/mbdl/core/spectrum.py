"""The place of a rule on the spectrum, measured: what it knows, what it has learned, and by which strategies."""

import dataclasses
from typing import Any

import equinox as eqx
import jax

from .learned import Learned, is_learned, is_tuned
from .select import children
from .solver import IterativeSolver

STRATEGIES = ("learned optimisation", "deep unfolding", "DNN-aided", "black box")


@dataclasses.dataclass(frozen=True)
class Component:
    """One row of a spectrum: the numbers of one component of a rule."""

    name: str
    known: int = 0
    learned: int = 0
    frozen: int = 0
    tuned: int = 0

    def __add__(self, other: "Component") -> "Component":
        return Component(
            self.name,
            self.known + other.known,
            self.learned + other.learned,
            self.frozen + other.frozen,
            self.tuned + other.tuned,
        )


@dataclasses.dataclass(frozen=True)
class Spectrum:
    """The place of a rule on the spectrum between model-based optimisation and black-box learning.

    `str` gives one line, `table()` and `markdown()` one row a component.

    Attributes:
        rule: the name of the rule's class.
        components: the counts of its components.
        strategies: those by which it learned, in the order of the spectrum; empty for a rule that is only a model.
    """

    rule: str
    components: tuple[Component, ...]
    strategies: tuple[str, ...]

    @property
    def total(self) -> Component:
        """The counts of all components together."""
        return sum(self.components, Component("total"))

    @property
    def known(self) -> int:
        """How many numbers are known."""
        return self.total.known

    @property
    def learned(self) -> int:
        """How many numbers training moves."""
        return self.total.learned

    @property
    def frozen(self) -> int:
        """How many numbers were learned, and training now leaves alone."""
        return self.total.frozen

    @property
    def tuned(self) -> int:
        """How many numbers a search over data has chosen."""
        return self.total.tuned

    @property
    def strategy(self) -> str:
        """The strategies in words; `model-based` where nothing is learned."""
        return " + ".join(self.strategies) or "model-based"

    def __str__(self) -> str:
        total = self.total
        counts = [f"{total.known:,} known", f"{total.learned:,} learned"]
        counts += [f"{total.frozen:,} learned but frozen"] if total.frozen else []
        counts += [f"{total.tuned:,} tuned"] if total.tuned else []
        return f"{self.rule}: {self.strategy} ({', '.join(counts)})"

    def _rows(self) -> list[list[str]]:
        header = ["component", "known", "learned", "frozen", "tuned"]
        body = [
            [c.name, *(f"{n:,}" for n in (c.known, c.learned, c.frozen, c.tuned))]
            for c in (*self.components, self.total)
        ]
        return [header, *body]

    def table(self) -> str:
        """An aligned table for a terminal."""
        rows = self._rows()
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
            for row in rows
        ]
        return "\n".join([str(self), *lines])

    def markdown(self) -> str:
        """A Markdown table."""
        header, *rows = self._rows()
        lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def spectrum(rule: Any) -> Spectrum:
    """Measure the place of a rule on the spectrum.

    Arrays count by their number of entries: *known* ones outside `Learned`; *learned* ones that training moves; those
    *frozen*; and those *tuned* by a search (`mbdl.tuned`). Strategies follow from the verbs that were applied: a
    correction added by `mbdl.augment` to a solver counts as deep unfolding.

    Args:
        rule: any rule.

    Returns:
        a `Spectrum`.
    """
    found: set[str] = set()
    within = isinstance(rule, IterativeSolver)
    components = (
        _count(child, jax.tree_util.keystr((key,)).lstrip("."), found, iterates=within)
        for key, child in children(rule) or []
    )
    held = tuple(component for component in components if component != Component(component.name))
    return Spectrum(type(rule).__name__, held, tuple(s for s in STRATEGIES if s in found))


def _count(tree: Any, name: str, found: set[str], *, iterates: bool, holder: Learned | None = None) -> Component:
    """The counts of a component inside `holder`, and its strategies into `found`."""
    if is_learned(tree):
        found.update(_strategies(tree.origin, iterates=iterates))
        return _count(tree.raw, name, found, iterates=iterates, holder=tree)
    if eqx.is_array(tree):
        return Component(name, **{_kind(tree, holder): tree.size})
    iterates = iterates or isinstance(tree, IterativeSolver)
    parts = (_count(child, name, found, iterates=iterates, holder=holder) for _, child in children(tree) or [])
    return sum(parts, Component(name))


def _kind(array: Any, holder: Learned | None) -> str:
    if holder is None or not eqx.is_inexact_array(array):
        return "known"
    return "tuned" if is_tuned(holder) else "frozen" if holder.frozen else "learned"


def _strategies(origin: tuple[str, ...], *, iterates: bool) -> set[str]:
    """The strategies of one learned leaf; learned optimisation that was untied has become unfolding."""
    found = set()
    if "substitute" in origin or ("augment" in origin and not iterates):
        found.add("DNN-aided")
    if "unfold" in origin or ("augment" in origin and iterates):
        found.add("deep unfolding")
    if "network" in origin:
        found.add("black box")
    if "learn" in origin and not found:
        found.add("learned optimisation")
    return found
