"""The optimality conditions on an active set: their solution, and the derivative of a program's solution."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Bool, Float

from .standard_form import PrimalDual, StandardForm

UNSHARED = 32
"""The size up to which LAPACK inverts a triangular matrix in one thread."""


class ActiveSet(eqx.Module):
    """Which sides of rows and bounds hold."""

    lower: Bool[Array, " rows"]
    upper: Bool[Array, " rows"]
    low: Bool[Array, " variables"]
    high: Bool[Array, " variables"]

    @property
    def rows(self) -> Bool[Array, " rows"]:
        return self.lower | self.upper

    @property
    def fixed(self) -> Bool[Array, " variables"]:
        return self.low | self.high


def active_at(form: StandardForm, point: PrimalDual) -> ActiveSet:
    """The sides that a point and its multipliers say hold; rows with equal sides always do."""
    rows, bounds = form.matrix @ point.x + point.y, point.x + point.w
    return ActiveSet(
        (rows < form.lower) & ~form.equalities,
        (rows > form.upper) | form.equalities,
        (bounds < form.low) & ~form.fixed,
        (bounds > form.high) | form.fixed,
    )


class Factor(eqx.Module):
    r"""The inverse of the optimality conditions $P x + C_a^\top y + w = r, \; C_a x = s, \; x_f = t$ on an active set.

    Eliminates the fixed variables, then the free ones with $H = P + C_a^\top C_a$, then the rows that hold. Where the
    system is singular its solution is that of least norm to the square root of the precision: $H$ and the Schur
    complement are regularised, and what the regularisation alone would answer is taken out.
    """

    hessian: Float[Array, "variables variables"]
    matrix: Float[Array, "rows variables"]
    rows: Bool[Array, " rows"]
    fixed: Bool[Array, " variables"]
    by_variables: Float[Array, "variables variables"]
    by_rows: Float[Array, "rows rows"]
    singular: Bool[Array, ""]

    def __init__(self, hessian: Array, matrix: Array, rows: Array, fixed: Array):
        self.hessian, self.rows, self.fixed = hessian, rows, fixed
        self.matrix = C = jnp.where(rows[:, None], matrix, 0.0)
        small = small_of(hessian)
        held = fixed[:, None] | fixed
        system = jnp.where(held, 0.0, hessian + C.T @ C) + jnp.diag(jnp.where(fixed, 1.0, small))
        self.by_variables, free = _inverse(system, ~fixed)
        C = jnp.where(fixed, 0.0, C)
        self.by_rows, independent = _inverse(C @ self.by_variables @ C.T + jnp.diag(jnp.where(rows, small, 1.0)), rows)
        self.singular = jnp.maximum(free, independent) > 0.5

    def apply(self, point: PrimalDual) -> PrimalDual:
        """The left side of the conditions; $y$ and $w$ where nothing holds."""
        y, w = jnp.where(self.rows, point.y, 0.0), jnp.where(self.fixed, point.w, 0.0)
        return PrimalDual(
            self.hessian @ point.x + self.matrix.T @ y + w,
            jnp.where(self.rows, self.matrix @ point.x, point.y),
            jnp.where(self.fixed, point.x, point.w),
        )

    def solve(self, right: PrimalDual) -> PrimalDual:
        """The point with which the left side is `right`, refined once."""
        return self.corrected(right, self.corrected(right, jax.tree.map(jnp.zeros_like, right)))

    def corrected(self, right: PrimalDual, point: PrimalDual) -> PrimalDual:
        """A point, moved by what its left side lacks."""
        lacks = jax.tree.map(jnp.subtract, right, self.apply(point))
        return jax.tree.map(jnp.add, point, self._solve(lacks))

    def _solve(self, right: PrimalDual) -> PrimalDual:
        x = jnp.where(self.fixed, right.w, 0.0)
        s = jnp.where(self.rows, right.y - self.matrix @ x, 0.0)
        r = jnp.where(self.fixed, 0.0, right.x - self.hessian @ x + self.matrix.T @ s)
        y = self.by_rows @ (self.matrix @ (self.by_variables @ r) - s)
        x = x + self.by_variables @ jnp.where(self.fixed, 0.0, r - self.matrix.T @ y)
        w = right.x - self.hessian @ x - self.matrix.T @ y
        return PrimalDual(x, jnp.where(self.rows, y, right.y), jnp.where(self.fixed, w, right.w))


def small_of(array: Array) -> float:
    """What regularises a system of the size one: the square root of the precision."""
    return float(jnp.finfo(array.dtype).eps) ** 0.5


def inverse_root(matrix: Array) -> Array:
    r"""$L^{-1}$ of $M = L L^\top$."""
    size = matrix.shape[0]
    if not size:
        return matrix
    L, identity = jnp.linalg.cholesky(matrix, symmetrize_input=False), jnp.eye(size, dtype=matrix.dtype)
    if size <= UNSHARED or jax.default_backend() != "cpu":
        return solve_triangular(L, identity, lower=True)

    # Row by row: LAPACK shares a larger matrix among threads, which on a busy machine wait for milliseconds.
    def row(i: Array, inverse: Array) -> Array:
        return inverse.at[i].set((identity[i] - L[i] @ inverse) / L[i, i])

    return jax.lax.fori_loop(0, size, row, jnp.zeros_like(L))


def _inverse(matrix: Array, regularised: Array) -> tuple[Array, Array]:
    r"""$M^{-1}$ for $M = M_0 + \epsilon I$, and the dimension of the null space of $M_0$; where there is one,
    $M^{-1} (I - \epsilon M^{-1})^2$, which is nothing along it.

    Squared, since the first factor leaves the square root of the precision, which the inverse would raise to one.
    No derivative goes through it: what it solves is corrected by the system itself, which has one.
    """
    matrix, small = jax.lax.stop_gradient(matrix), small_of(matrix)
    root = inverse_root(matrix)
    inverse = root.T @ root
    null = small * jnp.sum(jnp.where(regularised, jnp.diagonal(inverse), 0.0))

    def without_null_space(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        inverse, _ = carry
        rest = jnp.eye(len(matrix), dtype=matrix.dtype) - small * jnp.where(regularised, inverse, 0.0)
        return inverse @ rest @ rest, jnp.zeros_like(null)

    # A loop, not a choice: of a batch, these products are made only where an instance is singular.
    inverse, _ = jax.lax.while_loop(lambda carry: carry[1] > 0.5, without_null_space, (inverse, null))
    return inverse, null


def solution_on(form: StandardForm, active: ActiveSet, point: PrimalDual) -> PrimalDual:
    """The solution of the optimality conditions on an active set, the nearest one to a point where there are many."""
    factor = Factor(form.hessian, form.matrix, active.rows, active.fixed)
    point = PrimalDual(
        jnp.where(active.fixed, jnp.where(active.low, form.low, form.high), point.x),
        jnp.where(active.rows, point.y, 0.0),
        jnp.where(active.fixed, point.w, 0.0),
    )
    sides = jnp.where(active.lower, form.lower, form.upper)
    right = PrimalDual(-form.linear, jnp.where(active.rows, sides, 0.0), jnp.where(active.fixed, point.x, 0.0))
    return jax.lax.fori_loop(0, 2, lambda _, point: factor.corrected(right, point), point)
