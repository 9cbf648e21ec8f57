"""A quadratic program whose data depend on parameters and on a context, with what can be eliminated eliminated."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mbdl.core import IterativeSolver
from mbdl.core.checks import greatest

from .affine_map import AffineMap, affine, with_one
from .fixed_depth import finite_or, first_state, iterated, starting_state
from .prepared import Prepared, prepare
from .program_solution import ProgramSolution
from .qp_solution import QPSolution, QPStatus
from .quadratic_program import QuadraticProgram
from .solve_qp import solve_qp


class ReducedProgram(eqx.Module):
    r"""A quadratic program in what is left of its variables, whose vectors are affine in the context.

    A vector $g$ is held as the matrix $(g_0, G)$ of $g = g_0 + G c$.
    """

    hessian: Float[Array, "left left"]
    linear: Float[Array, "left affine"]
    equality: Float[Array, "equalities left"]
    equality_offset: Float[Array, "equalities affine"]
    inequality: Float[Array, "inequalities left"]
    inequality_offset: Float[Array, "rows affine"]
    decision: Float[Array, "decision left"]
    decision_offset: Float[Array, "decision affine"]


class ProgramMemory(eqx.Module):
    """What is carried from program to program of a family.

    Attributes:
        reduced: what depends on the parameters alone; `None` where all of it depends on the context.
        prepared: what of the search for its solution does; `None` likewise.
        previous: the solution before, from which the search begins; or the state in which the solver ended.
    """

    reduced: ReducedProgram | None
    prepared: Prepared | None
    previous: Any


class ParametrisedProgram(eqx.Module):
    r"""A family of quadratic programs in parameters $p$ and a context $c$,
    $$\min_z \tfrac12 z^\top P z + q^\top z \quad \text{s.t.} \quad A z + b \; (= 0 \text{ or } \ge 0),$$
    with $P$, $q$, $A$ and $b$ affine in $(p, c)$.

    The variables stand with the eliminated ones first, and the rows with those that eliminate them first: with
    $A_1 z_1 + A_2 v + b_1 = 0$ the others are $z_1 = -A_1^{-1} (A_2 v + b_1)$, and $A_1$ is invertible for all
    parameters. Then come the rows that are left of the equalities, and the inequalities.

    Attributes:
        hessian, linear, matrix, offset: the maps from $(p, 1, c)$ to $P$ and $A$ and from $(p, 1)$ to $(q_0, Q)$ and
            $(b_0, B)$ with $q = q_0 + Q c$ and $b = b_0 + B c$.
        general_lower, general_upper: the rows that bound each two-sided inequality, -1 for none; several along the
            first axis.
        lower, upper: the same for each variable that is left.
        conditions: the inequalities without variables, which parameters and context alone keep or break.
        place: where each variable of the problem stands.
        decision: where the entries of the decision stand, -1 for one that is zero.
        pivots, equalities: how many rows eliminate a variable, and how many equalities are left.
        fixed_matrices: whether $P$ and $A$ do not depend on the context.
    """

    hessian: AffineMap
    linear: AffineMap
    matrix: AffineMap
    offset: AffineMap
    general_lower: Int[Array, "layers inequalities"]
    general_upper: Int[Array, "layers inequalities"]
    lower: Int[Array, "layers left"]
    upper: Int[Array, "layers left"]
    conditions: Int[Array, " conditions"]
    place: Int[Array, " variables"]
    decision: Int[Array, " decision"]
    pivots: int = eqx.field(static=True)
    equalities: int = eqx.field(static=True)
    fixed_matrices: bool = eqx.field(static=True)

    @property
    def left(self) -> int:
        """How many variables are left."""
        return self.hessian.shape[0] - self.pivots

    def first(self, parameters: Float[Array, " parameters"], solver: IterativeSolver | None) -> ProgramMemory:
        """The memory before the first program.

        Args:
            parameters: $p$.
            solver: whose iterations are taken, as many as it says; `None` for `solve_qp`.
        """
        held = self.reduced(parameters) if self.fixed_matrices else None
        if held is None and solver is None:
            return ProgramMemory(None, None, self._nothing(parameters.dtype))
        if held is None:
            nowhere = jnp.zeros(self.linear.shape[1] - 1, parameters.dtype)
            program = self._apart(self.reduced(parameters, nowhere))
        else:
            program = self._apart(held)
        if solver is None:
            return ProgramMemory(held, prepare(program), self._nothing(parameters.dtype))
        return ProgramMemory(held, None, first_state(solver, program))

    def minimise(
        self,
        parameters: Float[Array, " parameters"],
        memory: ProgramMemory,
        context: Float[Array, " context"],
        solver: IterativeSolver | None,
    ) -> tuple[ProgramMemory, Float[Array, " decision"], QPSolution | ProgramSolution]:
        """The memory after one program, its decision and its solution."""
        reduced = self.reduced(parameters, context) if memory.reduced is None else memory.reduced
        program = self.at(reduced, context)
        if solver is None:
            state = solution = solve_qp(program, memory.previous, prepared=memory.prepared, throw=False)
        else:
            state = starting_state(solver, program, memory.previous, self.fixed_matrices)
            state, solution = iterated(solver, state, program)
        solution = self._conditional(solution, reduced, context)
        decision = reduced.decision @ solution.x + affine(reduced.decision_offset, context)
        # What is no solution is no point to start from.
        kept = finite_or(state, memory.previous)
        return ProgramMemory(memory.reduced, memory.prepared, kept), decision, solution

    def variables(
        self, parameters: Float[Array, " parameters"], context: Float[Array, " context"], solution: Any
    ) -> Float[Array, " variables"]:
        """All variables of the problem, from those that are left."""
        S, s = self._back(*self._rows(parameters, None if self.fixed_matrices else context))
        return (S @ solution.x + affine(s, context))[self.place]

    def reduced(
        self, parameters: Float[Array, " parameters"], context: Float[Array, " context"] | None = None
    ) -> ReducedProgram:
        """The program in what is left of its variables.

        Args:
            parameters: $p$.
            context: $c$, where the matrices depend on it.
        """
        P = self.hessian(with_one(parameters, context))
        q = self.linear(with_one(parameters))
        A, b = self._rows(parameters, context)
        S, s = self._back(A, b)
        K, m, n = self.pivots, self.equalities, self.general_lower.shape[1]
        P = 0.5 * (P + P.T)
        rows = A[K : K + m + n] @ S
        offsets = A[K:] @ s + b[K:]
        decision, decision_offset = (
            jnp.concatenate([part, jnp.zeros_like(part[:1])])[self.decision] for part in (S, s)
        )
        return ReducedProgram(
            hessian=S.T @ P @ S,
            linear=S.T @ (P @ s + q),
            equality=rows[:m],
            equality_offset=offsets[:m],
            inequality=rows[m:],
            inequality_offset=offsets[m:],
            decision=decision,
            decision_offset=decision_offset,
        )

    def at(self, reduced: ReducedProgram, context: Float[Array, " context"]) -> QuadraticProgram:
        """The quadratic program of one context."""
        vectors = (reduced.linear, reduced.equality_offset, reduced.inequality_offset)
        return self._program(reduced, *(affine(vector, context) for vector in vectors))

    def _program(self, reduced: ReducedProgram, linear: Array, offset: Array, values: Array) -> QuadraticProgram:
        equality = inequality = bounds = None
        if self.equalities:
            equality = reduced.equality, -offset
        if self.general_lower.shape[1]:
            sides = -_smallest(values, self.general_lower), _smallest(values, self.general_upper)
            inequality = reduced.inequality, *sides
        if self.lower.shape[0] or self.upper.shape[0]:
            bounds = -_smallest(values, self.lower), _smallest(values, self.upper)
        return QuadraticProgram(reduced.hessian, linear, equality=equality, inequality=inequality, bounds=bounds)

    def _conditional(self, solution: Any, reduced: ReducedProgram, context: Array) -> Any:
        """The solution where the conditions are kept, to the precision of the search; else none."""
        if not self.conditions.size:
            return solution
        values = affine(reduced.inequality_offset, context)[self.conditions]
        kept = jnp.all(values >= -(float(jnp.finfo(values.dtype).eps) ** 0.6))
        status = QPStatus.where(kept, solution.status, QPStatus.infeasible)
        return eqx.tree_at(lambda s: (s.x, s.status), solution, (jnp.where(kept, solution.x, jnp.nan), status))

    def _apart(self, reduced: ReducedProgram) -> QuadraticProgram:
        """A program with the sides that there are, at places that are not equal."""
        apart = jnp.ones_like(reduced.inequality_offset[:, 0])
        return self._program(reduced, reduced.linear[:, 0], reduced.equality_offset[:, 0], apart)

    def _nothing(self, dtype: Any) -> QPSolution:
        """What the first search begins from."""
        rows = self.general_lower.shape[1]
        return QPSolution(
            *(jnp.zeros(size, dtype) for size in (self.left, self.equalities, rows, self.left)),
            status=QPStatus.maximum_reached,
            iterations=jnp.zeros((), jnp.int32),
            residual=jnp.zeros((), dtype),
            degenerate=jnp.zeros((), bool),
        )

    def _rows(self, parameters: Array, context: Array | None) -> tuple[Array, Array]:
        return self.matrix(with_one(parameters, context)), self.offset(with_one(parameters))

    def _back(self, A: Array, b: Array) -> tuple[Array, Array]:
        """The matrices $S$ and $(s_0, S_c)$ of $z = S v + s_0 + S_c c$."""
        K, n = self.pivots, self.left
        identity, nothing = jnp.eye(n, dtype=A.dtype), jnp.zeros((n, b.shape[1]), A.dtype)
        if K == 0:
            return identity, nothing
        solved = jnp.linalg.solve(A[:K, :K], jnp.concatenate([A[:K, K:], b[:K]], axis=1))
        return jnp.concatenate([-solved[:, :n], identity]), jnp.concatenate([-solved[:, n:], nothing])


def _smallest(values: Array, rows: Array) -> Any:
    """The smallest of the values at rows, along the first axis; infinite where there is none, NaN where one is."""
    known = jnp.concatenate([values, jnp.full(1, jnp.inf, values.dtype)])[rows]
    return -greatest(-known, axis=0, initial=-jnp.inf)
