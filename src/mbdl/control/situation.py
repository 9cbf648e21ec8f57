"""What a planner begins from: the state, the time, and a plan that is near."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class Situation(NamedTuple):
    """The context of a planner.

    Attributes:
        state: $x_t$, `[state]`.
        time: $t$.
        plan: controls to begin the search from, `[horizon control]`; the planner's own `initial` where it is `None`.
    """

    state: Float[Array, " state"]
    time: Int[Array, ""] | int = 0
    plan: Float[Array, "horizon control"] | None = None


def as_situation(x: Any) -> Situation:
    """A situation, or a state at time zero as one."""
    if isinstance(x, Situation):
        return Situation(x.state, jnp.asarray(x.time), x.plan)
    return Situation(x, jnp.asarray(0))
