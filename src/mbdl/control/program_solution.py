"""The minimiser of a program without its multipliers."""

import equinox as eqx
from jaxtyping import Array, Float

from mbdl.core import ConvergenceError

from .qp_solution import QPStatus


class ProgramSolution(eqx.Module):
    """The minimiser of a cone program, or of a quadratic program after a fixed number of iterations.

    Attributes:
        x: the minimiser; NaN where there is none.
        status: a `QPStatus`; one for each instance under `jax.vmap`.
    """

    x: Float[Array, " variables"]
    status: QPStatus

    def check(self) -> None:
        """Raise unless the program is solved.

        Raises:
            ConvergenceError: saying how the search ended.
        """
        if not bool(self.status == QPStatus.solved):
            raise ConvergenceError(
                f"ConvexPolicy: the program is not solved: {QPStatus[self.status]}. Pass throw=False to get the "
                "solution with its status",
                self,
            )
