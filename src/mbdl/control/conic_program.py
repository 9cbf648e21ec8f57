"""Cone programs whose data depend on parameters and on a context, solved and differentiated outside of JAX."""

import importlib.util
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array, Float, Int

from .affine_map import AffineMap, affine_map, with_one
from .canonical import CanonicalProblem
from .program_solution import ProgramSolution
from .qp_solution import QPStatus

Cones = tuple[tuple[str, Any], ...]

# Clarabel stalls at less.
_PRECISION = 1e-10
_SOLVED, _INFEASIBLE, _UNBOUNDED, _STOPPED = range(4)


class ConicProgram(eqx.Module):
    r"""A family of cone programs in parameters $p$ and a context $c$,
    $$\min_z q^\top z \quad \text{s.t.} \quad A z + b \in K,$$
    with $q$, $A$ and $b$ affine in $(p, c)$.

    Attributes:
        linear, matrix, offset: the maps from $(p, 1, c)$.
        rows, columns: of the entries of $A$ that are not zero.
        decision: where the entries of the decision are, -1 for one that is zero.
        cones: their sizes, in the convention of SCS.
    """

    linear: AffineMap
    matrix: AffineMap
    offset: AffineMap
    rows: Int[Array, " entries"]
    columns: Int[Array, " entries"]
    decision: Int[Array, " decision"]
    cones: Cones = eqx.field(static=True)

    def first(self, parameters: Float[Array, " parameters"], solver: Any) -> None:
        """The memory: none."""
        return

    def minimise(
        self, parameters: Float[Array, " parameters"], memory: None, context: Float[Array, " context"], solver: Any
    ) -> tuple[None, Float[Array, " decision"], ProgramSolution]:
        """The memory after one program, its decision and its solution."""
        theta = with_one(parameters, context)
        entries, offset, linear = (part(theta)[:, 0] for part in (self.matrix, self.offset, self.linear))
        found: Any = _minimiser(self.cones, entries, offset, linear, self.rows, self.columns)
        x, code = found
        status = QPStatus.where(code == _SOLVED, QPStatus.solved, QPStatus.maximum_reached)
        status = QPStatus.where(code == _INFEASIBLE, QPStatus.infeasible, status)
        status = QPStatus.where(code == _UNBOUNDED, QPStatus.unbounded, status)
        return None, jnp.append(x, 0.0)[self.decision], ProgramSolution(x, status)

    def variables(
        self, parameters: Float[Array, " parameters"], context: Float[Array, " context"], solution: Any
    ) -> Float[Array, " variables"]:
        """All variables of the problem."""
        return solution.x


def cone_family(problem: CanonicalProblem, dtype: Any) -> ConicProgram:
    """The cone programs of a canonical problem.

    Args:
        problem: from `canonical`.
        dtype: of its numbers.

    Raises:
        ImportError: without the package `diffcp`.
    """
    if importlib.util.find_spec("diffcp") is None:
        raise ImportError(
            "ConvexPolicy: the problem is not a quadratic program, and solving cone programs needs the package diffcp: "
            "pip install 'mbdl[cone]'. Or state it with a quadratic objective and piecewise linear constraints"
        )
    assert problem.cones is not None
    theta = problem.linear.shape[1]
    parameters = sum(entries.index.size for entries in problem.parameters)
    # The one, which is the last column there, stands between the parameters and the context here.
    column = np.concatenate([np.arange(parameters), np.arange(parameters + 1, theta), [parameters]])

    def vector(entries: Any) -> AffineMap:
        there = scipy.sparse.coo_array(entries)
        return affine_map(there.coords[0], column[there.coords[1]], there.data, (entries.shape[0], 1), dtype)

    present = np.unique(scipy.sparse.coo_array(problem.matrix).coords[0])
    columns, rows = np.divmod(present, problem.offset.shape[0])
    return ConicProgram(
        linear=vector(problem.linear),
        matrix=vector(scipy.sparse.csr_array(problem.matrix)[present]),
        offset=vector(problem.offset),
        rows=jnp.asarray(rows, jnp.int32),
        columns=jnp.asarray(columns, jnp.int32),
        decision=jnp.asarray(problem.decision.index, jnp.int32),
        cones=tuple((name, tuple(size) if isinstance(size, list) else size) for name, size in problem.cones.items()),
    )


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _minimiser(cones: Cones, entries: Array, offset: Array, linear: Array, rows: Array, columns: Array) -> Any:
    """The minimiser and how its search ended, as a number."""
    shapes = jax.ShapeDtypeStruct(linear.shape, linear.dtype), jax.ShapeDtypeStruct((), np.int32)
    return jax.pure_callback(
        partial(_solve, cones), shapes, entries, offset, linear, rows, columns, vmap_method="sequential"
    )


