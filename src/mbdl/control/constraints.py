"""Constraints on states and controls: what a policy has to keep, and by how much a closed loop breaks it."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mbdl.core import as_leaf
from mbdl.core.checks import concrete, floating, greatest

from .cost import Stage

Interval = tuple[Any, Any]


class Constraints(eqx.Module):
    r"""Bounds on controls and states, and any others, $c(x_t, u_t, x_{t+1}, t) \le 0$.

    `simulate` measures by how much they are broken; predictive control keeps the bounds.

    Args:
        control: `(lower, upper)` of each control, numbers or `[control]`; infinite where there is none.
        state: `(lower, upper)` of each state after the first, numbers or `[state]`.
        inequality: $c$, a function of a `Stage` that returns an array; what is above zero breaks the constraint.

    Raises:
        ValueError: for a lower bound above the upper one, or NaN.

    >>> import jax.numpy as jnp
    >>> from mbdl import control
    >>> limits = control.Constraints(control=(-0.1, 0.1))
    >>> stage = control.Stage(jnp.zeros(2), jnp.array([0.3]), jnp.zeros(2), jnp.asarray(0))
    >>> print(limits.violation(stage).round(3))
    0.2
    """

    control: tuple[Float[Array, "*control"], Float[Array, "*control"]] | None
    state: tuple[Float[Array, "*state"], Float[Array, "*state"]] | None
    inequality: Callable[[Stage], Array] | None

    def __init__(
        self,
        *,
        control: Interval | None = None,
        state: Interval | None = None,
        inequality: Callable[[Stage], Array] | None = None,
    ):
        self.control, self.state = _interval(control, "control"), _interval(state, "state")
        if inequality is not None and not callable(inequality):
            raise TypeError(f"Constraints: expected inequality to be a function of a stage, got {inequality!r}")
        self.inequality = inequality

    def violation(self, stage: Stage) -> Float[Array, ""]:
        """The largest amount by which a stage breaks a constraint; zero where it breaks none, NaN for a stage with
        NaN."""
        parts = [jnp.zeros(1, stage.state.dtype)]
        for interval, value in ((self.control, stage.control), (self.state, stage.following)):
            if interval is not None:
                parts += [interval[0] - value, value - interval[1]]
        if self.inequality is not None:
            parts.append(jnp.ravel(self.inequality(stage)))
        # NaN in what no constraint looks at is NaN too.
        parts += [jnp.where(jnp.isnan(seen), seen, 0.0) for seen in (stage.state, stage.control, stage.following)]
        return greatest(jnp.concatenate(parts))

    def clipped(self, control: Float[Array, " control"]) -> Float[Array, " control"]:
        """A control brought within its bounds."""
        return control if self.control is None else jnp.clip(control, *self.control)


def _interval(interval: Any, name: str) -> Any:
    if interval is None:
        return None
    if not isinstance(interval, tuple | list) or len(interval) != 2:
        raise ValueError(f"Constraints: expected {name}=(lower, upper), got {interval!r}")
    bounds = tuple(floating(as_leaf(bound)) for bound in interval)
    lower, upper = (concrete(bound) for bound in bounds)
    if lower is not None and upper is not None and not np.all(lower <= upper):
        raise ValueError(f"Constraints: the lower bound of {name} must not be above the upper one, got {interval!r}")
    return bounds
