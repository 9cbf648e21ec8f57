"""A primal-dual interior-point method for quadratic programs."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mbdl.core import IterativeSolver, as_leaf
from mbdl.core.checks import concrete

from .active_set import active_at, inverse_root, solution_on
from .quadratic_program import QuadraticProgram
from .standard_form import Point, StandardForm, largest, positive, residual, standard_form


class InteriorState(eqx.Module):
    """A point $x$ and, of all rows and then all bounds, the slacks and multipliers of both sides and the multipliers
    of equal sides."""

    x: Float[Array, " variables"]
    upper_slack: Float[Array, " sides"]
    lower_slack: Float[Array, " sides"]
    upper_multiplier: Float[Array, " sides"]
    lower_multiplier: Float[Array, " sides"]
    equal_multiplier: Float[Array, " sides"]

    @property
    def multipliers(self) -> Float[Array, " sides"]:
        return self.upper_multiplier - self.lower_multiplier + self.equal_multiplier


class InteriorPoint(IterativeSolver):
    r"""Mehrotra's predictor-corrector method for a `QuadraticProgram`.

    Each step takes two Newton directions for $P x + q + C^\top y = 0$, $s_i z_i = \mu$ from one Cholesky factor of
    $P + C^\top W C$, $W = z / s$: the first towards $\mu = 0$, the second towards the $\mu$ that the first one's
    progress tells, with its second-order term. Some ten to twenty steps reach high accuracy, whatever the conditioning
    of the program. Equalities enter with a large fixed weight and are met by the Newton steps themselves.

    Args:
        fraction: the part of the way to the boundary that a step may go, between 0 and 1.
        iterations: the depth of `solver(program)`.

    Raises:
        ValueError: for a fraction that is not between 0 and 1.

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
        """The largest relative residual of the optimality conditions."""
        form = standard_form(x)
        return residual(form, interior_point(form, current), jnp.asarray(1e-6, current.x.dtype))


def interior_point(form: StandardForm, state: InteriorState) -> Point:
    """The point that a state stands for."""
    y, w = jnp.split(state.multipliers, [form.lower.shape[0]])
    return Point(state.x, y, w)


def first_interior(form: StandardForm) -> InteriorState:
    """A first state: the least-squares compromise of objective and constraints, with slacks and multipliers of the
    sizes that it has."""
    size = form.linear.shape[0]
    system = form.hessian + form.matrix.T @ form.matrix + jnp.eye(size, dtype=form.linear.dtype)
    root = inverse_root(system)
    x = -root.T @ (root @ form.linear)
    lower, upper = _sides(form)
    equal = lower == upper
    values = _values(form, x)
    violation = jnp.maximum(lower - values, values - upper)
    length = jnp.maximum(jnp.max(jnp.abs(x)), jnp.max(violation, initial=0.0))
    slope = jnp.max(jnp.abs(form.hessian @ x + form.linear))
    length, slope = (jnp.where(a > 0, a, 1.0) for a in (length, slope))
    has_upper, has_lower = jnp.isfinite(upper) & ~equal, jnp.isfinite(lower) & ~equal
    return InteriorState(
        x,
        jnp.where(has_upper, jnp.maximum(jnp.where(has_upper, upper, 0.0) - values, length), 1.0),
        jnp.where(has_lower, jnp.maximum(values - jnp.where(has_lower, lower, 0.0), length), 1.0),
        jnp.where(has_upper, slope, 0.0),
        jnp.where(has_lower, slope, 0.0),
        jnp.zeros_like(lower),
    )


def interior_step(form: StandardForm, fraction: Array, state: InteriorState) -> InteriorState:
    """One predictor-corrector step."""
    newton = _Newton(form, state)
    upper, lower = newton.products()
    affine = newton.direction(upper, lower)
    reached = jax.tree.map(lambda a, d: a + newton.length(affine) * d, state, affine)
    gap, after = newton.gap(state), newton.gap(reached)
    target = jnp.maximum(gap * (after / positive(gap)) ** 3, newton.least_gap())
    upper = upper + affine.upper_slack * affine.upper_multiplier - target
    lower = lower + affine.lower_slack * affine.lower_multiplier - target
    direction = newton.direction(upper, lower)
    length = fraction * newton.length(direction, longest=1 / fraction)
    return jax.tree.map(lambda a, d: a + length * d, state, direction)


