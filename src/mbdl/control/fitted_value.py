"""Approximate dynamic programming: a convex quadratic value function that fulfils Bellman's equation on some states."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mbdl.core import resolve

from .constraints import Constraints
from .cost import QuadraticCost, Stage
from .counts import check_counts
from .linear_predictive import LinearPredictiveControl
from .riccati_recursion import Value


class FittedValue(NamedTuple):
    r"""A fitted value function; made by `fitted_value_iteration`.

    Attributes:
        value: $P$ and $p$ of $V(x) = x^\top P x + 2 p^\top x$.
        error: the root mean square of Bellman's error on the states, relative to the deviation of the value there.
        iterations: how many were made.
    """

    value: Value
    error: float
    iterations: int


def fitted_value_iteration(
    system: Any,
    cost: QuadraticCost,
    constraints: Constraints | None = None,
    *,
    states: Float[Array, "samples state"],
    start: Value | None = None,
    iterations: int = 100,
    tolerance: float = 1e-6,
    softness: Any = None,
) -> FittedValue:
    r"""A convex quadratic value function of a linear system with bounds, by fitted value iteration,
    $$V_{k+1} = \arg\min_{P \succeq 0,\, p,\, c} \sum_i \Bigl( x_i^\top P x_i + 2 p^\top x_i + c -
    \min_{l \le u \le h} \bigl[ \ell(x_i, u) + V_k(A x_i + B u) \bigr] \Bigr)^2,$$
    over states $x_i$ that are given. (The noise adds a constant to the expected value of a quadratic, which $c$ takes.)

    The policy that is greedy for it is `LinearPredictiveControl(system, cost, constraints, horizon=1,
    terminal=fitted.value)`: one small quadratic program a step. The states matter, since a quadratic is no exact value
    function: take those that a good policy visits, and fit again on those that the greedy policy visits. Without bounds
    it is the value function of the LQR, whatever the states.

    Args:
        system: a linear system, or a `tracking.LinearGaussian` with a control input, that does not depend on the time.
        cost: the quadratic cost of a stage. Its terminal part is not used.
        constraints: bounds of controls and states, as `LinearPredictiveControl` takes them.
        states: where Bellman's equation shall hold, more of them than numbers in $P$, $p$ and $c$.
        start: $V_0$; by default that of the LQR.
        iterations: the most that are made.
        tolerance: the relative change of $P$ and $p$ at which they end.
        softness: as `LinearPredictiveControl` takes it; its price then is a part of $\ell$.

    Returns:
        a `FittedValue`.

    Raises:
        TypeError: for a system that is not linear, or a cost that is not quadratic.
        ValueError: for states that are too few, not finite or of another size, or from which the bounds cannot be kept.

    Source: A. Keshavarz and S. Boyd, "Quadratic approximate dynamic programming for input-affine systems",
    International Journal of Robust and Nonlinear Control 24, 2014.

    >>> import jax, jax.numpy as jnp
    >>> from mbdl import control
    >>> system = control.LinearSystem(jnp.eye(1), jnp.eye(1), process_noise=jnp.eye(1))
    >>> cost = control.QuadraticCost(jnp.eye(1), jnp.eye(1))
    >>> limits = control.Constraints(control=(-0.5, 0.5))
    >>> states = 3 * jax.random.normal(jax.random.key(0), (200, 1))
    >>> fitted = control.fitted_value_iteration(system, cost, limits, states=states)
    >>> bool(fitted.value.matrix[0, 0] > control.LQR(system, cost).value().matrix[0, 0])  # bounded controls cost more
    True
    """
    check_counts({"iterations": iterations}, "fitted_value_iteration")
    policy = resolve(
        LinearPredictiveControl(
            system,
            cost,
            Constraints() if constraints is None else constraints,
            horizon=1,
            terminal=start,
            softness=softness,
        )
    )
    points = _checked(states, policy.transition.shape[0])
    basis = _basis(points)
    value, made, change, error = policy.terminal, 0, np.inf, np.inf
    while made < iterations and change > tolerance:
        targets = np.asarray(_bellman(policy, jnp.asarray(points, policy.transition.dtype)), np.float64)
        if not np.all(np.isfinite(targets)):
            bad = int(np.argmin(np.isfinite(targets)))
            raise ValueError(
                f"fitted_value_iteration: from state {bad}, {points[bad].tolist()}, no control keeps the bounds of the "
                "states; give states from which they can be kept, or a softness"
            )
        following, fitted = _fit(points, basis, targets)
        change = _distance(following, value)
        value = following
        policy, made = eqx.tree_at(lambda p: p.terminal, policy, jax.tree.map(jnp.asarray, value)), made + 1
        error = np.sqrt(np.mean((fitted - targets) ** 2)) / max(float(np.std(targets)), np.finfo(np.float64).tiny)
    return FittedValue(policy.terminal, float(error), made)


@eqx.filter_jit
def _bellman(policy: LinearPredictiveControl, states: Float[Array, "samples state"]) -> Float[Array, " samples"]:
    """The right side of Bellman's equation, up to the constant of the noise."""
    memory, value = policy.init(), policy.terminal

    def value_of(state: Array) -> Array:
        return state @ value.matrix @ state + 2 * value.linear @ state

    def one(state: Array) -> Array:
        control = policy.step(memory, state)[1]
        following = policy.transition @ state + policy.control @ control
        stage = policy.cost.stage(Stage(state, control, following, jnp.asarray(0)))
        return stage + policy.price_of_breaking(following) + value_of(following)

    return jax.vmap(one)(states)


