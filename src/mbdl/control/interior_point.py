"""A primal-dual interior-point method for quadratic programs."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mbdl.core import IterativeSolver, Status, as_leaf
from mbdl.core.checks import concrete
from mbdl.core.rule import all_finite

from .active_set import active_at, inverse_root, solution_on
from .certificates import crossed
from .degenerate import degenerate_at
from .found import verdict
from .quadratic_program import QuadraticProgram
from .standard_form import PrimalDual, StandardForm, largest, positive, residual, standard_form


class InteriorState(eqx.Module):
    """A point $x$; the slacks and multipliers of the upper and of the lower sides, of all rows and then all bounds; and
    the multipliers of equal sides."""

    x: Float[Array, " variables"]
    slack: Float[Array, "2 sides"]
    multiplier: Float[Array, "2 sides"]
    equal_multiplier: Float[Array, " sides"]

    @property
    def multipliers(self) -> Float[Array, " sides"]:
        return self.multiplier[0] - self.multiplier[1] + self.equal_multiplier


class InteriorPoint(IterativeSolver):
    r"""Mehrotra's predictor-corrector method for a `QuadraticProgram`.

    Each step takes two Newton directions for $P x + q + C^\top y = 0$, $s_i z_i = \mu$ from one Cholesky factor of
    $P + C^\top W C$, $W = z / s$: the first towards $\mu = 0$, the second towards the $\mu$ that the first one's
    progress tells, with its second-order term. Some ten to twenty steps reach high accuracy, whatever the conditioning
    of the program. Equalities enter with a large fixed weight and are met by the Newton steps themselves.

    `solve` says which programs have no solution, each for itself: their `Status` is `infeasible` or `unbounded`, their
    decision NaN, and they pass no derivative. It also says whether the derivative is one of several (`degenerate`, as
    in `QPSolution`). A fixed depth proves nothing.

    Args:
        fraction: the part of the way to the boundary that a step may go, between 0 and 1.
        iterations: the depth of `solver(program)`.

    Raises:
        ValueError: for a fraction that is not between 0 and 1.
        ConvergenceError: from `solve` (with `throw`) for a program that is infeasible, unbounded or not solved.

    Differentiable in: the program through a fixed depth and through `solve`; the fraction through a fixed depth.

    Source: S. Mehrotra, "On the implementation of a primal-dual interior point method", SIAM J. Optim. 2, 1992.

    >>> import jax.numpy as jnp
    >>> from mbdl import control
    >>> program = control.QuadraticProgram(jnp.eye(2), jnp.array([-1.0, 2.0]), bounds=(0.0, 0.5))
    >>> bool(jnp.allclose(control.InteriorPoint()(program), jnp.array([0.5, 0.0]), atol=1e-5))
    True
    """

    fraction: Float[Array, ""]

    def __init__(self, *, fraction: Any = 0.99, iterations: int = 15):
        self.fraction = as_leaf(fraction)
        known = concrete(self.fraction)
        if known is not None and not 0 < known < 1:
            raise ValueError(f"InteriorPoint: expected a fraction between 0 and 1, got {known:g}")
        self.iterations = iterations

    def valid(self, x: QuadraticProgram) -> Bool[Array, ""]:
        return x.valid()

    def init(self, x: QuadraticProgram) -> InteriorState:
        return first_interior(standard_form(x))

    def step(self, state: InteriorState, x: QuadraticProgram) -> InteriorState:
        return interior_step(standard_form(x), self.fraction, state)

    def decision(self, state: InteriorState) -> Float[Array, " variables"]:
        return state.x

    def shift(self, state: InteriorState, delta: Array) -> InteriorState:
        return eqx.tree_at(lambda s: s.x, state, state.x + delta)

    def hyperparameters(self) -> tuple[Any, ...]:
        return (self.fraction,)

    def fixed_point(self, state: InteriorState, x: QuadraticProgram) -> InteriorState:
        """The solution on the active set that the state tells; at the end it is the state's own point."""
        form, state = standard_form(x), jax.lax.stop_gradient(state)
        point = interior_point(form, state)
        return eqx.tree_at(lambda s: s.x, state, solution_on(form, active_at(form, point), point).x)

    def residual(self, previous: InteriorState, current: InteriorState, x: QuadraticProgram) -> Float[Array, ""]:
        """The largest relative residual of the optimality conditions; infinite where sides contradict each other."""
        form, tolerance = standard_form(x), jnp.asarray(1e-6, current.x.dtype)
        return jnp.where(crossed(form), jnp.inf, residual(form, interior_point(form, current), tolerance))

    def verdict(self, previous: InteriorState, current: InteriorState, x: QuadraticProgram) -> Status:
        """What the last state proves that is finite: where there is no solution, its multipliers or $x$ grow along a
        proof of that."""
        form, finite = standard_form(x), all_finite(current)
        last = jax.tree.map(lambda new, old: jnp.where(finite, new, old), current, previous)
        return verdict(form, interior_point(form, last))

    def degenerate(self, state: InteriorState, x: QuadraticProgram) -> Bool[Array, ""]:
        """Whether the derivative at the solution is one of several, as `solve_qp` tells it."""
        form = standard_form(x)
        return degenerate_at(form, interior_point(form, state))


