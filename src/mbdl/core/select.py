"""Selecting parts of a rule by a function of it, through the wrappers, and replacing them."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from jax.tree_util import default_registry, keystr

from .learned import Learned, PerLayer

Address = tuple[int, ...]


class _Placeholder:
    """A leaf of the view: an object with an identity and nothing else."""

    __slots__ = ("name",)

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return f"<{self.name}>"


@dataclasses.dataclass(frozen=True)
class Selection:
    """One selected node: where it is, wrappers first, and what is there.

    Attributes:
        name: the path as a user would write it, such as `.prior.weight`.
        chain: addresses of its wrappers from the outside in, and last that of what they hold.
        nodes: the nodes at these addresses.
        inside: whether it lies inside the raw tree of a `Learned` further up.
    """

    name: str
    chain: tuple[Address, ...]
    nodes: tuple[Any, ...]
    inside: bool

    @property
    def outer(self) -> Address:
        return self.chain[0]

    @property
    def node(self) -> Any:
        """The selected node with its wrappers."""
        return self.nodes[0]

    @property
    def held(self) -> Any:
        """What the wrappers hold."""
        return self.nodes[-1]


def children(node: Any) -> list[tuple[Any, Any]] | None:
    """The (key, child) pairs of a node, or `None` for a leaf."""
    flat = default_registry.flatten_one_level_with_keys(node)
    return None if flat is None else list(flat[0])


def _rebuild(node: Any, children: list[Any]) -> Any:
    structure = jax.tree.structure(node, is_leaf=lambda other: other is not node)
    return structure.unflatten(children)


def _view(tree: Any) -> tuple[Any, dict[int, Selection], list[Any]]:
    """A copy of the tree without wrappers in which every node has an identity of its own."""
    index: dict[int, Selection] = {}
    alive: list[Any] = []  # identities are unique only among living objects

    def walk(node: Any, address: Address, name: str, wrappers: tuple[tuple[Address, Any], ...], inside: bool) -> Any:
        pairs = children(node)
        if isinstance(node, (Learned, PerLayer)) and pairs is not None:
            (position, held) = (0, node.raw if isinstance(node, Learned) else node.value)
            return walk(held, (*address, position), name, (*wrappers, (address, node)), inside)
        within = inside or any(isinstance(wrapper, Learned) for _, wrapper in wrappers)
        if pairs is None:
            view: Any = _Placeholder(name or "rule")
        else:
            pairs = [(key, child) for key, child in pairs]
            view = _rebuild(
                node,
                [walk(child, (*address, i), name + keystr((key,)), (), within) for i, (key, child) in enumerate(pairs)],
            )
        # Empty containers are shared between places; a component without arrays, such as `Zero()`, is one of its own.
        if pairs is None or pairs or dataclasses.is_dataclass(node):
            chain = (*wrappers, (address, node))
            alive.append(view)
            index[id(view)] = Selection(name, tuple(a for a, _ in chain), tuple(n for _, n in chain), inside)
        return view

    return walk(tree, (), "", (), False), index, alive


def select(tree: Any, where: Callable[[Any], Any], verb: str, *, whole: bool = False) -> list[Selection]:
    """The nodes of a tree that `where` returns: one node, or several in tuples, lists or dicts.

    `where` sees the tree as algorithms do, without wrappers, so one selector works before and after every verb.

    Raises:
        ValueError: when nothing, the same thing twice, one thing inside another, the whole rule (unless `whole`), or
            something that is not a part of the rule is selected.
    """
    view, index, alive = _view(tree)
    try:
        chosen = where(view)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(
            f"{verb}: the selector could not be applied to {type(tree).__name__}: {error}. It gets the rule and "
            f"returns "
            f"parts of it, for example lambda r: r.step_size. The rule's fields are {', '.join(_fields(tree))}"
        ) from error

    found: list[Selection] = []

    def collect(part: Any) -> None:
        if id(part) in index:
            found.append(index[id(part)])
        elif isinstance(part, (tuple, list)):
            for item in part:
                collect(item)
        elif isinstance(part, dict):
            for item in part.values():
                collect(item)
        elif part is not None:
            raise ValueError(
                f"{verb}: the selector returned {part!r}, which is not a part of the rule. Return parts of the rule "
                f"as they "
                "are, for example lambda r: (r.step_size, r.prior.weight)"
            )

    collect(chosen)
    if not found:
        raise ValueError(
            f"{verb}: the selector selected nothing in {type(tree).__name__}. Return at least one part of it"
        )
    for selection in found:
        if selection.outer == () and not whole:
            raise ValueError(
                f"{verb}: the selector returned the whole rule. Select the parts that are meant, "
                f"such as {', '.join('r.' + f for f in _fields(tree)[:3])}"
            )
    _check_disjoint(found, verb)
    del alive
    return found


def _check_disjoint(found: list[Selection], verb: str) -> None:
    for i, first in enumerate(found):
        for second in found[i + 1 :]:
            a, b = first.outer, second.outer
            if a == b:
                raise ValueError(f"{verb}: the selector returned {first.name} twice. Return each part once")
            if a == b[: len(a)] or b == a[: len(b)]:
                raise ValueError(f"{verb}: {first.name} and {second.name} lie inside each other. Select one of them")


def _fields(tree: Any) -> list[str]:
    """The names of the fields that may be selected."""
    fields = dataclasses.fields(tree) if dataclasses.is_dataclass(tree) else ()
    return [field.name for field in fields if not field.metadata.get("static", False)]


def replace(tree: Any, changes: dict[Address, Any]) -> Any:
    """The tree with the nodes at these addresses replaced."""

    def walk(node: Any, address: Address) -> Any:
        if address in changes:
            return changes[address]
        if not any(other[: len(address)] == address for other in changes):
            return node
        pairs = children(node)
        assert pairs is not None
        return _rebuild(node, [walk(child, (*address, i)) for i, (_, child) in enumerate(pairs)])

    return walk(tree, ())


def ancestors(tree: Any, address: Address) -> list[Any]:
    """The nodes on the way to an address, from the root down, without the node itself."""
    found = []
    node = tree
    for step in address:
        found.append(node)
        pairs = children(node)
        assert pairs is not None
        node = pairs[step][1]
    return found
