"""Linear operators: the protocol, the adjoint, scaling and composition."""

import abc
import itertools
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mbdl.core import as_leaf
from mbdl.core.checks import concrete, finite

from .conjugate_gradients import conjugate_gradients, implicit_solve

Shape = tuple[int, ...]


class AbstractOperator(eqx.Module):
    """A linear map $A$ from a signal $s$ to what is observed of it, $x = A s$, held without a matrix where possible.

    A subclass implements `__call__`, `adjoint` and `norm`, and sets `input_shape`, `output_shape` and `dtype` where
    they are fixed. It overrides `regularised_solve` where structure allows a direct solution.

    Operators compose with `A @ B`, scale with `2.0 * A`, stack with `Stack(A, B)`, and `A.T` is the adjoint. Images are
    `[height width]` or `[height width channel]`; an operator on images acts on each channel, and on images of any size
    unless its `input_shape` says otherwise.
    """

    @abc.abstractmethod
    def __call__(self, s: Any) -> Any:
        """$A s$."""

    @abc.abstractmethod
    def adjoint(self, x: Any) -> Any:
        """$A^T x$ (the conjugate transpose for a complex operator)."""

    @abc.abstractmethod
    def norm(self) -> Float[Array, ""]:
        r"""The spectral norm $\|A\|$ or an upper bound of it, valid for images of any size."""

    @property
    def input_shape(self) -> Shape | None:
        """The shape of $s$; `None` where any size works."""
        return None

    @property
    def output_shape(self) -> Shape | None:
        """The shape of $x$; `None` where it follows from that of $s$."""
        return None

    @property
    def dtype(self) -> np.dtype | None:
        """The dtype of the operator's arrays; `None` where it takes that of its input."""
        return None

    def gram(self, s: Any) -> Any:
        """$A^T A s$."""
        return self.adjoint(self(s))

    def regularised_solve(self, rhs: Any, weight: Float[Array, ""]) -> Any:
        """The solution $s$ of $(A^T A + w I) s = b$: direct where the structure allows it, else by conjugate gradients.

        Args:
            rhs: $b$, of the shape of $s$.
            weight: $w > 0$.

        Differentiable in: all of it, by the implicit function theorem: the derivative never passes through a
        factorisation.
        """
        matvec = self.regularised_gram(weight)
        return implicit_solve(matvec, rhs, lambda b: conjugate_gradients(matvec, b))

    def regularised_gram(self, weight: Float[Array, ""]) -> Any:
        r"""The function $s \mapsto (A^T A + w I) s$."""
        return lambda s: jax.tree.map(lambda g, v: g + weight * v, self.gram(s), s)

    def gram_kernel(self) -> Float[Array, "rows columns"] | None:
        """The centred kernel of $A^T A$, of odd size, where that is a periodic convolution of images; else `None`."""
        return None

    def norm_after(self, inner: "AbstractOperator") -> Float[Array, ""]:
        """The norm, or a bound, of `self @ inner`; overridden where the pair has structure."""
        return self.norm() * inner.norm()

    def regularised_solve_after(self, inner: "AbstractOperator", rhs: Any, weight: Float[Array, ""]) -> Any:
        """`regularised_solve` of `self @ inner`; overridden where the pair has structure."""
        return AbstractOperator.regularised_solve(self @ inner, rhs, weight)

    @property
    def T(self) -> "AbstractOperator":
        """The adjoint as an operator."""
        return Adjoint(self)

    def __matmul__(self, inner: "AbstractOperator") -> "AbstractOperator":
        if not isinstance(inner, AbstractOperator):
            raise TypeError(f"an operator composes with an operator, got {type(inner).__name__}; apply it with A(s)")
        outers = self.operators if isinstance(self, Composition) else (self,)
        inners = inner.operators if isinstance(inner, Composition) else (inner,)
        return Composition(*outers, *inners)

    def __rmul__(self, factor: Any) -> "AbstractOperator":
        return Scaled(factor, self)

    def __neg__(self) -> "AbstractOperator":
        return Scaled(-1.0, self)


class AbstractOrthogonalOperator(AbstractOperator):
    r"""An operator with $W^T W = W W^T = I$: a function of $W s$ has the proximal map $W^T \mathrm{prox}(W v)$."""

    def norm(self) -> Float[Array, ""]:
        return jnp.asarray(1.0)

    def regularised_solve(self, rhs: Any, weight: Float[Array, ""]) -> Any:
        return jax.tree.map(lambda b: b / (1 + weight), rhs)

    def sparse(self, coefficients: Array) -> Any:
        """Which coefficients a sparsity prior should penalise: `True`, or a mask of the shape of the coefficients."""
        return True

    @property
    def T(self) -> "AbstractOrthogonalOperator":
        return OrthogonalAdjoint(self)


class Adjoint(AbstractOperator):
    """The adjoint of an operator, $A^T$.

    Args:
        operator: $A$.
    """

    operator: AbstractOperator

    def __call__(self, s: Any) -> Any:
        return self.operator.adjoint(s)

    def adjoint(self, x: Any) -> Any:
        return self.operator(x)

    def norm(self) -> Float[Array, ""]:
        return self.operator.norm()

    @property
    def input_shape(self) -> Shape | None:
        return self.operator.output_shape

    @property
    def output_shape(self) -> Shape | None:
        return self.operator.input_shape

    @property
    def dtype(self) -> np.dtype | None:
        return self.operator.dtype

    @property
    def T(self) -> AbstractOperator:
        return self.operator


