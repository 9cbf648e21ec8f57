"""Stochastic control: systems, policies, and what can be learned in them."""

from .cart_pole import CartPole
from .changed_policy import AbstractChangedPolicy
from .closed_loop import ClosedLoop, closed_loop
from .constraints import Constraints
from .convex_policy import ConvexPolicy, ConvexSolution
from .cost import AbstractCost, Cost, QuadraticCost, Stage
from .evaluate import compare_policies
from .feedback import Clipped, LinearFeedback, StateFeedback
from .fitted_value import FittedValue, fitted_value_iteration
from .interior_point import InteriorPoint, InteriorState
from .iterative_lqr import IterativeLQR
from .learned_terminal_cost import LearnedTerminalCost
from .linear_predictive import LinearPredictiveControl
from .linear_system import LinearSystem
from .lower_bound import LowerBound, quadratic_lower_bound
from .lqg import LQG
from .lqr import LQR
from .operator_splitting import OperatorSplitting, SplittingState
from .predictive import PredictiveControl
from .prepared import Prepared, prepare
from .program_solution import ProgramSolution
from .qp_solution import QPSolution, QPStatus
from .quadratic_program import QuadraticProgram
from .recorded import sequences, transitions
from .recurrent_policy import RecurrentPolicy
from .residual_system import Prediction, ResidualSystem
from .riccati_recursion import Feedback, Value
from .simulate import MeanCost, Trajectories, simulate
from .situation import FeedbackPlan, Situation
from .solve_qp import solve_qp
from .standard_form import PrimalDual
from .system import AbstractSystem, StateSpace, System, as_system
from .vehicle import RoadNoise, Vehicle, VehicleFeatures

__all__ = [
    "LQG",
    "LQR",
    "AbstractChangedPolicy",
    "AbstractCost",
    "AbstractSystem",
    "CartPole",
    "Clipped",
    "ClosedLoop",
    "Constraints",
    "ConvexPolicy",
    "ConvexSolution",
    "Cost",
    "Feedback",
    "FeedbackPlan",
    "FittedValue",
    "InteriorPoint",
    "InteriorState",
    "IterativeLQR",
    "LearnedTerminalCost",
    "LinearFeedback",
    "LinearPredictiveControl",
    "LinearSystem",
    "LowerBound",
    "MeanCost",
    "OperatorSplitting",
    "Prediction",
    "PredictiveControl",
    "Prepared",
    "PrimalDual",
    "ProgramSolution",
    "QPSolution",
    "QPStatus",
    "QuadraticCost",
    "RecurrentPolicy",
    "ResidualSystem",
    "RoadNoise",
    "QuadraticProgram",
    "Situation",
    "SplittingState",
    "Stage",
    "StateFeedback",
    "StateSpace",
    "System",
    "Trajectories",
    "Value",
    "Vehicle",
    "VehicleFeatures",
    "as_system",
    "closed_loop",
    "compare_policies",
    "fitted_value_iteration",
    "prepare",
    "quadratic_lower_bound",
    "sequences",
    "simulate",
    "solve_qp",
    "transitions",
]