def _basis(points: np.ndarray) -> np.ndarray:
    """The monomials of second order and less, one column each."""
    rows, columns = np.triu_indices(points.shape[1])
    weights = np.where(rows == columns, 1.0, 2.0)
    return np.concatenate(
        [weights * points[:, rows] * points[:, columns], 2 * points, np.ones((len(points), 1))], axis=1
    )


def _fit(points: np.ndarray, basis: np.ndarray, targets: np.ndarray) -> tuple[Value, np.ndarray]:
    """The convex quadratic nearest to some values, and its values; a semidefinite program where the nearest quadratic
    is not convex."""
    size = points.shape[1]
    coefficients = np.linalg.lstsq(basis, targets, rcond=None)[0]
    matrix = np.zeros((size, size))
    matrix[np.triu_indices(size)] = coefficients[: -size - 1]
    matrix = np.triu(matrix) + np.triu(matrix, 1).T
    if np.linalg.eigvalsh(matrix)[0] < 0:
        import cvxpy

        P = cvxpy.Variable((size, size), PSD=True)
        p, c = cvxpy.Variable(size), cvxpy.Variable()
        quadratic = cvxpy.sum(cvxpy.multiply(points @ P, points), axis=1)
        scale = float(np.max(np.abs(targets)))
        error = (quadratic + 2 * points @ p + c - targets) / scale
        cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(error))).solve(solver=cvxpy.CLARABEL)
        matrix = np.asarray(P.value)
        coefficients = np.concatenate([matrix[np.triu_indices(size)], np.asarray(p.value), [float(c.value)]])  # pyright: ignore[reportArgumentType]
    return Value(matrix, coefficients[-size - 1 : -1]), basis @ coefficients  # pyright: ignore[reportArgumentType]


def _distance(value: Any, other: Any) -> float:
    """The change of a value function, relative to its size."""
    pairs = [(np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in zip(value, other, strict=True)]
    size = np.sqrt(sum(np.sum(a**2) for a, _ in pairs))
    return float(np.sqrt(sum(np.sum((a - b) ** 2) for a, b in pairs)) / max(size, np.finfo(np.float64).tiny))


def _checked(states: Any, size: int) -> np.ndarray:
    points = np.asarray(states, np.float64)
    if points.ndim != 2 or points.shape[1] != size:
        raise ValueError(
            f"fitted_value_iteration: expected states [samples {size}], got an array of shape {points.shape}"
        )
    if not np.all(np.isfinite(points)):
        raise ValueError("fitted_value_iteration: some of the states are not finite")
    numbers = size * (size + 1) // 2 + size + 1
    if np.linalg.matrix_rank(_basis(points)) < numbers:
        raise ValueError(
            f"fitted_value_iteration: {len(points)} states do not determine the {numbers} numbers of a quadratic of "
            f"{size} states; give more of them, in all directions"
        )
    return points