class OrthogonalAdjoint(AbstractOrthogonalOperator):
    """The adjoint, which is the inverse, of an orthogonal operator.

    Args:
        operator: $W$.
    """

    operator: AbstractOrthogonalOperator

    def __call__(self, s: Any) -> Any:
        return self.operator.adjoint(s)

    def adjoint(self, x: Any) -> Any:
        return self.operator(x)

    @property
    def T(self) -> AbstractOrthogonalOperator:
        return self.operator


class Scaled(AbstractOperator):
    """An operator times a number, $c A$; made by `2.0 * A`.

    Args:
        factor: $c$, not zero.
        operator: $A$.

    Raises:
        ValueError: for a factor that is not one finite number or is zero.
    """

    factor: Float[Array, ""]
    operator: AbstractOperator

    def __init__(self, factor: Any, operator: AbstractOperator):
        self.factor = finite(as_leaf(factor), "Scaled: the factor")
        self.operator = operator
        known = concrete(self.factor)
        if known is not None and (known.shape != () or known == 0):
            raise ValueError(f"Scaled: expected one number that is not zero, got {factor!r}; weigh entries with Mask")

    def __call__(self, s: Any) -> Any:
        return jax.tree.map(lambda v: self.factor * v, self.operator(s))

    def adjoint(self, x: Any) -> Any:
        return jax.tree.map(lambda v: jnp.conj(self.factor) * v, self.operator.adjoint(x))

    def norm(self) -> Float[Array, ""]:
        return jnp.abs(self.factor) * self.operator.norm()

    def regularised_solve(self, rhs: Any, weight: Float[Array, ""]) -> Any:
        square = jnp.abs(self.factor) ** 2
        return self.operator.regularised_solve(jax.tree.map(lambda b: b / square, rhs), weight / square)

    def gram_kernel(self) -> Float[Array, "rows columns"] | None:
        kernel = self.operator.gram_kernel()
        return None if kernel is None else jnp.abs(self.factor) ** 2 * kernel

    @property
    def input_shape(self) -> Shape | None:
        return self.operator.input_shape

    @property
    def output_shape(self) -> Shape | None:
        return self.operator.output_shape

    @property
    def dtype(self) -> np.dtype | None:
        return self.operator.dtype


class Composition(AbstractOperator):
    r"""One operator after another, $A_1 A_2 \cdots A_n$; made by `A @ B`.

    The regularised solve is direct where the pair of the first and the rest is known, as in `Downsample(2) @
    Convolution(k)`, and where an orthogonal operator stands at either end of such a one.

    Args:
        operators: the outermost, which is applied last, first.

    Raises:
        ValueError: where the fixed shapes of neighbours differ.
    """

    operators: tuple[AbstractOperator, ...]

    def __init__(self, *operators: AbstractOperator):
        if not operators:
            raise ValueError("Composition: expected at least one operator; use Identity() for none")
        for outer, inner in itertools.pairwise(operators):
            given, wanted = inner.output_shape, outer.input_shape
            if given is not None and wanted is not None and given != wanted:
                raise ValueError(
                    f"{type(outer).__name__} @ {type(inner).__name__}: the inner gives shape {given}, the outer takes "
                    f"{wanted}"
                )
        self.operators = operators

    def __call__(self, s: Any) -> Any:
        for operator in reversed(self.operators):
            s = operator(s)
        return s

    def adjoint(self, x: Any) -> Any:
        for operator in self.operators:
            x = operator.adjoint(x)
        return x

    def norm(self) -> Float[Array, ""]:
        first, *rest = self._without_orthogonal_ends()
        return first.norm_after(_composed(rest)) if rest else first.norm()

    def regularised_solve(self, rhs: Any, weight: Float[Array, ""]) -> Any:
        first, last = self.operators[0], self.operators[-1]
        if first is last:
            return last.regularised_solve(rhs, weight)
        if isinstance(last, AbstractOrthogonalOperator):
            return last.adjoint(_composed(self.operators[:-1]).regularised_solve(last(rhs), weight))
        rest = _composed(self.operators[1:])
        if isinstance(first, AbstractOrthogonalOperator):
            return rest.regularised_solve(rhs, weight)
        return first.regularised_solve_after(rest, rhs, weight)

    def _without_orthogonal_ends(self) -> tuple[AbstractOperator, ...]:
        operators = self.operators
        while len(operators) > 1 and isinstance(operators[-1], AbstractOrthogonalOperator):
            operators = operators[:-1]
        while len(operators) > 1 and isinstance(operators[0], AbstractOrthogonalOperator):
            operators = operators[1:]
        return operators

    @property
    def input_shape(self) -> Shape | None:
        return self.operators[-1].input_shape

    @property
    def output_shape(self) -> Shape | None:
        return self.operators[0].output_shape

    @property
    def dtype(self) -> np.dtype | None:
        return next((operator.dtype for operator in self.operators if operator.dtype is not None), None)


def _composed(operators: Sequence[AbstractOperator]) -> AbstractOperator:
    return operators[0] if len(operators) == 1 else Composition(*operators)
