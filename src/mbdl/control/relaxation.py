"""Changes of a problem of CVXPY that give it a solution, and one solution alone."""

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
    from cvxpy.constraints.nonpos import Inequality
    from cvxpy.constraints.zero import Equality

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
        if not isinstance(constraint, (Inequality, Equality)):
            raise ValueError(
                f"ConvexPolicy: elastic takes inequalities and equalities, and {constraint} is a "
                f"{type(constraint).__name__}. Add a variable to it by hand, with a cost"
            )
        slack = cvxpy.Variable(constraint.shape, f"slack of constraint {i}", nonneg=True)
        constraints.append(constraint.expr <= slack)
        if isinstance(constraint, Equality):
            constraints.append(-constraint.expr <= slack)
        penalty += price_of[constraint.id] * cvxpy.sum(slack)
    return _with_cost(problem, penalty, constraints)


def proximal_problem(problem: Any, decision: Any, weight: float) -> Any:
    r"""The problem with an added cost $\tfrac{\rho}{2} \|u\|^2$ of its decision, which is then unique.

    Raises:
        ValueError: for a weight that is not positive.
    """
    import cvxpy

    if not (np.ndim(weight) == 0 and np.isfinite(weight) and weight > 0):
        raise ValueError(f"ConvexPolicy: proximal must be a positive number, got {weight!r}")
    return _with_cost(problem, 0.5 * float(weight) * cvxpy.sum_squares(decision), problem.constraints)


def _with_cost(problem: Any, cost: Any, constraints: list[Any]) -> Any:
    import cvxpy

    objective = problem.objective
    if isinstance(objective, cvxpy.Maximize):
        return cvxpy.Problem(cvxpy.Maximize(objective.expr - cost), constraints)
    return cvxpy.Problem(cvxpy.Minimize(objective.expr + cost), constraints)
