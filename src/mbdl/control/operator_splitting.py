"""Operator splitting for quadratic programs: over-relaxed ADMM with a factor that serves every penalty."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mbdl.core import IterativeSolver, Status, as_leaf
from mbdl.core.checks import concrete, finite, floating, positive

from .active_set import inverse_root
from .certificates import crossed
from .degenerate import degenerate_at
from .found import verdict
from .quadratic_program import QuadraticProgram
from .splitting import Split, first_split, governing, proximal, split_at, split_step, weights
from .standard_form import PrimalDual, StandardForm, one_sided, origin, residual, standard_form


class SplittingState(eqx.Module):
    """The iterate, and a basis and eigenvalues with which the linear system is diagonal for every penalty."""

    split: Split
    basis: Float[Array, "variables variables"]
    eigenvalues: Float[Array, " variables"]


class OperatorSplitting(IterativeSolver):
    r"""Over-relaxed ADMM for a `QuadraticProgram` with the rows $l \le C x \le u$, bounds among them:
    $$(P + \sigma I + C^\top R C)\, \tilde x_{k+1} = \sigma x_k - q + C^\top (R z_k - y_k), \quad
    z_{k+1} = \Pi_{[l, u]}(v), \quad y_{k+1} = R (v - z_{k+1}),$$
    $$v = \alpha C \tilde x_{k+1} + (1 - \alpha) z_k + R^{-1} y_k, \quad
    x_{k+1} = \alpha \tilde x_{k+1} + (1 - \alpha) x_k.$$

    $R$ is the penalty, a thousand times larger on rows with equal sides and as much smaller on those without any. The
    generalised eigenvectors of the two parts of the matrix are found once, so that a penalty for each layer costs
    nothing more. The decision is the copy of $x$ that lies within the bounds. Best on programs that are scaled well.

    `solve` says which programs have no solution, each for itself: their `Status` is `infeasible` or `unbounded`, their
    decision NaN, and they pass no derivative. It also says whether the derivative is one of several (`degenerate`, as
    in `QPSolution`). A fixed depth proves nothing.

    Args:
        penalty: $\rho > 0$, in units of the hessian.
        relaxation: $\alpha$, between 0 and 2.
        initial: where to begin: a `PrimalDual`, whose arrays can be learned for a fixed depth; or a function from a
            program to one, such as a network that learns to guess the solution. Zeros by default. A multiplier that
            presses against a side that is not there counts as zero. Where a policy takes a step after another, it goes
            on from where it ended.
        iterations: the depth of `solver(program)`.

    Raises:
        TypeError: for an `initial` that is neither.
        ValueError: for a penalty that is not positive, a relaxation that is not between 0 and 2, or a first point that
            is not finite; when it is used, for one whose sizes are not those of the program.
        ConvergenceError: from `solve` (with `throw`) for a program that is infeasible, unbounded or not solved.

    Differentiable in: everything through a fixed depth; through `solve` in the program alone.

    Source: B. Stellato, G. Banjac, P. Goulart, A. Bemporad and S. Boyd, "OSQP: an operator splitting solver for
    quadratic programs", Math. Prog. Comp. 12, 2020; a learned first point as in R. Sambharya, G. Hall, B. Amos and
    B. Stellato, "End-to-end learning to warm-start for real-time quadratic optimization", L4DC 2023; the factor for
    every penalty is ours.

    >>> import jax.numpy as jnp
    >>> from mbdl import control
    >>> program = control.QuadraticProgram(jnp.eye(2), jnp.array([-1.0, 2.0]), bounds=(0.0, 0.5))
    >>> control.OperatorSplitting(penalty=1.0)(program).tolist()
    [0.5, 0.0]

    Two iterations from a point that is learned, for programs that are alike:

    >>> import mbdl
    >>> first = control.PrimalDual(jnp.zeros(2), y=jnp.zeros(0), w=jnp.zeros(2))
    >>> short = mbdl.learn(control.OperatorSplitting(initial=first, iterations=2), lambda s: (s.initial.x, s.initial.w))
    >>> mbdl.spectrum(short).learned
    4
    """

    penalty: Float[Array, ""]
    relaxation: Float[Array, ""]
    initial: Any

    def __init__(self, *, penalty: Any = 1.0, relaxation: Any = 1.6, initial: Any = None, iterations: int = 50):
        self.penalty = positive(as_leaf(penalty), "OperatorSplitting: the penalty")
        self.relaxation = as_leaf(relaxation)
        known = concrete(self.relaxation)
        if known is not None and not 0 < known < 2:
            raise ValueError(f"OperatorSplitting: expected a relaxation between 0 and 2, got {known:g}")
        if not (initial is None or isinstance(initial, PrimalDual) or callable(initial)):
            raise TypeError(
                "OperatorSplitting: expected initial to be a control.PrimalDual, or a function from a program to one, "
                f"got {type(initial).__name__}"
            )
        if isinstance(initial, PrimalDual):
            parts = {name: floating(as_leaf(getattr(initial, name))) for name in ("x", "y", "w")}
            for name, leaf in parts.items():
                finite(leaf, f"OperatorSplitting: {name} of the first point")
            initial = PrimalDual(**parts)
        self.initial, self.iterations = initial, iterations

    def valid(self, x: QuadraticProgram) -> Bool[Array, ""]:
        return x.valid()

    def init(self, x: QuadraticProgram) -> SplittingState:
        form = standard_form(x)
        return SplittingState(first_split(form, self._first(form, x)), *_diagonalised(form))

    def _first(self, form: StandardForm, program: QuadraticProgram) -> PrimalDual:
        zeros = origin(form)
        if self.initial is None:
            return zeros
        given = self.initial if isinstance(self.initial, PrimalDual) else self.initial(program)
        if not isinstance(given, PrimalDual):
            raise TypeError(
                f"OperatorSplitting: expected the function `initial` to return a control.PrimalDual, got "
                f"{type(given).__name__}"
            )
        parts = {name: jnp.asarray(getattr(given, name), zeros.x.dtype) for name in ("x", "y", "w")}
        for name, part in parts.items():
            wanted = getattr(zeros, name).shape
            if part.shape != wanted:
                raise ValueError(
                    f"OperatorSplitting: {name} of the first point has shape {part.shape}; the program's has {wanted}"
                )
        y, w = one_sided(parts["y"], form.lower, form.upper), one_sided(parts["w"], form.low, form.high)
        return PrimalDual(parts["x"], y, w)

    def step(self, state: SplittingState, x: QuadraticProgram) -> SplittingState:
        form = standard_form(x)

        def solve(right: Array) -> Array:
            return _solve(form.hessian, form.matrix, self.penalty, right, (state.basis, state.eigenvalues, form))

        penalties = weights(form).times(self.penalty)
        moved = split_step(form, solve, penalties, self.relaxation, governing(state.split, penalties))
        return SplittingState(split_at(form, penalties, moved), state.basis, state.eigenvalues)

    def decision(self, state: SplittingState) -> Float[Array, " variables"]:
        return state.split.bounds

    def shift(self, state: SplittingState, delta: Array) -> SplittingState:
        return eqx.tree_at(lambda s: (s.split.point.x, s.split.bounds), state, replace_fn=lambda a: a + delta)

    def hyperparameters(self) -> tuple[Any, ...]:
        return (self.penalty, self.relaxation)

    def fixed_point(self, state: SplittingState, x: QuadraticProgram) -> SplittingState:
        """The step, with the factor as it is."""
        moved = self.step(state, x)
        return SplittingState(moved.split, *map(jax.lax.stop_gradient, (state.basis, state.eigenvalues)))

    def residual(self, previous: SplittingState, current: SplittingState, x: QuadraticProgram) -> Float[Array, ""]:
        """The largest relative residual of the optimality conditions; infinite where sides contradict each other."""
        form, point = standard_form(x), current.split.point
        return jnp.where(crossed(form), jnp.inf, residual(form, point, jnp.asarray(1e-6, point.x.dtype)))

    def verdict(self, previous: SplittingState, current: SplittingState, x: QuadraticProgram) -> Status:
        """What the last move proves: that of multipliers tends to a proof of infeasibility, that of $x$ to one of
        unboundedness."""
        moved = jax.tree.map(jnp.subtract, current.split.point, previous.split.point)
        return verdict(standard_form(x), moved)

    def degenerate(self, state: SplittingState, x: QuadraticProgram) -> Bool[Array, ""]:
        """Whether the derivative at the solution is one of several, as `solve_qp` tells it."""
        return degenerate_at(standard_form(x), state.split.point)


def _diagonalised(form: StandardForm) -> tuple[Array, Array]:
    r"""$U$ and $\lambda$ with $U^\top (P + \sigma I) U = I$ and $U^\top C^\top E C U = \Lambda$."""
    form = jax.lax.stop_gradient(form)
    weight = weights(form)
    identity = jnp.eye(form.linear.shape[0], dtype=form.linear.dtype)
    root = inverse_root(form.hessian + proximal(form) * identity)
    weighted = form.matrix.T @ (weight.rows[:, None] * form.matrix) + jnp.diag(weight.bounds)
    eigenvalues, vectors = jnp.linalg.eigh(root @ weighted @ root.T)
    return root.T @ vectors, jnp.maximum(eigenvalues, 0.0)


@jax.custom_jvp
def _solve(hessian: Array, matrix: Array, penalty: Array, right: Array, factor: Any) -> Array:
    r"""$(P + \sigma I + \rho C^\top E C)^{-1} r$."""
    basis, eigenvalues, _ = factor
    return basis @ ((basis.T @ right) / (1 + penalty * eigenvalues))


@_solve.defjvp
def _(primals: Any, tangents: Any) -> tuple[Array, Array]:
    # Of the system that is solved, not of its factor: eigenvectors have no derivative where eigenvalues are equal.
    hessian, matrix, penalty, _, factor = primals
    moved_hessian, moved_matrix, moved_penalty, moved_right, _ = tangents
    x = _solve(*primals)
    weight = weights(factor[2])
    weighted = weight.rows * (matrix @ x)
    change = moved_hessian @ x + moved_penalty * (matrix.T @ weighted + weight.bounds * x)
    change += penalty * (moved_matrix.T @ weighted + matrix.T @ (weight.rows * (moved_matrix @ x)))
    return x, _solve(hessian, matrix, penalty, moved_right - change, factor)
