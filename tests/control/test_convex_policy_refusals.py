"""What convex policies refuse, by message."""

import importlib.util
import re

import cvxpy as cp
import jax.numpy as jnp
import numpy as np
import pytest

import mbdl
from mbdl import control
from mbdl.control.parametrised_program import ParametrisedProgram

u, v = cp.Variable(2, "u"), cp.Variable(2, "v")
c, p, P = cp.Parameter(2, "c"), cp.Parameter(2, "p"), cp.Parameter((2, 2), "P")
signed, unsigned = cp.Parameter(nonneg=True, name="signed"), cp.Parameter(name="unsigned")
VALUES = {c: np.zeros(2), p: np.ones(2), P: np.eye(2), signed: 1.0, unsigned: 1.0}
PLAIN = cp.sum_squares(u - c) + p @ u


def policy(cost, kept=(), *, context=(c,), decision=u, parameters=None, **options):
    """The policy of a cost, whose parameters other than the context have plain values."""
    problem = cp.Problem(cost if isinstance(cost, cp.Maximize) else cp.Minimize(cost), list(kept))
    if parameters is None:
        parameters = {q: VALUES[q] for q in problem.parameters() if not any(q is known for known in context)}
    return control.ConvexPolicy(problem, context=context, decision=decision, parameters=parameters, **options)


@pytest.mark.parametrize(
    ("message", "cost", "constraints"),
    [
        ("the expression `P @ (c + u)` is not affine in its parameters (P, c)", cp.sum_squares(P @ (c + u) - p), []),
        ("not affine in its parameters (c, signed) while its arguments are", cp.sum_squares(u - signed * c), []),
        ("the expression `exp(c) @ u` is not affine in its parameters (c)", cp.sum_squares(u) + cp.exp(c) @ u, []),
        ("in its constraint 0, `P @ P @ u <= 1.0`, the expression `P @ P @ u` is not", PLAIN, [P @ (P @ u) <= 1]),
        ("the curvature is wrong once parameters count as unknown", PLAIN, [u[0] <= cp.exp(p[0])]),
        ("is unknown. A parameter (c, unsigned) that scales it needs a sign", unsigned * cp.sum_squares(u - c), []),
        ("in its objective, `minimize u[0] * u[1]`, the curvature of `u[0] * u[1]` is unknown", u[0] * u[1], []),
        ("in its constraint 0, `1.0 <= quad_over_lin(u, 1.0, None, False)`, the curvature is wrong. Minimise what is "
         "convex", PLAIN, [cp.sum_squares(u) >= 1]),
    ],
)  # fmt: skip
def test_what_is_not_disciplined_is_refused_by_its_smallest_expression(message, cost, constraints):
    with pytest.raises(ValueError, match=re.escape(message)):
        policy(cost, constraints)


def test_a_quadratic_form_with_a_parameter_is_disciplined_in_a_quadratic_program_alone():
    Q = cp.Parameter((2, 2), "Q", PSD=True)
    cost = cp.quad_form(u, Q) + c @ u
    assert isinstance(policy(cost, [u <= 1], parameters={Q: np.eye(2)}).program, ParametrisedProgram)
    with pytest.raises(ValueError, match="DPP only in a quadratic program, and this problem has other cones"):
        policy(cost, [cp.norm(u) <= 1], parameters={Q: np.eye(2)})


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("the problem's parameters p are neither in `context` nor in `parameters`", {"parameters": {}}),
        ("the parameter 'c' is given twice", {"parameters": {c: np.zeros(2), p: np.ones(2)}}),
        ("'P' is not a parameter of the problem, whose parameters are c, p",
         {"parameters": {p: np.ones(2), P: np.eye(2)}}),
        ("the decision 'v' is not a variable of the problem, whose variables are u", {"decision": v}),
        ("the parameter 'p' has shape (2,), and its value has shape (3,)", {"parameters": {p: np.ones(3)}}),
        ("the parameter 'p' must be finite", {"parameters": {p: np.array([np.nan, 1.0])}}),
        ("the parameter 'p' is learned already", {"parameters": {p: mbdl.Learned(jnp.ones(2))}}),
        ("constraints names 'P', which has no value", {"constraints": {P: mbdl.positive}}),
        ("proximal must be a positive number, got 0", {"proximal": 0}),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(message, options):
    with pytest.raises(ValueError, match=re.escape(message)):
        policy(PLAIN, **options)


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("decision is Expression(AFFINE, UNKNOWN, (2,)); expected a variable", {"decision": u + 1}),
        ("context holds 'c'; expected parameters of CVXPY", {"context": ["c"]}),
        ("parameters holds 'p'; expected parameters of CVXPY", {"parameters": {"p": np.ones(2)}}),
        ("expected features to be a function of what the system shows, got 3", {"features": 3}),
        ("the constraint of 'p' is 'positive'; expected a set", {"constraints": {p: "positive"}}),
        ("expected a solver such as control.OperatorSplitting(iterations=10), got 'OSQP'", {"solver": "OSQP"}),
    ],
)
def test_what_is_of_another_kind_is_refused(message, options):
    with pytest.raises(TypeError, match=re.escape(message)):
        policy(PLAIN, **options)
    with pytest.raises(TypeError, match=r"problem is 3; expected a cvxpy.Problem"):
        control.ConvexPolicy(3, context=[c], decision=u)


