"""Iterating a solver until convergence, with implicit gradients at the fixed point."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from .derivative import nondifferentiable, reads
from .rule import all_finite
from .select import replace, select


class Status(eqx.Enumeration):
    """How an iteration or a recursion ended."""

    converged = "the residual fell below the tolerance"
    maximum_reached = "the largest number of iterations was reached before the residual fell below the tolerance"
    diverged = "the iterates became non-finite"
    infeasible = "the solver proved that no decision fulfils the constraints"
    unbounded = "the solver proved that the objective has no lower bound on the decisions that fulfil the constraints"
    complete = "the recursion has taken every input, and every output is finite"


FIRST_LOOK = 8
"""The iterations after which a solver is first asked for its verdict; then after twice as many, and so on."""


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
        decision: the last iterate's decision; NaN for a problem that is infeasible or unbounded.
        iterations: how many were taken.
        residual: the last residual.
        status: `Status.converged`, `Status.maximum_reached` or `Status.diverged`; from a solver that proves it also
            `Status.infeasible` or `Status.unbounded`.
        degenerate: whether it converged to a point at which the derivative is one of several (see
            `IterativeSolver.degenerate`); `None` from a solver that does not tell.
    """

    decision: Any
    iterations: Int[Array, ""]
    residual: Float[Array, ""]
    status: Status
    degenerate: Bool[Array, ""] | None = None

    def check(self, solver: Any, valid: bool) -> None:
        """Raise unless the input was valid and the iteration converged."""
        name = type(solver).__name__
        if not valid:
            raise ValueError(f"{name}.solve: the input is not valid: some of its values are not finite")
        if bool(self.status == Status.converged):
            return
        for status, why in _WITHOUT_SOLUTION.items():
            if bool(self.status == getattr(Status, status)):
                raise ConvergenceError(
                    f"{name}.solve: the problem is {status}: {why}. Pass throw=False to get the solution with its "
                    "status",
                    self,
                )
        how = "diverged" if bool(self.status == Status.diverged) else "did not converge"
        raise ConvergenceError(
            f"{name}.solve {how} in {int(self.iterations)} iterations (residual {float(self.residual):.3g}). Raise "
            f"`maximum` or "
            "`tolerance`, take a smaller step size, or pass throw=False to get the solution with its status",
            self,
        )


_WITHOUT_SOLUTION = {
    "infeasible": "no decision fulfils its constraints. Relax them, or penalise violations",
    "unbounded": "its objective falls for ever along a direction that its constraints allow. Bound the decision, or "
    "add a cost that grows in every direction",
}


def find(solver: Any, x: Any, tolerance: Float[Array, ""], maximum: Int[Array, ""]) -> Solution:
    """Iterate a resolved solver from its first state until its residual is below the tolerance."""
    first = solver.init(x)
    solver, x = _guard(solver, x, first)
    # The iteration is not differentiated: the equation that its end fulfils is.
    constant = _constant((solver, x, first))
    state, k, residual, status = _until_converged(constant, tolerance, maximum)
    exists = (status != Status.infeasible) & (status != Status.unbounded)
    if _proves(*constant):
        # Where there is no solution the first state stands in for it: finite, and masked below, so that what a batch
        # shares keeps its derivative.
        state = jax.tree.map(lambda last, start: jnp.where(exists, last, start), state, constant[2])
    end, state_of = _flatten(state)

    def excess(flat: Array) -> Array:
        return _flatten(_image(solver, state_of(flat), x))[0] - flat

    root = jax.lax.custom_root(excess, end, lambda _, flat: flat, _solve_tangent)
    decision = solver.decision(state_of(root))
    if _proves(*constant):
        decision = jax.tree.map(lambda leaf: jnp.where(exists, leaf, jnp.nan), decision)
    degenerate = constant[0].degenerate(state, constant[1])
    if degenerate is not None:
        degenerate = degenerate & (status == Status.converged)
    return Solution(decision, k, residual, status, degenerate)


def _proves(solver: Any, x: Any, state: Any) -> bool:
    """Whether a solver is one that proves that a problem has no solution."""
    return jax.eval_shape(lambda: solver.verdict(state, state, x)) is not None


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
) -> tuple[Any, Array, Array, Status]:
    """The state where the iteration from the first one ends; how many iterations, the last residual, the status."""
    solver, x, state = problem
    dtype = jax.eval_shape(lambda: solver.residual(state, state, x)).dtype
    looks = _proves(*problem)

    def open_(carry: tuple[Any, Any, Array, Array], until: Array) -> Array:
        _, _, k, residual = carry
        return (k < until) & (residual > tolerance.astype(dtype))

    def body(carry: tuple[Any, Any, Array, Array]) -> tuple[Any, Any, Array, Array]:
        _, state, k, _ = carry
        following = solver.advance(state, x)
        return (state if looks else None), following, k + 1, solver.residual(state, following, x)

    def iterated(carry: tuple[Any, Any, Array, Array], until: Array) -> tuple[Any, Any, Array, Array]:
        # A residual that is not a number ends the loop too: no comparison with it holds.
        return jax.lax.while_loop(lambda carry: open_(carry, until), body, carry)

    carry = (state if looks else None, state, jnp.zeros((), jnp.int32), jnp.full((), jnp.inf, dtype))
    proven = Status.maximum_reached
    if looks:

        def going(judged: tuple[Any, Array, Status]) -> Array:
            carry, _, proven = judged
            return open_(carry, maximum) & (proven == Status.maximum_reached)

        def until_next_look(judged: tuple[Any, Array, Status]) -> tuple[Any, Array, Status]:
            carry, until, _ = judged
            carry = iterated(carry, until)
            # Twice as many, without an overflow.
            return carry, until + jnp.minimum(until, maximum - until), solver.verdict(carry[0], carry[1], x)

        start = (carry, jnp.minimum(FIRST_LOOK, maximum), proven)
        carry, _, proven = jax.lax.while_loop(going, until_next_look, start)
    else:
        carry = iterated(carry, maximum)
    _, state, k, residual = carry
    finite = jnp.isfinite(residual) & all_finite(state)
    status = Status.where(residual <= tolerance.astype(dtype), Status.converged, Status.maximum_reached)
    status = Status.where(finite, status, Status.diverged)
    without = (status != Status.converged) & (proven != Status.maximum_reached)
    return state, k, residual, Status.where(without, proven, status)


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
