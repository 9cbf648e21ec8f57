"""Linear systems with a symmetric positive definite operator, and their derivative."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


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
    matvec: Callable[[Any], Any], rhs: Any, *, maximum: int = 1000, tolerance: float | None = None
) -> Any:
    r"""Solve $M s = b$ for a symmetric positive definite $M$ by conjugate gradients from zero.

    It stops once $\|b - M s\| \le \text{tolerance} \|b\|$. Where the largest number of iterations does not bring the
    residual below the square root of the machine precision, the result is NaN, which cannot be overlooked.

    Args:
        matvec: $s \mapsto M s$.
        rhs: $b$, an array or a tree of arrays.
        maximum: the largest number of iterations.
        tolerance: relative to $\|b\|$; by default ten times the machine precision.

    Source: Hestenes and Stiefel, 1952.
    """
    precision = float(jnp.finfo(jnp.result_type(*jax.tree.leaves(rhs))).eps)
    size = inner(rhs, rhs)
    threshold = (10 * precision if tolerance is None else tolerance) ** 2 * size

    def going(carry: Any) -> Array:
        *_, square, k = carry
        return (square > threshold) & (k < maximum)

    def advance(carry: Any) -> Any:
        s, residual, direction, square, k = carry
        image = matvec(direction)
        step = square / inner(direction, image)
        s = jax.tree.map(lambda v, d: v + step * d, s, direction)
        residual = jax.tree.map(lambda r, i: r - step * i, residual, image)
        following = inner(residual, residual)
        direction = jax.tree.map(lambda r, d: r + following / square * d, residual, direction)
        return s, residual, direction, following, k + 1

    start = jax.tree.map(jnp.zeros_like, rhs), rhs, rhs, size, 0
    s, _, _, square, _ = jax.lax.while_loop(going, advance, start)
    solved = square <= jnp.maximum(threshold, precision * size)
    return jax.tree.map(lambda v: jnp.where(solved, v, jnp.nan), s)


def inner(a: Any, b: Any) -> Float[Array, ""]:
    """The real inner product of two arrays, or trees of arrays."""
    products = jax.tree.map(lambda u, v: jnp.real(jnp.vdot(u, v)), a, b)
    return sum(jax.tree.leaves(products), start=jnp.zeros(()).astype(jax.tree.leaves(products)[0].dtype))
