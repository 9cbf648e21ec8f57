"""Constraints of a problem of CVXPY that may be broken at a price."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def elastic_problem(problem: Any, prices: Mapping[Any, float]) -> Any:
    r"""The problem with constraints $g(z) \le 0$ in the place of which stand $g(z) \le s$, $s \ge 0$ and a cost
    $\lambda 1^\top s$.

    Where the constraints can be kept, the solution is that of the problem for a price $\lambda$ that is larger than
    their multipliers.

    Args:
        problem: a `cvxpy.Problem`.
        prices: $\lambda$ for each constraint, an inequality or an equality of the problem.

    Raises:
        ValueError: for a constraint that the problem does not have or is of another kind, or a price that is not
            positive.
    """
    import cvxpy

    known = {constraint.id for constraint in problem.constraints}
    for constraint, price in prices.items():
        if getattr(constraint, "id", None) not in known:
            raise ValueError(f"ConvexPolicy: elastic names {constraint!r}, which is not a constraint of the problem")
        if not (np.ndim(price) == 0 and np.isfinite(price) and price > 0):
            raise ValueError(f"ConvexPolicy: the price of breaking {constraint} must be positive, got {price!r}")
    price_of = {constraint.id: float(price) for constraint, price in prices.items()}
    constraints, penalty = [], 0.0
    for i, constraint in enumerate(problem.constraints):
        if constraint.id not in price_of:
            constraints.append(constraint)
            continue
        if not isinstance(constraint, (cvxpy.constraints.Inequality, cvxpy.constraints.Equality)):
            raise ValueError(
                f"ConvexPolicy: elastic takes inequalities and equalities, and {constraint} is a "
                f"{type(constraint).__name__}. Add a variable to it by hand, with a cost"
            )
        slack = cvxpy.Variable(constraint.shape, f"slack of constraint {i}", nonneg=True)
        constraints.append(constraint.expr <= slack)
        if isinstance(constraint, cvxpy.constraints.Equality):
            constraints.append(-constraint.expr <= slack)
        penalty += price_of[constraint.id] * cvxpy.sum(slack)
    cost = problem.objective.args[0]
    if isinstance(problem.objective, cvxpy.Maximize):
        return cvxpy.Problem(cvxpy.Maximize(cost - penalty), constraints)
    return cvxpy.Problem(cvxpy.Minimize(cost + penalty), constraints)
