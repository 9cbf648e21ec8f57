"""What several studies of control share: the published random systems, the convex policy of a regulator, networks."""

from typing import Any

import cvxpy
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from mbdl import control, networks


def published_system(states: int, controls: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The random system of the published notebooks, with a spectral radius of one."""
    generator = np.random.RandomState(seed)
    A = generator.randn(states, states)
    A /= np.max(np.abs(np.linalg.eigvals(A)))
    return A, generator.randn(states, controls)


def regulator(
    A: np.ndarray, B: np.ndarray, root: np.ndarray, *, limit: float | None = None, slope: np.ndarray | None = None
) -> control.ConvexPolicy:
    r"""The policy $\arg\min_u u^\top u + \|\theta x^+\|^2 + q^\top x^+$ with $x^+ = A x + B u$, $|u| \le$ the limit."""
    states, controls = B.shape
    x, u = cvxpy.Parameter(states, "x"), cvxpy.Variable(controls, "u")
    theta, following = cvxpy.Parameter((states, states), "theta"), cvxpy.Variable(states, "following")
    cost, values = cvxpy.sum_squares(u) + cvxpy.sum_squares(theta @ following), {theta: root}
    if slope is not None:
        q = cvxpy.Parameter(states, "q")
        cost, values = cost + q @ following, {**values, q: slope}
    constraints: list[Any] = [following == A @ x + B @ u]
    if limit is not None:
        constraints.append(cvxpy.norm_inf(u) <= limit)
    problem = cvxpy.Problem(cvxpy.Minimize(cost), constraints)
    return control.ConvexPolicy(problem, context=[x], decision=u, parameters=values)


def network(
    inputs: int, controls: int, width: int, constraints: control.Constraints | None = None, *, key: PRNGKeyArray
) -> control.StateFeedback | control.Clipped:
    """Two hidden layers from what is seen to controls, clipped at their bounds where there are any.

    The last layer begins at a hundredth of its usual size, so that the first policy does little: a closed loop under
    random feedback may diverge, and has no gradient then.
    """
    layers = networks.MLP(inputs, controls, width=width, depth=2, dtype=jnp.result_type(float), key=key)
    layers = eqx.tree_at(lambda net: net.layers[-1].weight, layers, replace_fn=lambda weight: 0.01 * weight)
    policy = control.StateFeedback(layers)
    return policy if constraints is None else control.Clipped(policy, constraints)
