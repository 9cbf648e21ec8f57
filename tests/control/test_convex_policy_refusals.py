"""What convex policies refuse, by message."""

import cvxpy as cp
import numpy as np
import pytest

from mbdl import control

u, v = cp.Variable(2, "u"), cp.Variable(2, "v")
c, p, P = cp.Parameter(2, "c"), cp.Parameter(2, "p"), cp.Parameter((2, 2), "P")
signed, unsigned = cp.Parameter(nonneg=True, name="signed"), cp.Parameter(name="unsigned")
VALUES = {c: np.zeros(2), p: np.ones(2), P: np.eye(2), signed: 1.0, unsigned: 1.0}


def policy(cost, constraints=(), *, context=(c,), decision=u, parameters=None, **options):
    """The policy of a cost, whose parameters other than the context have plain values."""
    problem = cp.Problem(cost if isinstance(cost, cp.Maximize) else cp.Minimize(cost), list(constraints))
    if parameters is None:
        parameters = {q: VALUES[q] for q in problem.parameters() if not any(q is known for known in context)}
    return control.ConvexPolicy(problem, context=context, decision=decision, parameters=parameters, **options)


PLAIN = cp.sum_squares(u - c) + p @ u

# The smallest expression that is not affine in the parameters, or not convex, is named.
NOT_DISCIPLINED = {
    r"in its objective, the expression `P @ \(c \+ u\)` is not affine in its parameters \(P, c\)": cp.sum_squares(
        P @ (c + u) - p
    ),
    r"the expression `signed @ c` is not affine in its parameters \(c, signed\)": cp.sum_squares(u - signed * c),
    r"the expression `exp\(c\)` is not affine in its parameters \(c\)|curvature": cp.sum_squares(u) + cp.exp(c) @ u,
    r"its objective .* has the wrong curvature once parameters count as unknown": unsigned * cp.sum_squares(u - c),
    r"in its objective, the curvature of `u\[0\] @ u\[1\]` is unknown": u[0] * u[1] + c @ u,
    r"its objective .* has the wrong curvature": -cp.sum_squares(u - c),
}


@pytest.mark.parametrize("message", NOT_DISCIPLINED)
def test_what_is_not_disciplined_is_refused_by_its_smallest_expression(message):
    with pytest.raises(ValueError, match=message):
        policy(NOT_DISCIPLINED[message])
