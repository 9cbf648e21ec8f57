"""Costs: what a closed loop is judged by, stage by stage."""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mbdl.core import as_leaf
from mbdl.core.checks import concrete, finite, floating


class Stage(NamedTuple):
    """One stage of a closed loop, as a cost or a constraint sees it.

    Attributes:
        state: $x_t$.
        control: $u_t$.
        following: $x_{t+1}$.
        time: $t$.
    """

    state: Float[Array, " state"]
    control: Float[Array, " control"]
    following: Float[Array, " state"]
    time: Int[Array, ""]


class AbstractCost(eqx.Module):
    r"""A cost of $T$ stages, $\frac1T \bigl( \sum_{t=0}^{T-1} \ell(x_t, u_t, x_{t+1}, t) + \ell_T(x_T) \bigr)$."""

    @abc.abstractmethod
    def stage(self, stage: Stage) -> Float[Array, ""]:
        r"""$\ell$ at one stage."""

    def terminal(self, state: Float[Array, " state"]) -> Float[Array, ""]:
        r"""$\ell_T$ of the last state; zero by default."""
        return jnp.zeros((), state.dtype)


class Cost(AbstractCost):
    r"""A cost of one's own functions.

    Args:
        stage: $\ell$, a function of a `Stage`.
        terminal: $\ell_T$, a function of the last state; zero by default.

    Raises:
        TypeError: for what is no function.

    >>> import jax.numpy as jnp
    >>> from mbdl import control
    >>> cost = control.Cost(lambda stage: jnp.sum(jnp.abs(stage.state)) + 0.1 * jnp.sum(stage.control**2))
    >>> float(cost.stage(control.Stage(jnp.array([1.0, -2.0]), jnp.zeros(1), jnp.zeros(2), jnp.asarray(0))))
    3.0
    """

    stage_cost: Callable[[Stage], Array]
    terminal_cost: Callable[[Array], Array] | None

    def __init__(self, stage: Callable[[Stage], Array], terminal: Callable[[Array], Array] | None = None):
        if not callable(stage) or not (terminal is None or callable(terminal)):
            raise TypeError(
                f"Cost: expected functions stage(stage) and terminal(state) -> scalar, got {stage!r} and {terminal!r}"
            )
        self.stage_cost, self.terminal_cost = stage, terminal

    def stage(self, stage: Stage) -> Float[Array, ""]:
        return self.stage_cost(stage)

    def terminal(self, state: Float[Array, " state"]) -> Float[Array, ""]:
        return super().terminal(state) if self.terminal_cost is None else self.terminal_cost(state)


class QuadraticCost(AbstractCost):
    r"""The cost of the linear quadratic regulator,
    $$\ell(x, u) = (x - g)^\top Q (x - g) + u^\top R u + 2 (x - g)^\top N u, \qquad
    \ell_T(x) = (x - g)^\top Q_T (x - g).$$

    Args:
        state: $Q$, `[state state]`, positive semidefinite.
        control: $R$, `[control control]`, positive definite.
        cross: $N$, `[state control]`; zero by default.
        terminal: $Q_T$, `[state state]`; zero by default.
        target: $g$, `[state]`; zero by default.

    Raises:
        ValueError: for shapes that do not agree, values that are not finite, matrices that are not symmetric, or a cost
            that is not convex.

    >>> import jax.numpy as jnp
    >>> from mbdl import control
    >>> cost = control.QuadraticCost(jnp.eye(2), 0.1 * jnp.eye(1), target=jnp.array([1.0, 0.0]))
    >>> float(cost.stage(control.Stage(jnp.array([1.0, 2.0]), jnp.zeros(1), jnp.zeros(2), jnp.asarray(0))))
    4.0
    """

    state: Float[Array, "state state"]
    control: Float[Array, "control control"]
    cross: Float[Array, "state control"] | None
    final: Float[Array, "state state"] | None
    target: Float[Array, " state"] | None

    def __init__(self, state: Any, control: Any, *, cross: Any = None, terminal: Any = None, target: Any = None):
        self.state, self.control = _square(state, "state"), _square(control, "control")
        self.cross = None if cross is None else floating(as_leaf(cross))
        self.final = None if terminal is None else _square(terminal, "terminal")
        self.target = None if target is None else floating(as_leaf(target))
        sizes = [getattr(leaf, "shape", (None,))[0] for leaf in (self.state, self.control)]
        wanted = {"cross": tuple(sizes), "final": (sizes[0], sizes[0]), "target": (sizes[0],)}
        for name, shape in wanted.items():
            value = getattr(self, name)
            given = getattr(value, "shape", None)
            if value is not None and given is not None and None not in shape and given != shape:
                shown = "terminal" if name == "final" else name
                raise ValueError(f"QuadraticCost: {shown} has shape {given}; expected {shape}")
            if value is not None:
                finite(value, f"QuadraticCost: {name}")
        _check_convex(self)

    def stage(self, stage: Stage) -> Float[Array, ""]:
        away = self.away(stage.state)
        value = away @ self.state @ away + stage.control @ self.control @ stage.control
        return value if self.cross is None else value + 2 * away @ self.cross @ stage.control

    def terminal(self, state: Float[Array, " state"]) -> Float[Array, ""]:
        away = self.away(state)
        return super().terminal(state) if self.final is None else away @ self.final @ away

    def away(self, state: Float[Array, " state"]) -> Float[Array, " state"]:
        """How far a state is from the target."""
        return state if self.target is None else state - self.target


def _square(value: Any, name: str) -> Any:
    value = floating(as_leaf(value))
    shape = getattr(value, "shape", None)
    if shape is not None and (len(shape) != 2 or shape[0] != shape[1]):
        raise ValueError(f"QuadraticCost: expected {name} to be a square matrix, got shape {shape}")
    finite(value, f"QuadraticCost: {name}")
    known = concrete(value)
    if known is not None and not np.allclose(known, known.T, rtol=1e-4, atol=1e-6 * np.max(np.abs(known))):
        raise ValueError(f"QuadraticCost: {name} must be symmetric. Give (Q + Q.T) / 2, which costs the same")
    return value


def _check_convex(cost: QuadraticCost) -> None:
    """Raise for a cost that has no minimum, where its matrices are known."""
    state, control, cross, final = (
        None if value is None else concrete(value) for value in (cost.state, cost.control, cost.cross, cost.final)
    )
    for name, matrix, strict in (("state", state, False), ("control", control, True), ("terminal", final, False)):
        if matrix is None:
            continue
        eigenvalues = np.linalg.eigvalsh(matrix.astype(np.float64))
        rounding = 1e2 * len(matrix) * np.finfo(matrix.dtype).eps * np.max(np.abs(eigenvalues))
        if eigenvalues[0] < -rounding or (strict and eigenvalues[0] <= rounding):
            wanted = "positive definite" if strict else "positive semidefinite"
            raise ValueError(
                f"QuadraticCost: {name} must be {wanted}, but its smallest eigenvalue is {eigenvalues[0]:.3g}: a cost "
                "that is not convex has no optimal policy"
            )
    if cross is not None and state is not None and control is not None:
        left = state - cross @ np.linalg.solve(control, cross.T)
        smallest = np.linalg.eigvalsh(left.astype(np.float64))[0]
        if smallest < -1e2 * len(left) * np.finfo(state.dtype).eps * np.max(np.abs(state)):
            raise ValueError(
                "QuadraticCost: the cost of state and control together must be convex, but Q − N R⁻¹ Nᵀ has the "
                f"eigenvalue {smallest:.3g}. Take a smaller cross"
            )
