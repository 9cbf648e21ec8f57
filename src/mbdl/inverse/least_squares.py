"""The fidelity of Gaussian noise."""

import abc
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from .conjugate_gradients import inner
from .operator import AbstractOperator


class AbstractFidelity(eqx.Module):
    """How well a signal explains an observation, $d(s, x)$, with a Lipschitz continuous gradient in $s$."""

    operator: eqx.AbstractVar[AbstractOperator]

    @abc.abstractmethod
    def __call__(self, s: Any, x: Any) -> Float[Array, ""]:
        """$d(s, x)$."""

    def gradient(self, s: Any, x: Any) -> Any:
        """The gradient with respect to $s$."""
        return jax.grad(self.__call__)(s, x)

    @abc.abstractmethod
    def lipschitz(self) -> Float[Array, ""]:
        """A Lipschitz constant of the gradient."""

    @abc.abstractmethod
    def prox(self, point: Any, x: Any, step: Float[Array, ""]) -> Any:
        """The proximal map in $s$ of `step` times the fidelity."""


class LeastSquares(AbstractFidelity):
    r"""Least squares, the fidelity of white Gaussian noise: $d(s, x) = \tfrac12 \|A s - x\|^2$.

    Args:
        operator: $A$.

    Differentiable in: the operator's arrays, the signal and the observation.

    >>> import jax.numpy as jnp
    >>> from mbdl import inverse
    >>> fidelity = inverse.LeastSquares(inverse.Identity())
    >>> float(fidelity(jnp.ones(2), jnp.zeros(2)))
    1.0
    """

    operator: AbstractOperator

    def __init__(self, operator: AbstractOperator):
        if not isinstance(operator, AbstractOperator):
            raise TypeError(
                f"LeastSquares: expected an operator, got {type(operator).__name__}; wrap a matrix in inverse.Matrix"
            )
        self.operator = operator

    def __call__(self, s: Any, x: Any) -> Float[Array, ""]:
        residual = self._residual(s, x)
        return 0.5 * inner(residual, residual)

    def gradient(self, s: Any, x: Any) -> Any:
        """$A^T (A s - x)$."""
        return self.operator.adjoint(self._residual(s, x))

    def prox(self, point: Any, x: Any, step: Float[Array, ""]) -> Any:
        r"""$(A^T A + I / \mu)^{-1} (A^T x + v / \mu)$."""
        rhs = jax.tree.map(lambda a, v: a + v / step, self.operator.adjoint(x), point)
        return self.operator.regularised_solve(rhs, 1 / step)

    def lipschitz(self) -> Float[Array, ""]:
        r"""$\|A\|^2$."""
        return self.operator.norm() ** 2

    def _residual(self, s: Any, x: Any) -> Any:
        predicted = self.operator(s)
        given, expected = jax.tree.map(np.shape, x), jax.tree.map(np.shape, predicted)
        if given != expected:
            raise ValueError(
                f"LeastSquares: the observation has shape {given}, but the operator gives {expected} for this signal"
            )
        return jax.tree.map(lambda p, o: p - o, predicted, x)
