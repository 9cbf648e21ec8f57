"""Linear systems with a symmetric positive definite operator, and their derivative."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mbdl.core import loop


def implicit_solve(matvec: Callable[[Any], Any], rhs: Any, solve: Callable[[Any], Any]) -> Any:
    r"""The solution of $M s = b$ with the derivative of the equation, not of the algorithm that solved it.

    Args:
        matvec: $s \mapsto M s$, linear and self-adjoint; what it closes over is differentiated.
        rhs: $b$.
        solve: $b \mapsto M^{-1} b$; what it closes over is not differentiated.

    Differentiable in: `rhs` and in everything that `matvec` closes over.
    """
    if any(jnp.iscomplexobj(leaf) for leaf in jax.tree.leaves(rhs)):
        # The transpose of a self-adjoint complex matrix is its conjugate.
        def transposed(_: Any, b: Any) -> Any:
            return jax.tree.map(jnp.conj, solve(jax.tree.map(jnp.conj, b)))

        return jax.lax.custom_linear_solve(matvec, rhs, lambda _, b: solve(b), transpose_solve=transposed)
    return jax.lax.custom_linear_solve(matvec, rhs, lambda _, b: solve(b), symmetric=True)


def conjugate_gradients(
    matvec: Callable[[Any], Any], rhs: Any, *, iterations: int = 100, tolerance: float | None = None
) -> Any:
    r"""Solve $M s = b$ for a symmetric positive definite $M$ by conjugate gradients from zero.

    Once $\|b - M s\| \le \text{tolerance} \|b\|$ the remaining iterations do nothing (and cost nothing, outside
    `vmap`).

    Args:
        matvec: $s \mapsto M s$.
        rhs: $b$, an array or a tree of arrays.
        iterations: how many at most; the last iterate is returned in any case.
        tolerance: relative to $\|b\|$; by default ten times the machine precision.

    Source: Hestenes and Stiefel, 1952.
    """
    precision = jnp.finfo(jnp.result_type(*jax.tree.leaves(rhs))).eps
    threshold = (10 * precision if tolerance is None else tolerance) ** 2 * inner(rhs, rhs)

    def advance(carry: Any) -> Any:
        s, residual, direction, square = carry
        image = matvec(direction)
        step = square / inner(direction, image)
        s = jax.tree.map(lambda v, d: v + step * d, s, direction)
        residual = jax.tree.map(lambda r, i: r - step * i, residual, image)
        following = inner(residual, residual)
        direction = jax.tree.map(lambda r, d: r + following / square * d, residual, direction)
        return s, residual, direction, following

    def body(carry: Any, _: Any) -> Any:
        return jax.lax.cond(carry[-1] > threshold, advance, lambda c: c, carry), None

    start = jax.tree.map(jnp.zeros_like, rhs), rhs, rhs, inner(rhs, rhs)
    return loop(body, start, length=iterations)[0][0]


def inner(a: Any, b: Any) -> Float[Array, ""]:
    """The real inner product of two arrays, or trees of arrays."""
    products = jax.tree.map(lambda u, v: jnp.real(jnp.vdot(u, v)), a, b)
    return sum(jax.tree.leaves(products), start=jnp.zeros(()).astype(jax.tree.leaves(products)[0].dtype))
