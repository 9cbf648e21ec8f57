"""The linear quadratic problem that a nonlinear one looks like along a trajectory."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mbdl.tracking.covariance import symmetric

from .box_minimiser import among, box_minimiser
from .cost import AbstractCost, Stage
from .semidefinite_part import semidefinite_part
from .system import AbstractSystem


class Expansion(NamedTuple):
    """One stage around a state and a control: Jacobians of the transition, slope and curvature of the cost."""

    A: Float[Array, "state state"]
    B: Float[Array, "state control"]
    slope: Float[Array, " both"]
    curvature: Float[Array, "both both"]


class Curve(NamedTuple):
    r"""A value function around a state, $\tfrac12 \delta^\top V \delta + v^\top \delta$: $V$ and $v$."""

    matrix: Float[Array, "state state"]
    slope: Float[Array, " state"]


class Correction(NamedTuple):
    """How controls change: by `step`, and with the state by `gain`."""

    step: Float[Array, "*time control"]
    gain: Float[Array, "*time control state"]


@eqx.filter_jit  # A planner asks for it, and for its derivatives, at many places: traced once.
def nominal_move(system: AbstractSystem, state: Array, control: Array, time: Array) -> Float[Array, " state"]:
    """The next state as a planner at `time` expects it."""
    return system.move(state, control, system.nominal_noise(time + 1), time + 1).astype(state.dtype)


def planned_cost(
    system: AbstractSystem, cost: AbstractCost, state: Array, control: Array, time: Array
) -> tuple[Float[Array, ""], Float[Array, " state"]]:
    """What a stage costs, and the state that follows."""
    following = nominal_move(system, state, control, time)
    return cost.stage(Stage(state, control, following, time)), following


def expand(system: AbstractSystem, cost: AbstractCost, state: Array, control: Array, time: Array) -> Expansion:
    """A stage around a state and a control; the curvature is the exact one, its positive semidefinite part."""
    size = len(state)

    def stage(both: Array) -> Array:
        return planned_cost(system, cost, both[:size], both[size:], time)[0]

    def move(both: Array) -> Array:
        return nominal_move(system, both[:size], both[size:], time)

    both = jnp.concatenate([state, control])
    jacobian = jax.jacfwd(move)(both)
    curvature = semidefinite_part(symmetric(jax.hessian(stage)(both)))
    return Expansion(jacobian[:, :size], jacobian[:, size:], jax.grad(stage)(both), curvature)


def last_curve(cost: AbstractCost, state: Array) -> Curve:
    """The terminal cost around the last state."""
    curvature = jax.hessian(cost.terminal)(state)
    return Curve(semidefinite_part(symmetric(curvature)), jax.grad(cost.terminal)(state))


def backward_step(curve: Curve, stage: Expansion, damping: Array, bounds: Any) -> tuple[Curve, Correction]:
    r"""The value one stage before, and the correction of the control,
    $$\min_{l \le \delta u \le h} \tfrac12 \delta u^\top (Q_{uu} + \mu \bar q I) \delta u + Q_u^\top \delta u, \qquad
    K_f = -(Q_{uu} + \mu \bar q I)_{ff}^{-1} Q_{ux, f},$$
    where $f$ are the components that no bound clamps (the gain of the others is zero), and $\bar q$ is the mean of the
    diagonal of $Q_{uu}$.

    Args:
        curve: the value of the following state.
        stage: the expansion.
        damping: $\mu$.
        bounds: $(l, h)$, of the change of the control; `None` where there are none.
    """
    size = len(stage.A)
    moved = jnp.concatenate([stage.A, stage.B], axis=1)
    matrix = stage.curvature + moved.T @ curve.matrix @ moved
    slope = stage.slope + moved.T @ curve.slope
    xx, ux, uu = matrix[:size, :size], matrix[size:, :size], matrix[size:, size:]
    damped = uu + damping * jnp.mean(jnp.diagonal(uu)) * jnp.eye(len(uu), dtype=uu.dtype)
    if bounds is None:
        solved = jnp.linalg.solve(damped, jnp.concatenate([slope[size:, None], ux], axis=1))
        change, gain = -solved[:, 0], -solved[:, 1:]
    else:
        change, free = box_minimiser(damped, slope[size:], *bounds)
        gain = -jnp.linalg.solve(among(damped, free), jnp.where(free[:, None], ux, 0.0))
    value = xx + gain.T @ uu @ gain + gain.T @ ux + ux.T @ gain
    pushed = slope[:size] + gain.T @ (uu @ change + slope[size:]) + ux.T @ change
    return Curve(symmetric(value), pushed), Correction(change, gain)
