"""What a quadratic program's solution is, and how the search for it ended."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mbdl.core import ConvergenceError

from .standard_form import PrimalDual


class QPStatus(eqx.Enumeration):
    """How the search for a quadratic program's solution ended."""

    solved = "the optimality conditions hold to the tolerance"
    maximum_reached = "the largest number of iterations was reached before the optimality conditions held"
    infeasible = "no point fulfils the constraints"
    unbounded = "the objective has no lower bound on the points that fulfil the constraints"


class QPSolution(eqx.Module):
    r"""What `solve_qp` returns; under `jax.vmap` every part has one entry for each instance.

    At a solution $P x + q + A^\top \lambda + G^\top \mu + \nu = 0$. A multiplier is positive where an upper side
    holds, negative where a lower side does, and zero where neither does.

    Attributes:
        x: the minimiser; NaN for an instance that is infeasible or unbounded, the best point found where the maximum
            was reached.
        equality_multipliers: $\lambda$, `[equalities]`; of no length where there are none.
        inequality_multipliers: $\mu$, `[rows]`; of no length where there are none.
        bound_multipliers: $\nu$, `[variables]`; zero where there are no bounds.
        status: a `QPStatus`.
        iterations: how many steps of all kinds were taken.
        residual: the largest relative residual of the optimality conditions, after equilibration.
        degenerate: whether the derivative at the solution is one of several: a constraint holds with a multiplier of
            zero, the constraints that hold are linearly dependent, or the minimiser is not unique. Told to a thousand
            times rounding or the residual, whichever is larger: in single precision the nearly degenerate are too.
    """

    x: Float[Array, " variables"]
    equality_multipliers: Float[Array, " equalities"]
    inequality_multipliers: Float[Array, " rows"]
    bound_multipliers: Float[Array, " variables"]
    status: QPStatus
    iterations: Int[Array, ""]
    residual: Float[Array, ""]
    degenerate: Bool[Array, ""]

    @property
    def point(self) -> PrimalDual:
        """The minimiser with its multipliers."""
        rows = jnp.concatenate([self.equality_multipliers, self.inequality_multipliers], axis=-1)
        return PrimalDual(self.x, rows, self.bound_multipliers)

    @property
    def solved(self) -> Bool[Array, ""]:
        """Whether the status is `QPStatus.solved`."""
        return self.status == QPStatus.solved

    def check(self) -> None:
        """Raise unless the program is solved.

        Raises:
            ConvergenceError: saying how the search ended.
        """
        if bool(self.solved):
            return
        if bool(self.status == QPStatus.infeasible):
            message = "the program is infeasible: no point fulfils its constraints. Relax them, or penalise violations"
        elif bool(self.status == QPStatus.unbounded):
            message = (
                "the program is unbounded: the objective falls for ever along a direction that its constraints allow. "
                "Bound the variables, or make the hessian positive definite"
            )
        else:
            message = (
                f"not solved in {int(self.iterations)} iterations (residual {float(self.residual):.3g}). Raise "
                "`tolerance`, scale the variables to alike sizes, or use float64"
            )
        raise ConvergenceError(f"solve_qp: {message}. Pass throw=False to get the solution with its status", self)
