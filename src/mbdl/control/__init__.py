"""Stochastic control: systems, policies, and what can be learned in them."""

from .closed_loop import ClosedLoop, closed_loop
from .constraints import Constraints
from .cost import AbstractCost, Cost, QuadraticCost, Stage
from .evaluate import compare_policies
from .feedback import LinearFeedback, StateFeedback
from .iterative_lqr import IterativeLQR
from .learned_terminal_cost import LearnedTerminalCost
from .linear_system import LinearSystem
from .lower_bound import LowerBound, quadratic_lower_bound
from .lqg import LQG
from .lqr import LQR
from .predictive import PredictiveControl
from .residual_system import Prediction, ResidualSystem, transitions
from .riccati_recursion import Feedback, Value
from .simulate import MeanCost, Trajectories, simulate
from .situation import Situation
from .system import AbstractSystem, StateSpace, System, as_system

__all__ = [
    "quadratic_lower_bound",
    "LowerBound",
    "LearnedTerminalCost",
    "transitions",
    "ResidualSystem",
    "Prediction",
    "PredictiveControl",
    "LQG",
    "LQR",
    "AbstractCost",
    "AbstractSystem",
    "ClosedLoop",
    "Constraints",
    "Cost",
    "Feedback",
    "IterativeLQR",
    "LinearFeedback",
    "LinearSystem",
    "MeanCost",
    "QuadraticCost",
    "Situation",
    "Stage",
    "StateFeedback",
    "StateSpace",
    "System",
    "Trajectories",
    "Value",
    "as_system",
    "closed_loop",
    "compare_policies",
    "simulate",
]
