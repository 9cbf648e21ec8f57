"""The Riccati recursion of the linear quadratic regulator: one step, and its end."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import jax.scipy.linalg
from jaxtyping import Array, Float

from mbdl import tracking
from mbdl.tracking.covariance import symmetric

from .cost import QuadraticCost


class Value(NamedTuple):
    r"""A quadratic value function, $V(x) = x^\top P x + 2 p^\top x$ up to a constant: $P$ and $p$."""

    matrix: Float[Array, "state state"]
    linear: Float[Array, " state"]


class Feedback(NamedTuple):
    """An affine policy, $u = -K x - k$: $K$ and $k$."""

    gain: Float[Array, "control state"]
    offset: Float[Array, " control"]


def last_value(cost: QuadraticCost, size: int) -> Value:
    """The value of the last state."""
    matrix = jnp.zeros((size, size), cost.state.dtype) if cost.final is None else cost.final
    return Value(matrix, -matrix @ _target(cost, size))


def backward(A: Array, B: Array, cost: QuadraticCost, value: Value) -> tuple[Value, Feedback]:
    r"""The value of a state one stage before, and the policy that attains it,
    $$K = (R + B^\top P B)^{-1} (N^\top + B^\top P A), \qquad P \leftarrow Q + A^\top P A - (N + A^\top P B) K.$$
    """
    size = len(A)
    cross = _cross(cost, B)
    mixed = cross.T + B.T @ value.matrix @ A
    curvature = symmetric(cost.control + B.T @ value.matrix @ B)
    target = _target(cost, size)
    steered = B.T @ value.linear - cross.T @ target
    solved = jax.scipy.linalg.cho_solve(
        jax.scipy.linalg.cho_factor(curvature), jnp.concatenate([mixed, steered[:, None]], axis=1)
    )
    feedback = Feedback(solved[:, :-1], solved[:, -1])
    matrix = symmetric(cost.state + A.T @ value.matrix @ A - mixed.T @ feedback.gain)
    linear = A.T @ value.linear - cost.state @ target - mixed.T @ feedback.offset
    return Value(matrix, linear), feedback


def stationary_value(A: Array, B: Array, cost: QuadraticCost) -> Value:
    """The value function that the recursion does not change; NaN where there is none."""
    cross, target = _cross(cost, B), _target(cost, len(A))
    # With u = v - R⁻¹Nᵀ(x - g) there is no cross term left.
    shift = jnp.linalg.solve(cost.control, cross.T)
    state = symmetric(cost.state - cross @ shift)
    matrix = tracking.stabilising_solution((A - B @ shift).T, B.T, state, cost.control)
    gain = jnp.linalg.solve(cost.control + B.T @ matrix @ B, cross.T + B.T @ matrix @ A)
    closed = A - B @ gain
    forced = (cross @ gain).T @ target - cost.state @ target if cost.target is not None else jnp.zeros_like(target)
    return Value(matrix, jnp.linalg.solve(jnp.eye(len(A), dtype=A.dtype) - closed.T, forced))


def _cross(cost: QuadraticCost, B: Array) -> Array:
    return jnp.zeros_like(B) if cost.cross is None else cost.cross


def _target(cost: QuadraticCost, size: int) -> Array:
    return jnp.zeros(size, cost.state.dtype) if cost.target is None else cost.target


def model_matrices(system: Any, what: str) -> tuple[Any, Any]:
    """$A$ and $B$ of a linear system, as they are held: matrices, or functions of the moment.

    Raises:
        TypeError: for a system that is not linear.
    """
    model = getattr(system, "model", system)
    if not isinstance(model, tracking.LinearGaussian):
        raise TypeError(
            f"{what}: expected a linear system (control.LinearSystem, or a tracking.LinearGaussian with a control "
            f"input), got {type(model).__name__}. For one that is not linear use control.IterativeLQR"
        )
    if model.control is None:
        raise ValueError(f"{what}: the model has no control input; give it a matrix control=B, [state control]")
    return model.transition, model.control
