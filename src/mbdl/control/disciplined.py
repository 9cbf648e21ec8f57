"""Whether a problem of CVXPY is convex and affine in its parameters, and which expression is to blame if not."""

from typing import Any


def check_disciplined(problem: Any) -> None:
    """Check that a problem is DPP: convex, with data that are affine in its parameters.

    Args:
        problem: a `cvxpy.Problem`. A parameter as the matrix of a quadratic form in the objective is allowed where the
            problem is a quadratic program.

    Raises:
        TypeError: for what is not a `cvxpy.Problem`.
        ValueError: naming the smallest expression that is not, while its own arguments are.
    """
    import cvxpy
    from cvxpy.utilities import scopes

    if not isinstance(problem, cvxpy.Problem):
        raise TypeError(f"ConvexPolicy: problem is {problem!r}; expected a cvxpy.Problem")
    parts = [(f"objective, {_short(problem.objective)}", problem.objective)]
    parts += [(f"constraint {i}, {_short(part)}", part) for i, part in enumerate(problem.constraints)]
    for parametrised in (False, True):
        for name, part in parts:
            with scopes.quad_form_dpp_scope():
                if part.is_dcp(dpp=parametrised):
                    continue
                if not parametrised:
                    raise ValueError(_not_convex(name, _culprit(part)))
                with scopes.dpp_scope():
                    culprit = _culprit(part)
                raise ValueError(_not_affine(name, culprit))
    if not is_quadratic_program(problem) and not problem.is_dpp():
        raise ValueError(
            "ConvexPolicy: a parameter is the matrix of a quadratic form (quad_form), which is DPP only in a quadratic "
            "program, and this problem has other cones. Take a square root L of the matrix as the parameter, as in "
            "cvxpy.sum_squares(L @ x)"
        )


def is_quadratic_program(problem: Any) -> bool:
    """Whether a problem of CVXPY is a quadratic program whatever its parameters are."""
    from cvxpy.utilities import scopes

    with scopes.quad_form_dpp_scope(), scopes.dpp_scope():
        return problem.is_qp()


def _culprit(part: Any) -> Any | None:
    """The smallest expression of an objective or a constraint whose curvature is unknown; `None` for none."""
    for argument in part.args:
        if not (argument.is_convex() or argument.is_concave()):
            return _culprit(argument) or argument
    return None


def _not_convex(name: str, culprit: Any | None) -> str:
    start = f"ConvexPolicy: the problem is not convex by the rules of CVXPY (DCP): in its {name}, "
    if culprit is None:
        return f"{start}the curvature is wrong. Minimise what is convex, and bound what is convex from above"
    unsigned = [parameter.name() for parameter in culprit.parameters() if parameter.is_constant()]
    hint = f". A parameter ({', '.join(sorted(unsigned))}) that scales it needs a sign: nonneg=True" if unsigned else ""
    return f"{start}the curvature of {_short(culprit)} is unknown{hint}"


def _not_affine(name: str, culprit: Any | None) -> str:
    start = f"ConvexPolicy: the problem is convex, but not affine in its parameters (not DPP): in its {name}, "
    if culprit is None:
        return (
            f"{start}the curvature is wrong once parameters count as unknown. Give a function of parameters a "
            "parameter of its own"
        )
    names = ", ".join(sorted(parameter.name() for parameter in culprit.parameters()))
    return (
        f"{start}the expression {_short(culprit)} is not affine in its parameters ({names}) while its "
        "arguments are. Give a product or a function of parameters a parameter of its own (the `features` of "
        "ConvexPolicy compute those of the context), or write it as a constraint on a new variable: y == P @ x"
    )


def _short(expression: Any, length: int = 160) -> str:
    text = str(expression)
    return f"`{text if len(text) <= length else text[:length] + '…'}`"