def test_variables_and_parameters_without_derivative_or_set_are_refused():
    n, z, other = cp.Variable(2, "n", integer=True), cp.Variable(2, "z", complex=True), cp.Parameter(2, "c")
    with pytest.raises(ValueError, match="the variable 'n' is integer"):
        policy(PLAIN, [u <= n])
    with pytest.raises(ValueError, match="'z' is complex"):
        policy(PLAIN, [u <= cp.real(z)])
    with pytest.raises(ValueError, match="two parameters have the name 'c'"):
        policy(PLAIN, [u <= other], parameters={p: np.ones(2), other: np.ones(2)})
    for attribute in ({"nonpos": True}, {"integer": True}, {"bounds": [np.zeros(2), np.ones(2)]}):
        q = cp.Parameter(2, "q", **attribute)
        with pytest.raises(ValueError, match=f"'q' has the attribute {next(iter(attribute))}, and no set"):
            policy(PLAIN + q @ u, parameters={p: np.ones(2), q: -np.ones(2)})
    S, D = cp.Parameter((2, 2), "S", symmetric=True), cp.Parameter((2, 2), "D", diag=True)
    for q, message in ((S, "is symmetric, and its value is not"), (D, "is diagonal, and its value is not")):
        with pytest.raises(ValueError, match=message):
            policy(PLAIN + cp.sum(q @ u), parameters={p: np.ones(2), q: np.array([[1.0, 2.0], [0.0, 1.0]])})
    with pytest.raises(ValueError, match="positive: the value 0.0 is not positive"):
        policy(PLAIN + signed * cp.sum_squares(u), parameters={p: np.ones(2), signed: 0.0})
    with pytest.raises(ValueError, match="power cones"):
        policy(PLAIN, [cp.power(u[0], 1.3, approx=False) <= 1])


def test_elastic_takes_constraints_of_the_problem_at_a_price():
    kept, cone = u[0] <= 1, cp.SOC(u[0], u)
    for elastic, message in (
        ({v <= 1: 1.0}, "which is not a constraint of the problem"),
        ({kept: 0.0}, "the price of breaking .* must be positive, got 0.0"),
        ({cone: 1.0}, "elastic takes inequalities and equalities, and .* is a SOC"),
    ):
        with pytest.raises(ValueError, match=message):
            policy(PLAIN, [kept, cone], elastic=elastic)


def test_a_context_that_does_not_fit_is_refused():
    d = cp.Parameter(1, "d")
    one, two = policy(PLAIN), policy(PLAIN, [u[:1] <= d], context=(c, d))
    with pytest.raises(ValueError, match=r"the context 'c' has shape \(2,\), got \(3,\); give one step"):
        one(jnp.ones((4, 3)))
    with pytest.raises(ValueError, match=r"expected a vector of 3 numbers for the context \(c \(2,\), d \(1,\)\), got"):
        two(jnp.ones((4, 2)))
    features = policy(PLAIN, [u[:1] <= d], context=(c, d), features=lambda x: (x,))
    with pytest.raises(ValueError, match="the features return 1 values; expected a tuple of 2, for the context c, d"):
        features(jnp.ones((4, 2)))


def test_a_cone_program_takes_no_solver_of_quadratic_programs():
    with pytest.raises(ValueError, match="a InteriorPoint takes quadratic programs, and the problem has other cones"):
        policy(PLAIN, [cp.norm(u) <= 1], solver=control.InteriorPoint(iterations=5))


def test_a_cone_program_needs_its_package(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"needs the package diffcp: pip install 'mbdl\[cone\]'"):
        policy(PLAIN, [cp.norm(u) <= 1])
