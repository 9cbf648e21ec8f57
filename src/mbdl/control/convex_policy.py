"""Convex optimisation control policies: the decision minimises a parametrised convex problem of the state."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mbdl.core import AbstractConstraint, IterativeSolver, RecursiveRule, dtype_of, first_bad_step
from mbdl.core.leaves import is_concrete
from mbdl.core.rule import evaluate

from .arrangement import quadratic_family
from .canonical import Entries, canonical
from .conic_program import ConicProgram, cone_family
from .convex_parameters import known_parameters, learned_parameters
from .disciplined import check_disciplined
from .parametrised_program import ParametrisedProgram
from .program_solution import ProgramSolution
from .qp_solution import QPSolution, QPStatus
from .relaxation import elastic_problem, proximal_problem


class ConvexSolution(eqx.Module):
    """One step of a `ConvexPolicy` in full; made by `ConvexPolicy.solve`.

    Attributes:
        decision: the control.
        variables: the values of all variables of the problem, by name.
        program: the solution of the quadratic program that is left after elimination, or of the cone program, with its
            status: a `QPSolution`, or a `ProgramSolution` of cones or after a fixed number of iterations.
    """

    decision: Float[Array, "*control"]
    variables: dict[str, Float[Array, "..."]]
    program: QPSolution | ProgramSolution

    @property
    def status(self) -> QPStatus:
        """How the search ended, a `QPStatus`; one for each instance under `jax.vmap`."""
        return self.program.status


class ConvexPolicy(RecursiveRule):
    r"""A convex optimisation control policy: the control is part of the solution of a convex problem,
    $$u = \phi_\theta(x), \qquad (u, z) \in \arg\min \{ f(u, z; \theta, x) : g(u, z; \theta, x) \le 0, \;
    A(\theta, x) (u, z) = b(\theta, x) \}.$$

    The problem is stated in CVXPY, with parameters for $x$ and $\theta$. When the policy is made, its affine map from
    parameters to the data of a quadratic program is extracted, equalities and auxiliary variables are eliminated, and
    inequalities of one variable become bounds; CVXPY is not used afterwards. What depends on $\theta$ alone is computed
    in `init`. Each search starts from the solution of the step before.

    A problem that is no quadratic program is solved and differentiated as a cone program by Clarabel and diffcp (the
    extra `mbdl[cone]`), one instance after another on the processor: slower, and with the same interface.

    Args:
        problem: a `cvxpy.Problem` that is DPP. It is a quadratic program where its objective is quadratic, its
            constraints are affine, and norms, maxima and absolute values leave it piecewise linear.
        context: the parameters of CVXPY that are computed from what the system shows. The vector that it shows is split
            among them in order, by rows; where there are several shapes or functions of it, give `features`.
        decision: the variable of CVXPY that is the control.
        parameters: the values of parameters that are learned, from the start (`mbdl.freeze` stops that), within the
            set that their attributes say: positive for `nonneg=True`, positive definite for `PSD=True`.
        known: the values of all other parameters. The policy holds both by name, and what is known is learned later by
            `mbdl.learn(policy, lambda policy: policy.parameters["P_sqrt"])`.
        features: a function from what the system shows to the values of the context, a tuple in its order (registered
            by `mbdl.register`, so that the policy can be saved).
        constraints: other sets for parameters, such as `{P: mbdl.interval(0.1, 10.0)}`.
        elastic: constraints that may be broken, with the price of each unit of their violation. A policy whose problem
            may become infeasible needs it.
        proximal: the weight $\rho$ of an added cost $\tfrac{\rho}{2} \|u\|^2$, small, where the control is not unique
            without it.
        solver: `OperatorSplitting` or `InteriorPoint`, of which as many iterations are taken at each step as it says,
            in the place of `solve_qp`: a control in a fixed time. Unfolded (`mbdl.unfold`), its layers are learned.
            Operator splitting goes on from where it ended the step before. A fixed depth certifies little: the control
            is NaN where lower bounds lie above upper ones, but a problem that is infeasible in another way, or
            unbounded, has a finite control like any other that is not solved. `solve(x, throw=False).status` says
            whether one is solved, and a policy without `solver` which ones have no solution.

    Returns:
        from what the system shows over time, `[time state]`, the controls `[time *control]` in the shape of the
        decision; NaN where a problem has no solution, which raises outside of transformations (after a fixed depth see
        `solver`).

    Raises:
        ValueError: for a problem that is not DPP, naming the expression; parameters that are missing, given twice or
            have a value that does not fit; an integer problem; equalities that depend on each other.
        TypeError: for what is no problem, parameter or variable of CVXPY.
        ImportError: for a problem that is no quadratic program, without the package `diffcp`.

    Differentiable in: the parameters and what the system shows, by the conditions that the solution fulfils.

    Source: A. Agrawal, S. Barratt, S. Boyd and B. Stellato, "Learning convex optimization control policies", L4DC 2020
    (arXiv 1912.09529).

    >>> import cvxpy, jax.numpy as jnp
    >>> from mbdl import control
    >>> x, weight, u = cvxpy.Parameter(2, "x"), cvxpy.Parameter(name="weight", nonneg=True), cvxpy.Variable(1, "u")
    >>> cost = weight * cvxpy.sum_squares(u) + cvxpy.sum_squares(x[:1] + u)
    >>> problem = cvxpy.Problem(cvxpy.Minimize(cost), [cvxpy.abs(u) <= 0.5])
    >>> policy = control.ConvexPolicy(problem, context=[x], decision=u, parameters={weight: 1.0})
    >>> policy(jnp.array([[0.6, 1.0], [3.0, 1.0]])).round(3).tolist()
    [[-0.3...], [-0.5]]
    """

    parameters: dict[str, Any]
    features: Callable[[Any], Any] | None
    solver: IterativeSolver | None
    program: ParametrisedProgram | ConicProgram
    parameter_entries: tuple[Entries, ...]
    context_entries: tuple[Entries, ...]
    decision_entries: Entries
    variable_entries: tuple[Entries, ...]

    def __init__(
        self,
        problem: Any,
        *,
        context: Sequence[Any],
        decision: Any,
        parameters: Mapping[Any, Any] | None = None,
        known: Mapping[Any, Any] | None = None,
        features: Callable[[Any], Any] | None = None,
        constraints: Mapping[Any, AbstractConstraint] | None = None,
        elastic: Mapping[Any, float] | None = None,
        proximal: float | None = None,
        solver: IterativeSolver | None = None,
    ):
        values, sets, fixed = dict(parameters or {}), dict(constraints or {}), dict(known or {})
        if features is not None and not callable(features):
            raise TypeError(
                f"ConvexPolicy: expected features to be a function of what the system shows, got {features!r}"
            )
        self.features = features
        check_disciplined(problem)
        if elastic:
            problem = elastic_problem(problem, elastic)
        if proximal is not None:
            problem = proximal_problem(problem, decision, proximal)
        extracted = canonical(problem, list(context), decision, [*values, *fixed])
        self.parameters = learned_parameters(values, sets) | known_parameters(fixed)
        if solver is not None and not isinstance(solver, IterativeSolver):
            raise TypeError(
                f"ConvexPolicy: expected a solver such as control.OperatorSplitting(iterations=10), got {solver!r}"
            )
        if solver is not None and extracted.cones is not None:
            raise ValueError(
                f"ConvexPolicy: a {type(solver).__name__} takes quadratic programs, and the problem has other cones"
            )
        self.solver = solver
        family = quadratic_family if extracted.cones is None else cone_family
        self.program = family(extracted, dtype_of(self.parameters))
        self.parameter_entries, self.context_entries = extracted.parameters, extracted.context
        self.decision_entries, self.variable_entries = extracted.decision, extracted.variables

    def init(self) -> Any:
        return self.program.first(self._parameters(), self.solver)

    def step(self, memory: Any, x: Any) -> tuple[Any, Float[Array, "*control"]]:
        memory, decision, _ = self.program.minimise(self._parameters(), memory, self._context(x), self.solver)
        return memory, decision.reshape(self.decision_entries.shape)

    def solve(self, x: Any, memory: Any = None, *, throw: bool = True) -> ConvexSolution:
        """One step in full: all variables, and how the search for them ended.

        Args:
            x: what the system shows at one time.
            memory: from `start` or `advance`, where the search starts from the step before.
            throw: raise where there is no solution; otherwise the status says so. Under a transformation nothing
                raises.

        Returns:
            a `ConvexSolution`; under `jax.vmap` one status for each instance.

        Raises:
            ConvergenceError: (with `throw`) for a problem that is infeasible, unbounded or not solved.
            ValueError: for an input that is not valid.
        """
        solution, flags = evaluate(self, "_solve", x, memory, valid="valid_part")
        if flags is not None and not int(flags) & 1:
            self._check(flags, x, None)
        if throw and is_concrete(solution.program.x):
            solution.program.check()
        return solution

    def why_not_finite(self, x: Any, decision: Any) -> str:
        step = first_bad_step(decision)
        at = int(np.argmax(~np.isfinite(np.asarray(decision)).reshape(len(decision), -1).all(axis=1))) if step else None
        solution = self.solve(x if at is None else jax.tree.map(lambda leaf: leaf[at], x), throw=False)
        if bool(solution.status == QPStatus.infeasible):
            how = (
                "is infeasible: no control keeps its constraints. Name those that may be broken (elastic={...: price})"
            )
        elif bool(solution.status == QPStatus.unbounded):
            how = "is unbounded: add constraints, or a cost that grows in every direction"
        else:
            how = "was not solved: its data are not finite, or of very unlike sizes"
        return f"{step}The problem of that context {how}"

    def _solve(self, x: Any, memory: Any) -> ConvexSolution:
        parameters, context = self._parameters(), self._context(x)
        memory = self.program.first(parameters, self.solver) if memory is None else memory
        _, decision, solution = self.program.minimise(parameters, memory, context, self.solver)
        everything = self.program.variables(parameters, context, solution)
        variables = {entries.name: entries.value(everything) for entries in self.variable_entries}
        return ConvexSolution(decision.reshape(self.decision_entries.shape), variables, solution)

    def _parameters(self) -> Float[Array, " parameters"]:
        numbers = [entries.numbers(self.parameters[entries.name]) for entries in self.parameter_entries]
        return jnp.concatenate([jnp.zeros(0, dtype_of(self.program)), *numbers])

    def _context(self, x: Any) -> Float[Array, " context"]:
        """The vector of the context's parameters."""
        entries = self.context_entries
        if self.features is None:
            values = _split(x, entries)
        else:
            values = self.features(x)
            values = tuple(values) if isinstance(values, (tuple, list)) else (values,)
            if len(values) != len(entries):
                raise ValueError(
                    f"ConvexPolicy: the features return {len(values)} values; expected a tuple of {len(entries)}, for "
                    f"the context {', '.join(held.name for held in entries)}"
                )
        for held, value in zip(entries, values, strict=True):
            if jnp.shape(value) != held.shape:
                raise ValueError(
                    f"ConvexPolicy: the context {held.name!r} has shape {held.shape}, got {jnp.shape(value)}; give one "
                    "step, and apply jax.vmap to a batch"
                )
        dtype = dtype_of(self.program)
        numbers = [held.numbers(value).astype(dtype) for held, value in zip(entries, values, strict=True)]
        return jnp.concatenate([jnp.zeros(0, dtype), *numbers])


def _split(x: Any, entries: tuple[Entries, ...]) -> tuple[Array, ...]:
    """What the system shows, split among the parameters of the context."""
    if len(entries) == 1:
        return (x,)
    sizes = [int(np.prod(held.shape, dtype=int)) for held in entries]
    if jnp.shape(x) != (sum(sizes),):
        described = ", ".join(f"{held.name} {held.shape}" for held in entries)
        raise ValueError(
            f"ConvexPolicy: expected a vector of {sum(sizes)} numbers for the context ({described}), got shape "
            f"{jnp.shape(x)}. Give `features`, a function from what the system shows to the values of the context"
        )
    parts = jnp.split(x, np.cumsum(sizes)[:-1])
    return tuple(part.reshape(held.shape) for part, held in zip(parts, entries, strict=True))
