"""Equilibration of a quadratic program, so that badly scaled variables and rows do not hold its solvers up."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .standard_form import PrimalDual, StandardForm

_PASSES = 4


class Scaling(eqx.Module):
    r"""Positive scales of variables, $x = D \hat x$, and of rows, $\hat C = E C D$."""

    variables: Float[Array, " variables"]
    rows: Float[Array, " rows"]

    def form(self, form: StandardForm) -> StandardForm:
        """The program in scaled variables and rows."""
        D, E = self.variables, self.rows
        return StandardForm(
            D[:, None] * form.hessian * D,
            D * form.linear,
            E[:, None] * form.matrix * D,
            E * form.lower,
            E * form.upper,
            form.low / D,
            form.high / D,
        )

    def point(self, point: PrimalDual) -> PrimalDual:
        """A point of the scaled program in the units of the first one."""
        return PrimalDual(self.variables * point.x, self.rows * point.y, point.w / self.variables)

    def scaled(self, point: PrimalDual) -> PrimalDual:
        """A point of the first program in the units of the scaled one."""
        return PrimalDual(point.x / self.variables, point.y / self.rows, self.variables * point.w)


def equilibrate(hessian: Float[Array, "variables variables"], matrix: Float[Array, "rows variables"]) -> Scaling:
    r"""Scales with which each column of $P$ over $C$, and each row of $C$, has a largest entry near one.

    Source: D. Ruiz, "A scaling algorithm to equilibrate both rows and columns norms in matrices", RAL-TR-2001-034.
    """
    P, C = jnp.abs(hessian), jnp.abs(matrix)
    D, E = jnp.ones(P.shape[0], P.dtype), jnp.ones(C.shape[0], P.dtype)
    if not C.shape[0]:
        # A positive semidefinite matrix has its largest entries on the diagonal: one pass is enough.
        return Scaling(_inverse_root(jnp.diagonal(P)), E)

    def balance(_: int, carry: tuple[Array, ...]) -> tuple[Array, ...]:
        P, C, D, E = carry
        d = _inverse_root(jnp.maximum(jnp.max(P, axis=0), jnp.max(C, axis=0)))
        e = _inverse_root(jnp.max(C, axis=1))
        return d[:, None] * P * d, e[:, None] * C * d, d * D, e * E

    return Scaling(*jax.lax.fori_loop(0, _PASSES, balance, (P, C, D, E))[2:])


def _inverse_root(norms: Array) -> Array:
    """$1 / \\sqrt{n}$, and one where a norm is zero."""
    return jnp.where(norms > 0, 1 / jnp.sqrt(jnp.where(norms > 0, norms, 1.0)), 1.0)
