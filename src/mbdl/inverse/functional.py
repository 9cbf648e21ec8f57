"""What a prior can do: a value, a proximal map, a gradient; and a prior times a number."""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from mbdl.core import as_leaf
from mbdl.core.checks import nonnegative


class AbstractProximable(eqx.Module):
    r"""What can stand as the prior of a proximal or splitting solver: it has a proximal map.

    $$\mathrm{prox}_{\mu f}(v) = \arg\min_s \; \mu f(s) + \tfrac12 \|s - v\|^2$$

    A network may stand here too (`DenoiserPrior`): it has the map and no function $f$ behind it.
    """

    @abc.abstractmethod
    def prox(self, point: Any, step: Float[Array, ""]) -> Any:
        """The proximal map of `step` times the function, at `point`."""


class AbstractFunctional(eqx.Module):
    """A function of the signal, $f(s)$. Those with a proximal map scale, and add where the map of the sum is known."""

    @abc.abstractmethod
    def __call__(self, s: Any) -> Float[Array, ""]:
        """$f(s)$; infinity outside its domain."""

    def __rmul__(self, factor: Any) -> "AbstractFunctional":
        return Multiple(factor, self)

    def __add__(self, other: Any) -> "AbstractFunctional":
        from .sum import Sum

        return Sum(self, other)


class AbstractSmooth(AbstractFunctional):
    """A functional with a Lipschitz continuous gradient, which `GradientDescent` can take."""

    @abc.abstractmethod
    def gradient(self, s: Any) -> Any:
        r"""$\nabla f(s)$."""

    @abc.abstractmethod
    def lipschitz(self) -> Float[Array, ""]:
        """A Lipschitz constant of the gradient."""


class Multiple(AbstractFunctional, AbstractProximable):
    r"""A functional times a number, $c f$; made by `2.0 * f`. Its proximal map is that of $f$ with $c$ times the step.

    Args:
        factor: $c \ge 0$.
        functional: $f$, with a proximal map.

    Raises:
        ValueError: for a negative factor.
        TypeError: for a functional without a proximal map.
    """

    factor: Float[Array, ""]
    functional: Any

    def __init__(self, factor: Any, functional: Any):
        if not isinstance(functional, AbstractFunctional) or not isinstance(functional, AbstractProximable):
            raise TypeError(
                f"only a functional with a proximal map scales, got {type(functional).__name__}; "
                "write the weight into it instead"
            )
        self.factor = nonnegative(as_leaf(factor), "the factor of a functional")
        self.functional = functional

    def __call__(self, s: Any) -> Float[Array, ""]:
        value = self.functional(s)
        return jnp.where(jnp.isinf(value), value, self.factor * value)

    def prox(self, point: Any, step: Float[Array, ""]) -> Any:
        return self.functional.prox(point, self.factor * step)
