"""What a planner begins from: the state, the time, and a plan that is near."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class FeedbackPlan(NamedTuple):
    r"""A plan that says what to do near the states that it expects, $u_t = \bar u_t + K_t (x_t - \bar x_t)$.

    Attributes:
        controls: $\bar u_t$, `[horizon control]`.
        states: $\bar x_t$, `[horizon state]`.
        gains: $K_t$, `[horizon control state]`.
    """

    controls: Float[Array, "horizon control"]
    states: Float[Array, "horizon state"]
    gains: Float[Array, "horizon control state"]


class Situation(NamedTuple):
    """The context of a planner.

    Attributes:
        state: $x_t$, `[state]`.
        time: $t$.
        plan: what to begin the search from: controls `[horizon control]`, or a `FeedbackPlan`, which the planner
            follows from the state; the planner's own `initial` where it is `None`.
    """

    state: Float[Array, " state"]
    time: Int[Array, ""] | int = 0
    plan: Float[Array, "horizon control"] | FeedbackPlan | None = None


def as_situation(x: Any) -> Situation:
    """A situation, or a state at time zero as one."""
    if isinstance(x, Situation):
        return Situation(x.state, jnp.asarray(x.time), x.plan)
    return Situation(x, jnp.asarray(0))
