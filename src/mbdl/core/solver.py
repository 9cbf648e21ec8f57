"""Iterative solvers: rules that iterate on one context, for a fixed depth or until convergence."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from . import layers
from .derivative import reads
from .fixed_point import Solution, Status, find
from .leaves import is_concrete
from .loops import loop
from .rule import DecisionRule, evaluate


class IterativeSolver(DecisionRule):
    r"""A rule that iterates $z_{k+1} = T_\theta(z_k, x)$ from $z_0$ and decides $s = d(z_K)$.

    A subclass writes `init`, `step` and `decision`, and its constructor sets `iterations`. The same object is run

    - for a fixed depth, `solver(x)`, differentiable through its iterations; `solver(x, trace=True)` returns every
      iterate;
    - until convergence, `solver.solve(x)`, with implicit gradients at the fixed point.

    Attributes:
        iterations: the depth of `solver(x)`.
        rematerialise: recompute each iteration in the backward pass instead of storing it (see `mbdl.unfold`).
        correction: a learned correction added to each iterate (see `mbdl.augment`), or `None`.
    """

    iterations: int = eqx.field(static=True, kw_only=True)
    rematerialise: bool = eqx.field(static=True, kw_only=True, default=False)
    correction: Any = eqx.field(kw_only=True, default=None)

    def __check_init__(self):
        if isinstance(self.iterations, bool) or not isinstance(self.iterations, int) or self.iterations < 1:
            raise ValueError(
                f"{type(self).__name__}: expected a number of iterations of at least 1, got "
                f"iterations={self.iterations!r}"
            )
        # A hand-written constructor sets what is its own; these two are the verbs'.
        for name, default in (("rematerialise", False), ("correction", None)):
            if name not in self.__dict__:
                object.__setattr__(self, name, default)

    @abc.abstractmethod
    def init(self, x: Any) -> Any:
        """The first state for a context. Sees the parameters of layer 0."""

    @abc.abstractmethod
    def step(self, state: Any, x: Any) -> Any:
        """One iteration. Sees the parameters of its layer."""

    @abc.abstractmethod
    def decision(self, state: Any) -> Any:
        """The decision that a state stands for. Sees the parameters of the last layer."""

    def shift(self, state: Any, delta: Any) -> Any:
        """The state with `delta` added to its decision; written by solvers that can be augmented."""
        raise TypeError(f"{type(self).__name__} does not say how a correction is added to its state (`shift`)")

    def hyperparameters(self) -> tuple[Any, ...]:
        """The leaves on which the fixed point does not depend, given the solver's components; none by default."""
        return ()

    def fixed_point(self, state: Any, x: Any) -> Any:
        """The map whose fixed point is sought; `step`, unless that carries momentum."""
        return self.step(state, x)

    def residual(self, previous: Any, current: Any, x: Any) -> Float[Array, ""]:
        """How far two successive states are from a fixed point; by default the relative change of the decision."""
        old, new = self.decision(previous), self.decision(current)
        change = jax.tree.map(lambda a, b: jnp.sum(jnp.abs(a - b) ** 2), new, old)
        size = jax.tree.map(lambda a: jnp.sum(jnp.abs(a) ** 2), new)
        change, size = (sum(jax.tree.leaves(tree)) for tree in (change, size))
        relative = jnp.where(change > 0, change, 1.0) / jnp.where(size > 0, size, 1.0)
        return jnp.where(change > 0, jnp.sqrt(relative), 0.0)

    def verdict(self, previous: Any, current: Any, x: Any) -> Status | None:
        """What two successive states prove of a problem that has no solution; `None`, the default, for a solver that
        proves nothing.

        `solve` asks after 8, 16, 32, ... iterations, and where a residual is not a number, and ends where there is a
        proof. A state may hold what is not finite.

        Returns:
            `Status.infeasible` or `Status.unbounded`; `Status.maximum_reached` where nothing is proven.
        """
        return None

    def degenerate(self, state: Any, x: Any) -> Bool[Array, ""] | None:
        """Whether the derivative at the fixed point that a state has reached is one of several, as at a kink; `None`,
        the default, for a solver that does not tell."""
        return None

    def advance(self, state: Any, x: Any) -> Any:
        """One iteration and the correction, where there is one."""
        state = self.step(state, x)
        if self.correction is None:
            return state
        return self.shift(state, self.correction(self.decision(state), x))

    def decide(self, x: Any) -> Any:
        state, _ = self._iterate(x, keep=False)
        return layers_of(self, -1).decision(state)

    def iterates(self, x: Any) -> Any:
        """The decision after every iteration, along a leading axis."""
        return self._iterate(x, keep=True)[1]

    def _iterate(self, x: Any, *, keep: bool) -> tuple[Any, Any]:
        values, at = layers.split(self, self.iterations)
        first = at(layers.take(values, 0))
        state = first.init(x)
        if values:
            self._check_read(values, at, state, x)

        def body(state, values):
            layer = at(values)
            state = layer.advance(state, x)
            return state, (layer.decision(state) if keep else None)

        return loop(body, state, values, length=self.iterations, rematerialise=self.rematerialise)

    def _check_read(self, values: list[Any], at: Any, state: Any, x: Any) -> None:
        """Raise for a per-layer value that no layer reads: its gradient would be a silent zero."""

        def layer(values, state, x):
            rule = at(values)
            state = rule.advance(state, x)
            return state, rule.decision(state)

        read, _, _ = reads(layer, layers.take(values, 0), state, x)
        for flags, address in zip(read, layers.per_layer(self), strict=True):
            if not any(jax.tree.leaves(flags)):
                raise ValueError(
                    f"{type(self).__name__}: {layers.name(self, address)} is untied, but a step does not read it. "
                    "Untie what the step reads"
                )

    def solve(self, x: Any, *, tolerance: float = 1e-6, maximum: int = 10_000, throw: bool = True) -> Solution:
        """Iterate until the residual is below a tolerance.

        The decision has implicit gradients at the fixed point, with respect to the context and to every parameter
        that the fixed point depends on. Those that it does not depend on (`hyperparameters`, and what only `init`
        reads) raise while tracing when their gradient is asked for. A problem that is proven to have no solution
        passes no derivative: zero.

        Args:
            x: the context.
            tolerance: the residual below which the iteration stops (see `residual`).
            maximum: the largest number of iterations.
            throw: raise when it does not converge; otherwise the status says so. Under a transformation nothing
                raises.

        Returns:
            a `Solution`; under `jax.vmap` one status, residual and number of iterations for each instance.

        Raises:
            ConvergenceError: (with `throw`) where it does not converge, or the problem is infeasible or unbounded and
                the solver proves it.
            ValueError: for an input that is not valid or an untied solver.
        """
        if layers.per_layer(self):
            raise ValueError(
                f"{type(self).__name__}: solve iterates one map until convergence, and this solver is unfolded with "
                f"values "
                "that differ from layer to layer. Call the rule itself, or solve with the solver that was unfolded"
            )
        for name, value, least in (("tolerance", tolerance, 0), ("maximum", maximum, 1)):
            if is_concrete(value) and not value >= least:
                raise ValueError(f"{type(self).__name__}.solve: expected {name} >= {least}, got {name}={value}")
        solution, flags = evaluate(self, "_solve", x, jnp.asarray(tolerance), jnp.asarray(maximum))
        if throw and flags is not None:
            solution.check(self, bool(int(flags) & 1))
        return solution

    def _solve(self, x: Any, tolerance: Array, maximum: Array) -> Solution:
        return find(self, x, tolerance, maximum)


def layers_of(solver: IterativeSolver, k: int) -> Any:
    """The solver with the parameters of one layer."""
    values, at = layers.split(solver, solver.iterations)
    return at(layers.take(values, k))
