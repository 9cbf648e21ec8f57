"""The policies of "Learning Convex Optimization Control Policies" as a user writes them in CVXPY.

Each function returns a problem, its context, its decision and values of its parameters; and a draw of a context.
"""

import cvxpy as cp
import numpy as np

PRECISE = {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-12}


def clipped_regulator(states=8, inputs=2, seed=1):
    draws = np.random.default_rng(seed)
    A = draws.standard_normal((states, states))
    A /= np.abs(np.linalg.eigvals(A)).max()
    B = draws.standard_normal((states, inputs))
    x, root, slope = cp.Parameter(states, "x"), cp.Parameter((states, states), "root"), cp.Parameter(states, "slope")
    u, following = cp.Variable(inputs, "u"), cp.Variable(states, "following")
    cost = cp.sum_squares(u) + cp.sum_squares(root @ following) + slope @ following
    problem = cp.Problem(cp.Minimize(cost), [following == A @ x + B @ u, cp.norm(u, "inf") <= 0.1])
    values = {root: np.eye(states) + 0.1 * draws.standard_normal((states, states)), slope: np.zeros(states)}
    return problem, [x], u, values, lambda draws: (0.3 * draws.standard_normal(states),)


def supply_chain():
    inflow, outflow = np.zeros((4, 8)), np.zeros((4, 8))
    for link, (source, target) in enumerate([(-1, 0), (-1, 1), (0, 2), (0, 3), (1, 3), (3, 2), (2, -1), (3, -1)]):
        if target >= 0:
            inflow[target, link] = 1
        if source >= 0:
            outflow[source, link] = 1
    h, p, d = cp.Parameter(4, "h"), cp.Parameter(2, "p"), cp.Parameter(2, "d")
    root, slope = cp.Parameter((4, 4), "root"), cp.Parameter(4, "slope")
    u, following = cp.Variable(8, "u"), cp.Variable(4, "following")
    cost = p @ u[:2] + 0.05 * cp.sum(u[2:6]) - 1.3 * cp.sum(u[6:])
    cost += cp.sum_squares(root @ following) + slope @ following
    problem = cp.Problem(
        cp.Minimize(cost),
        [
            following == h + (inflow - outflow) @ u,
            following <= 3,
            u >= 0,
            u <= 2,
            outflow @ u <= h,
            u[6:] <= d,
        ],
    )

    def draw(draws):
        return draws.uniform(0, 3, 4), np.exp(0.4 * draws.standard_normal(2)), np.exp(0.4 * draws.standard_normal(2))

    return problem, [h, p, d], u, {root: np.eye(4), slope: -3 * np.ones(4)}, draw


def portfolio(funds=12):
    draws = np.random.default_rng(2)
    factor = 0.05 * draws.standard_normal((funds, funds)) / np.sqrt(funds) + 0.02 * np.eye(funds)
    h = cp.Parameter(funds, "h")
    root, mean = cp.Parameter((funds, funds), "root"), cp.Parameter(funds, "mean")
    u, following = cp.Variable(funds, "u"), cp.Variable(funds, "following")
    fees = 0.001 * cp.norm1(u) + 0.001 * cp.sum(cp.neg(following))
    problem = cp.Problem(
        cp.Maximize(mean @ following - cp.sum_squares(root @ following)),
        [following == h + u, cp.sum(u) + fees <= 0],
    )
    values = {root: np.sqrt(15) * factor, mean: 0.01 + 0.005 * draws.standard_normal(funds)}
    return problem, [h], u, values, lambda draws: (draws.dirichlet(np.ones(funds)),)


def vehicle(step=0.2, length=2.8):
    f, speed, curvature = cp.Parameter(4, "f"), cp.Parameter(nonneg=True, name="speed"), cp.Parameter(name="curvature")
    squared = cp.Parameter(nonneg=True, name="squared")
    root, slope = cp.Parameter((4, 4), "root"), cp.Parameter(4, "slope")
    u, y = cp.Variable(2, "u"), cp.Variable(4, "y")
    cost = 10 * cp.sum_squares(u) + cp.sum_squares(root @ y) + slope @ y
    problem = cp.Problem(
        cp.Minimize(cost),
        [
            y[0] == f[0],
            y[1] == f[1] + step / length * speed * u[1],
            y[2] == f[2] + step * u[0],
            y[3] == f[3] + step**2 / length * squared * u[1],
            cp.abs(u[0]) <= 2,
            cp.abs(u[1] + length * curvature) <= 0.68,
        ],
    )

    def draw(draws):
        v = draws.uniform(2, 6)
        return 0.5 * draws.standard_normal(4), v, 0.1 * draws.standard_normal(), v**2

    return problem, [f, speed, curvature, squared], u, {root: np.eye(4), slope: np.zeros(4)}, draw


PROBLEMS = {
    "clipped_regulator": clipped_regulator,
    "supply_chain": supply_chain,
    "portfolio": portfolio,
    "vehicle": vehicle,
}
