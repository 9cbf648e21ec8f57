"""A parametrised convex problem of CVXPY as affine maps from its parameters to the data of a program."""

import dataclasses
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array, Float, Int

from .disciplined import is_quadratic_program

# A scipy.sparse.csc_array; its stubs do not say that it has a shape.
Sparse = Any


class Entries(eqx.Module):
    """How the entries of a parameter or a variable stand in the vector of all of them.

    Attributes:
        index: for a parameter, the entries of its value that stand there, one after another: all by columns, the upper
            triangle of a symmetric one, the diagonal of a diagonal one. For a variable, where each entry of its value
            is; -1 for one that is zero. Entries of values are numbered by rows.
        name: of the parameter or the variable.
        shape: of its value.
    """

    index: Int[Any, " entries"]
    name: str = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)

    def numbers(self, value: Float[Array, "..."]) -> Float[Array, " entries"]:
        """What of the value of a parameter stands in the vector."""
        return jnp.ravel(value)[self.index]

    def value(self, vector: Float[Array, " variables"]) -> Float[Array, "..."]:
        """The value of a variable in the vector."""
        return jnp.append(vector, 0.0)[self.index].reshape(self.shape)


@dataclasses.dataclass(frozen=True)
class CanonicalProblem:
    r"""A program whose data are affine in the vector $\theta = (p, c, 1)$ of parameters, context and one,
    $$\min_z \tfrac12 z^\top P(\theta) z + q(\theta)^\top z \quad \text{s.t.} \quad A(\theta) z + b(\theta) \in K.$$

    Attributes:
        hessian: the map to $P$, each matrix by its columns one below another, `[variables² theta]`; `None` for a cone
            program.
        linear: the map to $q$, `[variables theta]`.
        matrix: the map to $A$, by columns, `[rows·variables theta]`.
        offset: the map to $b$, `[rows theta]`.
        equalities: how many rows, the first ones, must be zero.
        inequalities: how many rows, those that follow, must not be negative.
        cones: the sizes of all cones in the convention of SCS, for a cone program; else `None`.
        parameters: how the parameters stand in $p$.
        context: how the parameters that are the context stand in $c$.
        decision: where in $z$ the decision is.
        variables: the same for every variable of the problem.
    """

    hessian: Sparse | None
    linear: Sparse
    matrix: Sparse
    offset: Sparse
    equalities: int
    inequalities: int
    cones: dict[str, Any] | None
    parameters: tuple[Entries, ...]
    context: tuple[Entries, ...]
    decision: Entries
    variables: tuple[Entries, ...]


def canonical(problem: Any, context: list[Any], decision: Any, parameters: list[Any]) -> CanonicalProblem:
    """The affine maps of a `cvxpy.Problem`.

    Args:
        problem: the `cvxpy.Problem`, which `check_disciplined` has passed.
        context: those of its parameters that are the context of a decision.
        decision: one of its variables.
        parameters: all its other parameters.

    Raises:
        TypeError: for what is no problem, parameter or variable of CVXPY.
        ValueError: for parameters that are missing, unknown or given twice; a decision that the problem does not have;
            integer or complex variables; power cones.
    """
    _check_leaves(problem, context, decision, parameters)
    program, chain = _stuffed(problem)
    column_of, new_parameter = program.param_id_to_col, chain.compose_param_id_map()
    vectors = [_parameter_entries(parameter) for parameter in (*parameters, *context)]
    columns = []
    for parameter, entries in zip((*parameters, *context), vectors, strict=True):
        first = column_of[new_parameter.get(parameter.id, [parameter.id])[0]]
        columns.append(np.arange(first, first + entries.index.size))
    columns.append(np.asarray([column_of[-1]]))
    order = np.concatenate(columns)

    size = program.x.size
    rows = program.A.shape[0] // (size + 1)
    stacked = _columns(program.A, order)
    conic = not is_quadratic_program(problem)
    dims = program.cone_dims
    new_variable = chain.compose_var_id_map()
    placed = {
        variable.id: _variable_entries(variable, program.var_id_to_col[new_variable.get(variable.id, [variable.id])[0]])
        for variable in problem.variables()
    }
    return CanonicalProblem(
        hessian=None if conic else _columns(program.P, order),
        linear=_columns(program.q, order)[:size],
        matrix=stacked[: rows * size],
        offset=stacked[rows * size :],
        equalities=dims.zero,
        inequalities=dims.nonneg,
        cones=_cones(dims) if conic else None,
        parameters=tuple(vectors[: len(parameters)]),
        context=tuple(vectors[len(parameters) :]),
        decision=placed[decision.id],
        variables=tuple(placed.values()),
    )


