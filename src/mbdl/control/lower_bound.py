"""A bound that no policy of a linear system with bounded controls can beat."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from mbdl import tracking
from mbdl.core import resolve

from .constraints import Constraints
from .cost import QuadraticCost
from .riccati_recursion import Value, model_matrices


class LowerBound(NamedTuple):
    """A lower bound of the mean cost of a stage, and the quadratic value function that proves it; a policy that is
    greedy for that function is a good one."""

    bound: float
    value: Value


def quadratic_lower_bound(system: Any, cost: QuadraticCost, constraints: Constraints | None = None) -> LowerBound:
    r"""A lower bound of the mean cost of a stage over a long time, of every policy that keeps the bounds of the
    control, by the semidefinite program
    $$\max_{P, p, \lambda \ge 0, \alpha} \alpha \quad \text{subject to} \quad \begin{bmatrix}
    R + B^\top P B + \Lambda & N^\top + B^\top P A & B^\top p - N^\top g - \Lambda c \\
    \cdot & Q + A^\top P A - P & A^\top p - p - Q g \\
    \cdot & \cdot & \mathrm{tr}(P W) + g^\top Q g + \sum_i \lambda_i l_i h_i - \alpha
    \end{bmatrix} \succeq 0,$$
    with $\Lambda = \mathrm{diag}(\lambda)$, bounds $l \le u \le h$ and their middle $c = (l + h) / 2$.

    Derivation. Let $V(x) = x^\top P x + 2 p^\top x$ fulfil, for all $x$ and all $u$ within the bounds,
    $$\ell(x, u) + \mathrm{E}\, V(A x + B u + w) \ge V(x) + \alpha.$$
    Summed along a run of any policy, this gives a mean cost of at least $\alpha$ in the limit, if the second moment of
    the state does not grow as fast as the time. Within the bounds $(u_i - l_i)(u_i - h_i) \le 0$, so it suffices that
    the left side plus $\sum_i \lambda_i (u_i - l_i)(u_i - h_i)$ is at least the right side for all $x$ and $u$. The
    difference is a quadratic function of $(u, x, 1)$, and the matrix above is its matrix. For bounds $\pm b$ and no
    target $p = 0$ is optimal, and the bound is $\mathrm{tr}(P W) - \sum_i \lambda_i b_i^2$; without bounds $P$ is that
    of the Riccati equation, and the bound is the cost of the LQR, $\mathrm{tr}(P W)$.

    Args:
        system: a linear system, or a `tracking.LinearGaussian` with a control input, that does not depend on the time.
        cost: the quadratic cost of a stage. Its terminal part is not used.
        constraints: bounds of the control; of a control without a finite pair of bounds nothing is used. Bounds of the
            states and other constraints are not used: the bound holds with them, too.

    Returns:
        a `LowerBound`: the bound, as `Trajectories.cost` measures it over a long run, and $P$ and $p$.

    Raises:
        TypeError: for a system that is not linear, or a cost that is not quadratic.
        ValueError: for a system that depends on the time, or a program that has no solution.

    Source: Y. Wang and S. Boyd, "Performance bounds for linear stochastic control", Systems & Control Letters 58, 2009;
    the form for bounded controls and quadratic costs is derived here.

    >>> import jax.numpy as jnp
    >>> from mbdl import control
    >>> system = control.LinearSystem(jnp.eye(1), jnp.eye(1), process_noise=jnp.eye(1))
    >>> cost = control.QuadraticCost(jnp.eye(1), jnp.eye(1))
    >>> round(control.quadratic_lower_bound(system, cost).bound, 3)  # the golden ratio, the cost of the LQR
    1.618
    """
    # It takes a second to import, and only this function and convex policies need it.
    import cvxpy

    A, B, W, cost = _known(system, cost)
    Q, R = np.asarray(cost.state, np.float64), np.asarray(cost.control, np.float64)
    states, controls = B.shape
    N = np.zeros(B.shape) if cost.cross is None else np.asarray(cost.cross, np.float64)
    g = np.zeros(states) if cost.target is None else np.asarray(cost.target, np.float64)
    low, high = _bounds(constraints, controls)

    P = cvxpy.Variable((states, states), symmetric=True)
    p, alpha = cvxpy.Variable(states), cvxpy.Variable()
    weight = cvxpy.Variable(controls, nonneg=True)
    bounded = np.isfinite(low) & np.isfinite(high)
    low, high = np.where(bounded, low, 0.0), np.where(bounded, high, 0.0)
    mixed = N.T + B.T @ P @ A
    steered = cvxpy.reshape(B.T @ p - N.T @ g - cvxpy.multiply(weight, (low + high) / 2), (controls, 1), order="C")
    moved = cvxpy.reshape(A.T @ p - p - Q @ g, (states, 1), order="C")
    rest = cvxpy.reshape(cvxpy.trace(P @ W) + g @ Q @ g + weight @ (low * high) - alpha, (1, 1), order="C")
    matrix = cvxpy.bmat(
        [
            [R + B.T @ P @ B + cvxpy.diag(weight), mixed, steered],
            [mixed.T, Q + A.T @ P @ A - P, moved],
            [steered.T, moved.T, rest],
        ]
    )
    problem = cvxpy.Problem(cvxpy.Maximize(alpha), [(matrix + matrix.T) / 2 >> 0, weight[~bounded] == 0])
    problem.solve(solver=cvxpy.CLARABEL)
    found = [np.asarray(variable.value, np.float64) for variable in (alpha, P, p)]
    if problem.status != cvxpy.OPTIMAL:
        raise ValueError(
            f"quadratic_lower_bound: the semidefinite program has no solution (Clarabel: {problem.status}). The pair "
            "of transition and control may not be stabilisable; or scale states and controls to alike sizes"
        )
    dtype = cost.state.dtype
    return LowerBound(float(found[0]), Value(jnp.asarray(found[1], dtype), jnp.asarray(found[2], dtype)))


def _known(system: Any, cost: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, QuadraticCost]:
    """$A$, $B$, the covariance of the noise, and the cost."""
    transition, control = resolve(model_matrices(system, "quadratic_lower_bound"))
    if not isinstance(cost, QuadraticCost):
        raise TypeError(f"quadratic_lower_bound: expected a control.QuadraticCost, got {type(cost).__name__}")
    noise = resolve(getattr(system, "model", system).process_noise)
    if any(callable(part) for part in (transition, control, noise)):
        raise ValueError("quadratic_lower_bound: expected a system that does not depend on the time")
    A, B, W = (np.asarray(part, np.float64) for part in (transition, control, tracking.dense(noise)))
    return A, B, W, resolve(cost)


def _bounds(constraints: Constraints | None, size: int) -> tuple[np.ndarray, np.ndarray]:
    limits = None if constraints is None else resolve(constraints).control
    low, high = (-np.inf, np.inf) if limits is None else limits
    return tuple(np.broadcast_to(np.asarray(bound, np.float64), (size,)) for bound in (low, high))  # pyright: ignore[reportReturnType]
