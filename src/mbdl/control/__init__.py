"""Control: systems, costs and policies, and the quadratic programs that policies solve."""

from .convex_policy import ConvexPolicy, ConvexSolution
from .qp_solution import QPSolution, QPStatus
from .quadratic_program import QuadraticProgram
from .solve_qp import solve_qp

__all__ = [
    "ConvexPolicy",
    "ConvexSolution",
    "QPSolution",
    "QPStatus",
    "QuadraticProgram",
    "solve_qp",
]
