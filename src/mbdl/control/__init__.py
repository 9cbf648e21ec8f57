"""Stochastic control: systems, policies, and what can be learned in them."""

from .closed_loop import ClosedLoop, closed_loop
from .constraints import Constraints
from .cost import AbstractCost, Cost, QuadraticCost, Stage
from .evaluate import compare_policies
from .feedback import LinearFeedback, StateFeedback
from .linear_system import LinearSystem
from .lqg import LQG
from .lqr import LQR
from .riccati_recursion import Feedback, Value
from .simulate import MeanCost, Trajectories, simulate
from .system import AbstractSystem, StateSpace, System, as_system

__all__ = [
    "LQG",
    "LQR",
    "AbstractCost",
    "AbstractSystem",
    "ClosedLoop",
    "Constraints",
    "Cost",
    "Feedback",
    "LinearFeedback",
    "LinearSystem",
    "MeanCost",
    "QuadraticCost",
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
