"""What several studies of control share: the published random systems, the convex policy of a regulator, networks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import cvxpy
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

import mbdl
from mbdl import control, networks
from mbdl.studies.search import simplex_search


def published_system(states: int, controls: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The random system of the published notebooks, with a spectral radius of one."""
    generator = np.random.RandomState(seed)
    A = generator.randn(states, states)
    A /= np.max(np.abs(np.linalg.eigvals(A)))
    return A, generator.randn(states, controls)


class Statement(NamedTuple):
    """A convex policy as it is stated in CVXPY.

    Attributes:
        problem: the problem.
        context: the parameters that are seen.
        decision: the control.
        parameters: the values of the others.
    """

    problem: cvxpy.Problem
    context: Sequence[cvxpy.Parameter]
    decision: cvxpy.Variable
    parameters: Mapping[cvxpy.Parameter, Any]

    def policy(self, **how: Any) -> control.ConvexPolicy:
        """The policy, of which nothing is learned yet."""
        return control.ConvexPolicy(
            self.problem, context=self.context, decision=self.decision, known=self.parameters, **how
        )


def regulator(
    A: np.ndarray, B: np.ndarray, root: np.ndarray, *, limit: float | None = None, slope: np.ndarray | None = None
) -> Statement:
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
    return Statement(cvxpy.Problem(cvxpy.Minimize(cost), constraints), [x], u, values)


def learned(policy: control.ConvexPolicy) -> control.ConvexPolicy:
    """The policy with all its parameters learned, from where they are."""
    return mbdl.learn(policy, lambda p: list(p.parameters.values()))


def tuned(
    make: Callable[[np.ndarray], control.ConvexPolicy],
    cost: Callable[[Any], float],
    start: Sequence[float],
    names: Sequence[str],
) -> control.ConvexPolicy:
    """The policy of the positive numbers that cost the least.

    Args:
        make: the policy of some numbers.
        cost: of a policy, the same at each call.
        start: the first numbers.
        names: of the parameters that depend on them.
    """
    best = simplex_search(lambda numbers: -cost(make(numbers)), start)
    return mbdl.tuned(make(best), lambda p: [p.parameters[name] for name in names])


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
