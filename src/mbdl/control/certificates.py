"""Certificates that a quadratic program has no solution."""

import jax.numpy as jnp
from jaxtyping import Array, Bool

from .standard_form import Point, StandardForm


def certifies_infeasible(form: StandardForm, point: Point) -> Bool[Array, ""]:
    r"""Whether multipliers prove that no point is feasible (Farkas): $C^\top y = 0$ and
    $\sup_{l \le z \le u} y^\top z < 0$... in the other sign: every feasible $x$ has
    $\|x\|_1 \ge -(u^\top y_+ - l^\top y_-) / \|C^\top y\|_\infty$.

    In finite precision: this least size is beyond the precision's reach of the largest finite side.
    """
    lower, upper = jnp.concatenate([form.lower, form.low]), jnp.concatenate([form.upper, form.high])
    multipliers = jnp.concatenate([point.y, point.w])
    up = jnp.where(jnp.isfinite(upper), jnp.maximum(multipliers, 0.0), 0.0)
    down = jnp.where(jnp.isfinite(lower), jnp.maximum(-multipliers, 0.0), 0.0)
    upper, lower = (jnp.where(jnp.isfinite(side), side, 0.0) for side in (upper, lower))
    support = jnp.sum(upper * up - lower * down)
    rows, bounds = jnp.split(up - down, [form.lower.shape[0]])
    pull = jnp.max(jnp.abs(form.matrix.T @ rows + bounds))
    size = jnp.max(jnp.abs(jnp.concatenate([lower, upper])))
    return (support < 0) & (pull * size < -_small(support) * support)


def certifies_unbounded(form: StandardForm, direction: Array) -> Bool[Array, ""]:
    r"""Whether a direction proves that the objective has no lower bound where the program is feasible: $P d = 0$,
    $q^\top d < 0$, and $C d$ leaves no finite side."""
    moved = jnp.concatenate([form.matrix @ direction, direction])
    lower, upper = jnp.concatenate([form.lower, form.low]), jnp.concatenate([form.upper, form.high])
    leaves = jnp.maximum(jnp.where(jnp.isfinite(upper), moved, 0.0), jnp.where(jnp.isfinite(lower), -moved, 0.0))
    violation = jnp.maximum(jnp.max(leaves), jnp.max(jnp.abs(form.hessian @ direction)))
    descent = -form.linear @ direction
    return (descent > 0) & (violation * jnp.max(jnp.abs(form.linear)) < _small(descent) * descent)


def crossed(form: StandardForm) -> Bool[Array, ""]:
    """Whether a lower side lies above its upper one."""
    return jnp.any(form.lower > form.upper) | jnp.any(form.low > form.high)


def _small(array: Array) -> float:
    return float(jnp.finfo(array.dtype).eps) ** 0.5