def interior_point(form: StandardForm, state: InteriorState) -> PrimalDual:
    """The point that a state stands for."""
    y, w = jnp.split(state.multipliers, [form.lower.shape[0]])
    return PrimalDual(state.x, y, w)


def first_interior(form: StandardForm) -> InteriorState:
    """A first state: the least-squares compromise of objective and constraints, with slacks and multipliers of the
    sizes that it has."""
    size = form.linear.shape[0]
    system = form.hessian + form.matrix.T @ form.matrix + jnp.eye(size, dtype=form.linear.dtype)
    root = inverse_root(system)
    x = -root.T @ (root @ form.linear)
    values = _values(form, x)
    sides, there, _ = _sides(form)
    room = jnp.where(there, sides - _signed(values), jnp.inf)
    length = jnp.maximum(jnp.max(jnp.abs(x)), jnp.max(_signed(values) - sides, initial=0.0))
    slope = jnp.max(jnp.abs(form.hessian @ x + form.linear))
    length, slope = (jnp.where(a > 0, a, 1.0) for a in (length, slope))
    return InteriorState(
        x,
        jnp.where(there, jnp.maximum(room, length), 1.0),
        jnp.where(there, slope, 0.0),
        jnp.zeros_like(values),
    )


def interior_step(form: StandardForm, fraction: Array, state: InteriorState) -> InteriorState:
    """One predictor-corrector step."""
    newton = _Newton(form, state)
    products = state.slack * state.multiplier
    gap = newton.gap(state)

    def towards(_: Array, carry: tuple[Array, InteriorState, Array]) -> tuple[Array, InteriorState, Array]:
        direction = newton.direction(carry[0])
        length = newton.length(direction)
        reached = jax.tree.map(lambda a, d: a + jnp.minimum(length, 1.0) * d, state, direction)
        target = jnp.maximum(gap * (newton.gap(reached) / positive(gap)) ** 3, newton.least_gap())
        return products + direction.slack * direction.multiplier - target, direction, length

    # The predictor and the corrector are one program, run twice: it is half of what there is to compile.
    start = (products, jax.tree.map(jnp.zeros_like, state), jnp.zeros_like(gap))
    _, direction, length = jax.lax.fori_loop(0, 2, towards, start)
    length = fraction * jnp.minimum(length, 1 / fraction)
    return jax.tree.map(lambda a, d: a + length * d, state, direction)


