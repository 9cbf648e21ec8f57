"""Control: systems, costs and policies, and the quadratic programs that policies solve."""

from .interior_point import InteriorPoint, InteriorState
from .operator_splitting import OperatorSplitting, SplittingState
from .prepared import Prepared, prepare
from .qp_solution import QPSolution, QPStatus
from .quadratic_program import QuadraticProgram
from .solve_qp import solve_qp

__all__ = [
    "InteriorPoint",
    "InteriorState",
    "OperatorSplitting",
    "Prepared",
    "QPSolution",
    "QPStatus",
    "QuadraticProgram",
    "SplittingState",
    "prepare",
    "solve_qp",
]
