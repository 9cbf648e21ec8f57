"""Iterating a solver until convergence, with implicit gradients at the fixed point."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from .derivative import nondifferentiable, reads
from .rule import all_finite
from .select import replace, select


class Status(eqx.Enumeration):
    """How an iteration ended."""

    converged = "the residual fell below the tolerance"
    maximum_reached = "the largest number of iterations was reached before the residual fell below the tolerance"
    diverged = "the iterates became non-finite"


class ConvergenceError(RuntimeError):
    """A solver did not converge; `solution` is what it had."""

    def __init__(self, message: str, solution: Any):
        super().__init__(message)
        self.solution = solution

    def __reduce__(self):
        return type(self), (str(self), self.solution)


class Solution(eqx.Module):
    """What `solve` returns. The decision is differentiable; the iterations and the residual are constants.

    Attributes:
        decision: the last iterate's decision.
        iterations: how many were taken.
        residual: the last residual.
        status: `Status.converged`, `Status.maximum_reached` or `Status.diverged`.
    """

    decision: Any
    iterations: Int[Array, ""]
    residual: Float[Array, ""]
    status: Status

    def check(self, solver: Any, valid: bool) -> None:
        """Raise unless the input was valid and the iteration converged."""
        name = type(solver).__name__
        if not valid:
            raise ValueError(f"{name}.solve: the input is not valid: some of its values are not finite")
        if bool(self.status == Status.converged):
            return
        how = "diverged" if bool(self.status == Status.diverged) else "did not converge"
        raise ConvergenceError(
            f"{name}.solve {how} in {int(self.iterations)} iterations (residual {float(self.residual):.3g}). Raise "
            f"`maximum` or "
            "`tolerance`, take a smaller step size, or pass throw=False to get the solution with its status",
            self,
        )


def find(solver: Any, x: Any, tolerance: Float[Array, ""], maximum: Int[Array, ""]) -> Solution:
    """Iterate a resolved solver from its first state until its residual is below the tolerance."""
    first = solver.init(x)
    solver, x = _guard(solver, x, first)
    # The iteration is not differentiated: the equation that its end fulfils is.
    state, k, residual, code = _until_converged(_constant((solver, x, first)), tolerance, maximum)
    end, state_of = _flatten(state)

    def excess(flat: Array) -> Array:
        return _flatten(_image(solver, state_of(flat), x))[0] - flat

    root = jax.lax.custom_root(excess, end, lambda _, flat: flat, _solve_tangent)
    status = Status.where(code == 0, Status.converged, Status.where(code == 1, Status.maximum_reached, Status.diverged))
    return Solution(solver.decision(state_of(root)), k, residual, status)


def _image(solver: Any, state: Any, x: Any) -> Any:
    """The map whose fixed point is sought, with the correction where there is one."""
    state = solver.fixed_point(state, x)
    if solver.correction is None:
        return state
    return solver.shift(state, solver.correction(solver.decision(state), x))


def _constant(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jax.lax.stop_gradient(leaf) if eqx.is_inexact_array(leaf) else leaf, tree)


def _flatten(state: Any) -> tuple[Array, Callable[[Array], Any]]:
    """The floating-point numbers of a state in one real vector, and the way back.

    Real, because a map of complex numbers (a complex soft threshold) need not be complex differentiable.
    """

    def parts(leaf: Any) -> Any:
        return (leaf.real, leaf.imag) if jnp.iscomplexobj(leaf) else leaf

    leaves, structure = jax.tree.flatten(state)
    moving = [parts(leaf) if eqx.is_inexact_array(leaf) else None for leaf in leaves]
    flat, unravel = ravel_pytree(moving)

    def back(flat: Array) -> Any:
        def whole(part: Any, leaf: Any) -> Any:
            return leaf if part is None else jax.lax.complex(*part) if isinstance(part, tuple) else part

        return structure.unflatten(map(whole, unravel(flat), leaves))

    return flat, back


def _until_converged(
    problem: tuple[Any, Any, Any], tolerance: Array, maximum: Array
) -> tuple[Any, Array, Array, Array]:
    """The state where the iteration from the first one ends; how many iterations, the last residual, the status."""
    solver, x, state = problem
    dtype = jax.eval_shape(lambda: solver.residual(state, state, x)).dtype

    def going(carry: tuple[Any, Array, Array]) -> Array:
        _, k, residual = carry
        return (k < maximum) & (residual > tolerance.astype(dtype))

    def body(carry: tuple[Any, Array, Array]) -> tuple[Any, Array, Array]:
        state, k, _ = carry
        following = solver.advance(state, x)
        return following, k + 1, solver.residual(state, following, x)

    # A residual that is not a number ends the loop too: no comparison with it holds.
    state, k, residual = jax.lax.while_loop(
        going, body, (state, jnp.zeros((), jnp.int32), jnp.full((), jnp.inf, dtype))
    )
    finite = jnp.isfinite(residual) & all_finite(state)
    code = jnp.where(finite, jnp.where(residual <= tolerance.astype(dtype), 0, 1), 2)
    return state, k, residual, code


def _guard(solver: Any, x: Any, state: Any) -> tuple[Any, Any]:
    """Make the gradient of what the fixed point does not depend on, or does not reach, an error."""

    def outcome(solver: Any, x: Any, state: Any) -> Any:
        state = _image(solver, state, x)
        return state, solver.decision(state)

    name = type(solver).__name__
    read = reads(outcome, solver, x, state)

    def unread(flag: bool, leaf: Any) -> Any:
        return (
            leaf
            if flag
            else nondifferentiable(
                leaf,
                f"a leaf of {name}.solve that only the first state depends on",
                "The fixed point does not depend on it: run a fixed depth, solver(x), to learn it",
            )
        )

    solver, x = jax.tree.map(unread, read[0], solver), jax.tree.map(unread, read[1], x)
    if not solver.hyperparameters():
        return solver, x
    changes = {
        selection.outer: nondifferentiable(
            selection.node,
            f"{name}{selection.name} through solve",
            "The fixed point does not depend on it: unfold the solver to a fixed depth to learn it (mbdl.unfold)",
        )
        for selection in select(solver, lambda r: r.hyperparameters(), "solve")
    }
    return replace(solver, changes), x


def _solve_tangent(linear: Callable[[Array], Array], b: Array) -> Array:
    return jax.lax.custom_linear_solve(linear, b, solve=_solve_linear, transpose_solve=_solve_linear)


def _solve_linear(linear: Callable[[Array], Array], b: Array) -> Array:
    """Solve a linear system: a small one as a matrix, a large one by GMRES.

    NaN, which cannot be overlooked, where that does not succeed. Singular systems may have solutions, as where a part
    of the state does not move.
    """
    precision = float(jnp.finfo(b.dtype).eps)
    if b.size <= 64:
        matrix = jax.vmap(linear, out_axes=1)(jnp.eye(b.size, dtype=b.dtype))
        solution = jnp.linalg.lstsq(matrix, b)[0]
    else:
        solution, _ = jax.scipy.sparse.linalg.gmres(linear, b, tol=50 * precision, atol=0.0, restart=40, maxiter=200)
    error = jnp.linalg.norm(linear(solution) - b)
    return jnp.where(error <= precision**0.4 * jnp.linalg.norm(b), solution, jnp.nan)