def _stuffed(problem: Any) -> tuple[Any, Any]:
    """CVXPY's parametrised program, and the chain of reductions that leads to it."""
    import cvxpy
    from cvxpy.utilities import scopes

    if is_quadratic_program(problem):
        with scopes.quad_form_dpp_scope():
            data, chain, _ = problem.get_problem_data(cvxpy.OSQP)
    else:
        data, chain, _ = problem.get_problem_data(cvxpy.DIFFCP)
    return data["param_prob"], chain


def _cones(dims: Any) -> dict[str, Any]:
    if dims.p3d or dims.pnd:
        raise ValueError(
            "ConvexPolicy: the problem needs power cones, as of cvxpy.power and cvxpy.geo_mean, which have no "
            "derivative here. State it with quadratic, second-order, exponential and semidefinite functions"
        )
    return {"z": dims.zero, "l": dims.nonneg, "q": list(dims.soc), "s": list(dims.psd), "ep": dims.exp}


def _columns(matrix: Any, order: np.ndarray) -> Sparse:
    return scipy.sparse.csc_array(scipy.sparse.csc_array(matrix)[:, order])


def _parameter_entries(parameter: Any) -> Entries:
    from cvxpy.reductions.cvx_attr2constr import lower_value

    positions = np.arange(parameter.size).reshape(parameter.shape)
    index = np.asarray(lower_value(parameter, positions)).ravel(order="F")
    return Entries(index.astype(np.int32), parameter.name(), tuple(parameter.shape))


def _variable_entries(variable: Any, first: int) -> Entries:
    """Where the entries of a variable are among the variables of the program that begin at `first`."""
    from cvxpy.reductions.cvx_attr2constr import recover_value_for_leaf

    size = variable._reduced_size if variable._has_dim_reducing_attr else variable.size
    numbered = np.arange(1, size + 1, dtype=float)
    if variable._has_dim_reducing_attr:
        value: Any = recover_value_for_leaf(variable, numbered, project=False)
        value = value.toarray() if scipy.sparse.issparse(value) else value
    else:
        value = numbered.reshape(variable.shape, order="F")
    index = np.asarray(value).astype(np.int32).ravel()
    return Entries(np.where(index > 0, index - 1 + first, -1), variable.name(), tuple(variable.shape))


def _check_leaves(problem: Any, context: list[Any], decision: Any, parameters: list[Any]) -> None:
    import cvxpy

    what = "ConvexPolicy"
    for role, given in (("context", context), ("parameters", parameters)):
        for item in given:
            if not isinstance(item, cvxpy.Parameter):
                raise TypeError(f"{what}: {role} holds {item!r}; expected parameters of CVXPY (cvxpy.Parameter)")
    if not isinstance(decision, cvxpy.Variable):
        raise TypeError(
            f"{what}: decision is {decision!r}; expected a variable of the problem (cvxpy.Variable). For an "
            "expression, add a variable and the constraint that it equals the expression"
        )
    held = {variable.id: variable.name() for variable in problem.variables()}
    if decision.id not in held:
        raise ValueError(
            f"{what}: the decision {decision.name()!r} is not a variable of the problem, whose variables are "
            f"{', '.join(sorted(held.values()))}"
        )
    for variable in problem.variables():
        if variable.attributes["integer"] or variable.attributes["boolean"]:
            raise ValueError(
                f"{what}: the variable {variable.name()!r} is integer, so the problem is not convex and has no "
                "derivative. Relax it to real values within bounds"
            )
    for leaf in (*problem.variables(), *problem.parameters()):
        if leaf.is_complex():
            raise ValueError(f"{what}: {leaf.name()!r} is complex; write the problem in real and imaginary parts")
    wanted = {parameter.id: parameter.name() for parameter in problem.parameters()}
    given = [parameter.id for parameter in (*context, *parameters)]
    for parameter in (*context, *parameters):
        if parameter.id not in wanted:
            raise ValueError(
                f"{what}: {parameter.name()!r} is not a parameter of the problem, whose parameters are "
                f"{', '.join(sorted(wanted.values())) or 'none'}"
            )
        if given.count(parameter.id) > 1:
            raise ValueError(
                f"{what}: the parameter {parameter.name()!r} is given twice. A parameter is either part of the context "
                "or has one value in `parameters` or `known`"
            )
    missing = [name for identity, name in wanted.items() if identity not in given]
    if missing:
        raise ValueError(
            f"{what}: the problem's parameters {', '.join(sorted(missing))} are neither in `context` nor in "
            "`parameters`. List those that the system shows in `context`, and give the others a value in `parameters` "
            "(learned) or `known`"
        )
    names = [parameter.name() for parameter in (*context, *parameters)]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"{what}: two parameters have the name {name!r}. Name them apart: cvxpy.Parameter(3, name='price')"
            )