def _forward(cones: Cones, *data: Array) -> tuple[tuple[Array, Array], tuple[tuple[Array, ...], Array]]:
    found: Any = _minimiser(cones, *data)
    return found, (data, found[1])


def _backward(cones: Cones, residuals: Any, cotangents: Any) -> tuple[Array | None, ...]:
    data, code = residuals
    shapes = tuple(jax.ShapeDtypeStruct(part.shape, part.dtype) for part in data[:3])
    slopes: Any = jax.pure_callback(
        partial(_slopes, cones), shapes, *data, code, cotangents[0], vmap_method="sequential"
    )
    return (*slopes, None, None)


_minimiser.defvjp(_forward, _backward)


def _data(cones: Cones, entries: Any, offset: Any, linear: Any, rows: Any, columns: Any) -> Any:
    """The program as diffcp takes it: $\\min q^\\top x$ with $b - (-A) x \\in K$."""
    entries, offset, linear = (np.asarray(part, np.float64) for part in (entries, offset, linear))
    matrix = scipy.sparse.csc_matrix((-entries, (np.asarray(rows), np.asarray(columns))), (offset.size, linear.size))
    sizes = {name: list(size) if isinstance(size, tuple) else size for name, size in cones}
    return matrix, offset, linear, sizes


def _options() -> dict[str, Any]:
    names = ("tol_gap_abs", "tol_gap_rel", "tol_feas")
    return {"solve_method": "Clarabel", **dict.fromkeys(names, _PRECISION)}


def _solve(cones: Cones, entries: Any, *data: Any) -> tuple[np.ndarray, np.ndarray]:
    from diffcp.cone_program import solve_internal

    arguments = _data(cones, entries, *data)
    dtype = np.asarray(entries).dtype
    if not all(np.all(np.isfinite(part)) for part in (arguments[0].data, *arguments[1:3])):
        return np.full(arguments[2].size, np.nan, dtype), np.asarray(_STOPPED, np.int32)
    found = solve_internal(*arguments, **_options())
    codes = {"Solved": _SOLVED, "Infeasible": _INFEASIBLE, "Unbounded": _UNBOUNDED}
    code = codes.get(found["info"]["status"], _STOPPED)
    x = found["x"] if code in (_SOLVED, _STOPPED) else np.full(arguments[2].size, np.nan)
    return x.astype(dtype), np.asarray(code, np.int32)


def _slopes(cones: Cones, entries: Any, *rest: Any) -> tuple[np.ndarray, ...]:
    """The derivative of a solution that was found, backwards; zero of one that was not."""
    import diffcp

    *data, code, cotangent = rest
    matrix, offset, linear, sizes = _data(cones, entries, *data)
    dtype = np.asarray(entries).dtype
    if int(code) != _SOLVED:
        return tuple(np.zeros(np.shape(part), dtype) for part in (entries, offset, linear))
    _, y, s, _, backwards = diffcp.solve_and_derivative(matrix, offset, linear, sizes, mode="dense", **_options())
    moved, moved_offset, moved_linear = backwards(np.asarray(cotangent, np.float64), np.zeros_like(y), np.zeros_like(s))
    rows, columns = (np.asarray(part) for part in data[2:4])
    moved_entries = -np.asarray(moved.tocsr()[rows, columns]).ravel()
    return tuple(np.asarray(part, dtype) for part in (moved_entries, moved_offset, moved_linear))