class _Newton:
    """Newton directions at a state, all from one factor."""

    def __init__(self, form: StandardForm, state: InteriorState):
        self.form, self.state = form, state
        sides, self.there, equal = _sides(form)
        values = _values(form, state.x)
        self.dual_error = form.hessian @ state.x + form.linear + _pull(form, state.multipliers)
        self.error = jnp.where(self.there, _signed(values) + state.slack - sides, 0.0)
        self.equal_error = jnp.where(equal, values - sides[0], 0.0)
        precision = float(jnp.finfo(values.dtype).eps)
        self.weight = state.multiplier / state.slack
        self.equal_weight = jnp.where(equal, precision**-0.5, 0.0).astype(values.dtype)
        rows, bounds = jnp.split(jnp.sum(self.weight, axis=0) + self.equal_weight, [form.lower.shape[0]])
        small = precision * jnp.max(jnp.diagonal(form.hessian), initial=1.0)
        system = form.hessian + form.matrix.T @ (rows[:, None] * form.matrix) + jnp.diag(bounds + small)
        # Scaled to a unit diagonal, since the weights range over many orders.
        self.scale = 1 / jnp.sqrt(jnp.diagonal(system))
        self.root = inverse_root(
            self.scale[:, None] * system * self.scale + small * jnp.eye(len(self.scale), dtype=values.dtype)
        )

    def direction(self, products: Float[Array, "2 sides"]) -> InteriorState:
        r"""The direction in which all conditions are met and $s z$ changes by minus the given products, to first
        order."""
        pressed = jnp.where(self.there, self.weight * self.error - products / self.state.slack, 0.0)
        pull = _pull(self.form, pressed[0] - pressed[1] + self.equal_weight * self.equal_error)
        x = -self._solve(self.dual_error + pull)
        moved = _values(self.form, x)
        return InteriorState(
            x,
            jnp.where(self.there, -self.error - _signed(moved), 0.0),
            pressed + self.weight * _signed(moved),
            self.equal_weight * (moved + self.equal_error),
        )

    def _solve(self, right: Array) -> Array:
        return self.scale * (self.root.T @ (self.root @ (self.scale * right)))

    def length(self, direction: InteriorState) -> Float[Array, ""]:
        """The longest step for which slacks and multipliers stay positive."""
        value = jnp.stack([self.state.slack, self.state.multiplier])
        move = jnp.stack([direction.slack, direction.multiplier])
        ratios = jnp.where(self.there & (move < 0), -value / jnp.where(move < 0, move, -1.0), jnp.inf)
        return jnp.min(ratios, initial=jnp.inf)

    def least_gap(self) -> Float[Array, ""]:
        r"""The $s z$ below which slacks are rounding."""
        s, precision = self.state, float(jnp.finfo(self.state.x.dtype).eps)
        length = largest(s.x, _values(self.form, s.x))
        return 10 * precision * length * largest(self.form.linear, s.multipliers)

    def gap(self, state: InteriorState) -> Float[Array, ""]:
        r"""The mean of $s z$."""
        return jnp.sum(state.slack * state.multiplier) / jnp.maximum(jnp.sum(self.there), 1)


def _sides(form: StandardForm) -> tuple[Float[Array, "2 sides"], Bool[Array, "2 sides"], Bool[Array, " sides"]]:
    """The upper sides and minus the lower ones, where there is one that a slack belongs to, and what is equal.

    NaN is a side, so that the state and the decision become NaN with it.
    """
    lower, upper = jnp.concatenate([form.lower, form.low]), jnp.concatenate([form.upper, form.high])
    sides, equal = jnp.stack([upper, -lower]), lower == upper
    return sides, (sides != jnp.inf) & ~equal, equal


def _signed(values: Float[Array, " sides"]) -> Float[Array, "2 sides"]:
    """What lies below the upper sides, and what below minus the lower ones."""
    return jnp.stack([values, -values])


def _values(form: StandardForm, x: Array) -> Array:
    return jnp.concatenate([form.matrix @ x, x])


def _pull(form: StandardForm, multipliers: Array) -> Array:
    rows, bounds = jnp.split(multipliers, [form.lower.shape[0]])
    return form.matrix.T @ rows + bounds
