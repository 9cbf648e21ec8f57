"""A linear quadratic plan in its controls alone: the states eliminated."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .cost import QuadraticCost, Stage
from .riccati_recursion import Value


class Condensed(NamedTuple):
    r"""What a plan $U$ from a state $x$ costs and where it leads,
    $$\tfrac12 U^\top H U + (F x + f)^\top U + \text{const}, \qquad (x_1, \dots, x_T) = \Phi x + \Gamma U.$$

    Attributes:
        hessian: $H$, `[controls controls]`.
        mixed: $F$, `[controls state]`.
        constant: $f$, `[controls]`.
        free: $\Phi$, `[horizon states state]`.
        forced: $\Gamma$, `[horizon states controls]`.
    """

    hessian: Float[Array, "controls controls"]
    mixed: Float[Array, "controls state"]
    constant: Float[Array, " controls"]
    free: Float[Array, "horizon state state"]
    forced: Float[Array, "horizon state controls"]


def condense(A: Array, B: Array, cost: QuadraticCost, terminal: Value, horizon: int) -> Condensed:
    """Eliminate the states of a plan.

    Args:
        A: the transition.
        B: the control matrix.
        cost: of a stage.
        terminal: the value of the last state.
        horizon: the number of stages.
    """
    state, plan = jnp.zeros(A.shape[0], A.dtype), jnp.zeros(horizon * B.shape[1], A.dtype)

    def later(x: Array, plan: Array) -> tuple[Array, Array]:
        def move(x: Array, u: Array) -> tuple[Array, Any]:
            following = A @ x + B @ u
            return following, (following, cost.stage(Stage(x, u, following, jnp.asarray(0))))

        last, (states, costs) = jax.lax.scan(move, x, plan.reshape(horizon, B.shape[1]))
        return states, jnp.sum(costs) + last @ terminal.matrix @ last + 2 * terminal.linear @ last

    def slope(x: Array, plan: Array) -> Array:
        return jax.grad(lambda plan: later(x, plan)[1])(plan)

    # The cost is quadratic and the states are linear, so that derivatives at zero are all there is of them.
    mixed, hessian = jax.jacfwd(slope, (0, 1))(state, plan)
    free, forced = jax.jacfwd(lambda x, plan: later(x, plan)[0], (0, 1))(state, plan)
    return Condensed(0.5 * (hessian + hessian.T), mixed, slope(state, plan), free, forced)
