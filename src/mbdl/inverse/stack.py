"""Several observations of one signal."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .operator import AbstractOperator


class Stack(AbstractOperator):
    r"""Several operators on one signal, $x = (A_1 s, \dots, A_n s)$, a tuple.

    Args:
        operators: one or more, on the same kind of signal.

    Raises:
        ValueError: for none, and where their fixed input shapes differ.

    >>> import jax.numpy as jnp
    >>> from mbdl import inverse
    >>> A = inverse.Stack(inverse.Identity(), 2.0 * inverse.Identity())
    >>> [x.tolist() for x in A(jnp.ones(2))]
    [[1.0, 1.0], [2.0, 2.0]]
    """

    operators: tuple[AbstractOperator, ...]

    def __init__(self, *operators: AbstractOperator):
        shapes = {operator.input_shape for operator in operators} - {None}
        if not operators or len(shapes) > 1:
            raise ValueError(
                f"Stack: expected one or more operators on signals of one shape, got {len(operators)} of them on "
                f"{sorted(map(str, shapes))}"
            )
        self.operators = operators

    def __call__(self, s: Any) -> tuple[Any, ...]:
        return tuple(operator(s) for operator in self.operators)

    def adjoint(self, x: tuple[Any, ...]) -> Any:
        if not isinstance(x, (tuple, list)) or len(x) != len(self.operators):
            given = f"{len(x)}" if isinstance(x, (tuple, list)) else f"an array of shape {jnp.shape(x)}"
            raise ValueError(f"Stack: expected a tuple of {len(self.operators)} observations, got {given}")
        parts = [operator.adjoint(part) for operator, part in zip(self.operators, x, strict=True)]
        return jax.tree.map(lambda *leaves: functools.reduce(jnp.add, leaves), *parts)

    def norm(self) -> Float[Array, ""]:
        r"""$\sqrt{\sum_i \|A_i\|^2}$, a bound."""
        return jnp.sqrt(functools.reduce(jnp.add, [operator.norm() ** 2 for operator in self.operators]))

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        return next((operator.input_shape for operator in self.operators if operator.input_shape is not None), None)

    @property
    def dtype(self) -> np.dtype | None:
        return next((operator.dtype for operator in self.operators if operator.dtype is not None), None)