class _Newton:
    """Newton directions at a state, all from one factor."""

    def __init__(self, form: StandardForm, state: InteriorState):
        self.form, self.state = form, state
        self.lower, self.upper = _sides(form)
        self.equal = self.lower == self.upper
        self.has_upper = jnp.isfinite(self.upper) & ~self.equal
        self.has_lower = jnp.isfinite(self.lower) & ~self.equal
        values = _values(form, state.x)
        self.dual_error = form.hessian @ state.x + form.linear + _pull(form, state.multipliers)
        self.upper_error = jnp.where(self.has_upper, values + state.upper_slack - self.upper, 0.0)
        self.lower_error = jnp.where(self.has_lower, self.lower + state.lower_slack - values, 0.0)
        self.equal_error = jnp.where(self.equal, values - self.upper, 0.0)
        precision = float(jnp.finfo(values.dtype).eps)
        self.upper_weight = state.upper_multiplier / state.upper_slack
        self.lower_weight = state.lower_multiplier / state.lower_slack
        self.equal_weight = jnp.where(self.equal, precision**-0.5, 0.0).astype(values.dtype)
        weight = self.upper_weight + self.lower_weight + self.equal_weight
        rows, bounds = jnp.split(weight, [form.lower.shape[0]])
        small = precision * jnp.max(jnp.diagonal(form.hessian), initial=1.0)
        system = form.hessian + form.matrix.T @ (rows[:, None] * form.matrix) + jnp.diag(bounds + small)
        # Scaled to a unit diagonal, since the weights range over many orders.
        self.scale = 1 / jnp.sqrt(jnp.diagonal(system))
        self.root = inverse_root(
            self.scale[:, None] * system * self.scale + small * jnp.eye(len(self.scale), dtype=values.dtype)
        )

    def products(self) -> tuple[Array, Array]:
        r"""$s z$ of the upper and the lower sides."""
        s = self.state
        return s.upper_slack * s.upper_multiplier, s.lower_slack * s.lower_multiplier

    def direction(self, upper: Array, lower: Array) -> InteriorState:
        r"""The direction in which all conditions are met and $s z$ changes by minus the given products, to first
        order."""
        s = self.state
        g_upper = jnp.where(self.has_upper, self.upper_weight * self.upper_error - upper / s.upper_slack, 0.0)
        g_lower = jnp.where(self.has_lower, self.lower_weight * self.lower_error - lower / s.lower_slack, 0.0)
        g = g_upper - g_lower + self.equal_weight * self.equal_error
        x = -self._solve(self.dual_error + _pull(self.form, g))
        moved = _values(self.form, x)
        return InteriorState(
            x,
            jnp.where(self.has_upper, -self.upper_error - moved, 0.0),
            jnp.where(self.has_lower, moved - self.lower_error, 0.0),
            self.upper_weight * moved + g_upper,
            g_lower - self.lower_weight * moved,
            self.equal_weight * (moved + self.equal_error),
        )

    def _solve(self, right: Array) -> Array:
        return self.scale * (self.root.T @ (self.root @ (self.scale * right)))

    def length(self, direction: InteriorState, longest: Any = 1.0) -> Float[Array, ""]:
        """The longest step for which slacks and multipliers stay positive."""
        s, d = self.state, direction
        pairs = (
            (s.upper_slack, d.upper_slack, self.has_upper),
            (s.upper_multiplier, d.upper_multiplier, self.has_upper),
            (s.lower_slack, d.lower_slack, self.has_lower),
            (s.lower_multiplier, d.lower_multiplier, self.has_lower),
        )
        ratios = [
            jnp.where(there & (move < 0), -value / jnp.where(move < 0, move, -1.0), jnp.inf)
            for value, move, there in pairs
        ]
        return jnp.minimum(jnp.min(jnp.concatenate(ratios), initial=jnp.inf), longest)

    def least_gap(self) -> Float[Array, ""]:
        r"""The $s z$ below which slacks are rounding."""
        s, precision = self.state, float(jnp.finfo(self.state.x.dtype).eps)
        length = largest(s.x, _values(self.form, s.x))
        return 10 * precision * length * largest(self.form.linear, s.multipliers)

    def gap(self, state: InteriorState) -> Float[Array, ""]:
        r"""The mean of $s z$."""
        count = jnp.sum(self.has_upper) + jnp.sum(self.has_lower)
        total = state.upper_slack @ state.upper_multiplier + state.lower_slack @ state.lower_multiplier
        return total / jnp.maximum(count, 1)


def _sides(form: StandardForm) -> tuple[Array, Array]:
    return jnp.concatenate([form.lower, form.low]), jnp.concatenate([form.upper, form.high])


def _values(form: StandardForm, x: Array) -> Array:
    return jnp.concatenate([form.matrix @ x, x])


def _pull(form: StandardForm, multipliers: Array) -> Array:
    rows, bounds = jnp.split(multipliers, [form.lower.shape[0]])
    return form.matrix.T @ rows + bounds
