"""Sums of priors whose proximal map is known."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .constraint import Box, NonNegative, Zero
from .functional import AbstractFunctional, AbstractProximable, Multiple
from .l1 import L1
from .squared_l2 import SquaredL2


class Sum(AbstractFunctional, AbstractProximable):
    r"""A sum of priors on one signal, $f_1 + \dots + f_n$, where its proximal map is known; made by `f + g`.

    Known are sums of any one prior $f$ with `SquaredL2` ($\mathrm{prox}_{\mu (f + \frac{a}{2} \|\cdot\|^2)}(v) =
    \mathrm{prox}_{\frac{\mu}{1 + \mu a} f}(\frac{v}{1 + \mu a})$) and, where $f$ acts entry by entry (`L1` without
    transform, or no $f$), with `NonNegative` and `Box` (the map of $f$, then the projection).

    Args:
        terms: the functionals.

    Raises:
        TypeError: where the proximal map of the sum is not known.

    >>> import jax.numpy as jnp
    >>> from mbdl import inverse
    >>> prior = inverse.L1(0.5) + inverse.NonNegative()
    >>> prior.prox(jnp.array([2.0, -2.0]), 1.0).tolist()
    [1.5, 0.0]
    """

    terms: tuple[Any, ...]

    def __init__(self, *terms: Any):
        flat: list[Any] = []
        for term in terms:
            if not isinstance(term, AbstractFunctional) or not isinstance(term, AbstractProximable):
                raise TypeError(f"a prior adds to a functional with a proximal map, got {type(term).__name__}")
            flat += term.terms if isinstance(term, Sum) else (term,)
        main = [term for term in flat if not isinstance(_base(term), (Zero, SquaredL2, NonNegative, Box))]
        boxed = any(isinstance(_base(term), (NonNegative, Box)) for term in flat)
        if len(main) > 1 or (boxed and main and not _entrywise(main[0])):
            names = " + ".join(type(_base(term)).__name__ for term in flat)
            raise TypeError(
                f"the proximal map of {names} has no closed form. Split it with a solver for several priors (ADMM with "
                "one split variable each) or drop a term; two of one kind combine by adding their weights"
            )
        self.terms = tuple(flat)

    def __call__(self, s: Any) -> Float[Array, ""]:
        return functools.reduce(jnp.add, [term(s) for term in self.terms])

    def prox(self, point: Any, step: Float[Array, ""]) -> Any:
        squares = [term for term in self.terms if isinstance(_base(term), SquaredL2)]
        sets = [term for term in self.terms if isinstance(_base(term), (NonNegative, Box))]
        for square in squares:
            weight = square.factor * square.functional.weight if isinstance(square, Multiple) else square.weight
            point, step = jax.tree.map(lambda v, d=1 + step * weight: v / d, point), step / (1 + step * weight)
        for term in self.terms:
            if not any(term is other for other in squares + sets):
                point = term.prox(point, step)
        for term in sets:
            point = term.prox(point, step)
        return point


class Separable(AbstractFunctional, AbstractProximable):
    r"""One prior for each part of a signal that is a tuple, $f(s_1, \dots, s_n) = \sum_i f_i(s_i)$.

    Args:
        terms: a functional for each part.

    Raises:
        ValueError: where the signal does not have as many parts.
    """

    terms: tuple[Any, ...]

    def __init__(self, *terms: Any):
        for term in terms:
            if not isinstance(term, AbstractFunctional) or not isinstance(term, AbstractProximable):
                raise TypeError(f"Separable: expected functionals with a proximal map, got {type(term).__name__}")
        self.terms = terms

    def __call__(self, s: tuple[Any, ...]) -> Float[Array, ""]:
        return functools.reduce(jnp.add, [term(part) for term, part in zip(self.terms, self._parts(s), strict=True)])

    def prox(self, point: tuple[Any, ...], step: Float[Array, ""]) -> tuple[Any, ...]:
        return tuple(term.prox(part, step) for term, part in zip(self.terms, self._parts(point), strict=True))

    def _parts(self, s: Any) -> tuple[Any, ...]:
        if not isinstance(s, tuple) or len(s) != len(self.terms):
            raise ValueError(f"Separable: expected a tuple of {len(self.terms)} parts, got {type(s).__name__}")
        return s


def _base(term: Any) -> Any:
    while isinstance(term, Multiple):
        term = term.functional
    return term


def _entrywise(term: Any) -> bool:
    base = _base(term)
    return isinstance(base, L1) and base.transform is None
