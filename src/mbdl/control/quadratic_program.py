"""Convex quadratic programs, and the one form that their solvers see."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mbdl.core import as_leaf, dtype_of
from mbdl.core.checks import concrete, finite, floating


class QuadraticProgram(eqx.Module):
    r"""A convex quadratic program,
    $$\min_x \tfrac12 x^\top P x + q^\top x \quad \text{subject to} \quad A x = b, \;
    g \le G x \le h, \; l \le x \le u.$$

    A pytree without batch axes: the context of `OperatorSplitting` and `InteriorPoint`, and what `solve_qp` solves.

    Args:
        hessian: $P$, `[variables variables]`, symmetric and positive semidefinite; may be singular.
        linear: $q$, `[variables]`.
        equality: $(A, b)$, `[equalities variables]` and `[equalities]`, or `None`.
        inequality: $(G, g, h)$, `[rows variables]`, `[rows]` and `[rows]`, or `None`; infinite where a side has no
            bound. Rows may be redundant.
        bounds: $(l, u)$, each `[variables]` or a number, or `None`; infinite where there is no bound.

    Raises:
        ValueError: for shapes that do not agree, values that are not finite (bounds may be infinite), a hessian that
            is not symmetric or not positive semidefinite, or a lower bound above its upper bound.

    >>> import jax.numpy as jnp
    >>> from mbdl import control
    >>> program = control.QuadraticProgram(jnp.eye(2), jnp.array([-1.0, 2.0]), bounds=(0.0, 0.5))
    >>> control.solve_qp(program).x.tolist()
    [0.5, 0.0]
    """

    hessian: Float[Array, "variables variables"]
    linear: Float[Array, " variables"]
    equality: tuple[Float[Array, "equalities variables"], Float[Array, " equalities"]] | None
    inequality: tuple[Float[Array, "rows variables"], Float[Array, " rows"], Float[Array, " rows"]] | None
    bounds: tuple[Float[Array, " variables"], Float[Array, " variables"]] | None

    def __init__(
        self,
        hessian: Any,
        linear: Any,
        *,
        equality: tuple[Any, Any] | None = None,
        inequality: tuple[Any, Any, Any] | None = None,
        bounds: tuple[Any, Any] | None = None,
    ):
        hessian, linear = floating(as_leaf(hessian)), floating(as_leaf(linear))
        size = _length(linear, None, "linear")
        dtype = dtype_of((hessian, linear))
        self.hessian = _matrix(hessian, size, size, "hessian")
        self.linear = linear
        finite(linear, "QuadraticProgram: linear")
        _check_semidefinite(self.hessian)
        self.equality = self.inequality = self.bounds = None
        if equality is not None:
            matrix, value = _parts(equality, 2, "equality", "(A, b)")
            matrix = _matrix(matrix, None, size, "equality: A")
            _length(value, jnp.shape(matrix)[0], "equality: b")
            self.equality = (matrix, finite(value, "QuadraticProgram: equality: b"))
        if inequality is not None:
            matrix, *sides = _parts(inequality, 3, "inequality", "(G, lower, upper)")
            matrix = _matrix(matrix, None, size, "inequality: G")
            self.inequality = (matrix, *_sides(sides, jnp.shape(matrix)[0], "inequality", dtype))
        if bounds is not None:
            self.bounds = _sides(_parts(bounds, 2, "bounds", "(lower, upper)"), size, "bounds", dtype)

    @property
    def variables(self) -> int:
        """The number of variables."""
        return self.linear.shape[-1]

    def valid(self) -> Bool[Array, ""]:
        """Whether all is finite, but for bounds that are infinite on their own side."""
        known = [self.hessian, self.linear, *(self.equality or ())]
        pairs = [] if self.inequality is None else [self.inequality[1:]]
        pairs += [] if self.bounds is None else [self.bounds]
        known += [] if self.inequality is None else [self.inequality[0]]
        flags = [jnp.all(jnp.isfinite(value)) for value in known]
        flags += [jnp.all((lower < jnp.inf) & (upper > -jnp.inf)) for lower, upper in pairs]
        return jnp.all(jnp.stack(flags))

    def objective(self, x: Float[Array, " variables"]) -> Float[Array, ""]:
        r"""$\tfrac12 x^\top P x + q^\top x$."""
        return 0.5 * x @ self.hessian @ x + self.linear @ x


def _parts(value: Any, count: int, name: str, form: str) -> list[Any]:
    if not isinstance(value, (tuple, list)) or len(value) != count:
        raise ValueError(f"QuadraticProgram: expected {name}={form}, a tuple of {count}, got {type(value).__name__}")
    return [floating(as_leaf(part)) for part in value]


def _length(vector: Any, size: int | None, name: str) -> int:
    shape = jnp.shape(vector)
    if len(shape) != 1 or (size is not None and shape[0] != size):
        wanted = "a vector" if size is None else f"shape ({size},)"
        raise ValueError(f"QuadraticProgram: {name}: expected {wanted}, got shape {shape}; apply jax.vmap to a batch")
    return shape[0]


def _matrix(matrix: Any, rows: int | None, columns: int, name: str) -> Any:
    shape = jnp.shape(matrix)
    if len(shape) != 2 or shape[1] != columns or (rows is not None and shape[0] != rows):
        wanted = f"[{'any' if rows is None else rows} {columns}]"
        raise ValueError(
            f"QuadraticProgram: {name}: expected a matrix {wanted} (rows, variables), got shape {shape}; apply "
            "jax.vmap to a batch"
        )
    return finite(matrix, f"QuadraticProgram: {name}")


def _sides(sides: Any, size: int, name: str, dtype: Any) -> Any:
    """The lower and upper sides as vectors, checked."""
    for side in sides:
        if jnp.shape(side) not in ((), (size,)):
            raise ValueError(
                f"QuadraticProgram: {name}: expected a number or shape ({size},) for each side, got shape "
                f"{jnp.shape(side)}; apply jax.vmap to a batch"
            )
    lower, upper = (jnp.broadcast_to(jnp.asarray(side, dtype), (size,)) for side in sides)
    low, high = concrete(lower), concrete(upper)
    for value, wrong in ((low, np.inf), (high, -np.inf)):
        if value is not None and (np.any(np.isnan(value)) or np.any(value == wrong)):
            raise ValueError(
                f"QuadraticProgram: {name}: a side must not be NaN; no lower bound is -inf and no upper bound is +inf"
            )
    if low is not None and high is not None and np.any(low > high):
        k = int(np.argmax(low > high))
        raise ValueError(
            f"QuadraticProgram: {name}: the lower side must not be above the upper one, but at {k} it is "
            f"{low[k]:g} > {high[k]:g}"
        )
    return lower, upper


def _check_semidefinite(hessian: Any) -> None:
    known = concrete(hessian)
    if known is None or known.size == 0:
        return
    precision = np.finfo(known.dtype).eps
    known = known.astype(np.float64)
    size = max(float(np.max(np.abs(known))), 1e-300)
    worst = np.max(np.abs(known - known.T)) / size
    if worst > 1e3 * precision:
        raise ValueError(
            f"QuadraticProgram: the hessian is symmetric, but this one differs from its transpose by {worst:.2g} of "
            "its largest entry. Give (P + P.T) / 2"
        )
    smallest = np.linalg.eigvalsh(known)[0]
    if smallest < -1e2 * len(known) * precision * size:
        raise ValueError(
            "QuadraticProgram: the hessian is positive semidefinite (the program is convex), but this one has the "
            f"eigenvalue {smallest:.3g}"
        )
