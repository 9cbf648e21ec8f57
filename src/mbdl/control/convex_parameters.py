"""The parameters of a convex policy: their values, and the sets that CVXPY's attributes put them in."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mbdl.core import AbstractConstraint, Learned, as_leaf, interval, positive, positive_definite, unconstrained
from mbdl.core.checks import concrete, finite, floating
from mbdl.core.learned import wrap


def learned_parameters(values: dict[Any, Any], constraints: dict[Any, AbstractConstraint]) -> dict[str, Learned]:
    """The values by the parameters' names, learned within their sets.

    Args:
        values: of each `cvxpy.Parameter`.
        constraints: sets that are not those of the attributes.

    Raises:
        ValueError: for a value that does not fit its parameter, or a set for what is not learned.
    """
    for parameter in constraints:
        if not any(parameter is known for known in values):
            raise ValueError(f"ConvexPolicy: constraints names {_name(parameter)}, which has no value in `parameters`")
    made = {}
    for parameter, value in values.items():
        constraint = constraints[parameter] if parameter in constraints else _constraint(parameter)
        if not isinstance(constraint, AbstractConstraint):
            raise TypeError(
                f"ConvexPolicy: the constraint of {_name(parameter)} is {constraint!r}; expected a set such as "
                "mbdl.positive"
            )
        made[parameter.name()] = wrap(_value(parameter, value), constraint, "learn")
    return made


def known_parameters(values: dict[Any, Any]) -> dict[str, Any]:
    """The values by the parameters' names, not learned.

    Raises:
        ValueError: for a value that does not fit its parameter.
    """
    return {parameter.name(): _value(parameter, value) for parameter, value in values.items()}


def _value(parameter: Any, value: Any) -> Any:
    what = f"ConvexPolicy: the parameter {_name(parameter)}"
    value = floating(as_leaf(np.asarray(value, float) if isinstance(value, (list, tuple)) else value))
    if isinstance(value, Learned):
        raise ValueError(f"{what} is learned already; give its value, in `parameters`")
    # Not weakly typed: a number is as precise as JAX makes it.
    value = jax.lax.convert_element_type(value, value.dtype)
    if jnp.shape(value) != tuple(parameter.shape):
        raise ValueError(f"{what} has shape {tuple(parameter.shape)}, and its value has shape {jnp.shape(value)}")
    known = concrete(finite(value, what))
    if known is None:
        return value
    attributes = parameter.attributes
    symmetric = attributes["symmetric"] or attributes["PSD"]
    if symmetric and np.abs(known - known.T).max() > 8 * np.finfo(known.dtype).eps * np.abs(known).max():
        raise ValueError(f"{what} is symmetric, and its value is not. Give (value + value.T) / 2")
    if attributes["diag"] and np.any(known - np.diag(np.diag(known))):
        raise ValueError(f"{what} is diagonal, and its value is not")
    return value


def _constraint(parameter: Any) -> AbstractConstraint:
    """The set that the attributes of a parameter say."""
    attributes = parameter.attributes
    if attributes["nonneg"] or attributes["pos"]:
        return positive
    if attributes["PSD"]:
        return positive_definite
    if attributes["bounds"]:
        lower, upper = attributes["bounds"]
        if np.ndim(lower) == np.ndim(upper) == 0:
            return interval(float(lower), float(upper))
    for name in ("nonpos", "neg", "NSD", "integer", "boolean", "sparsity", "bounds"):
        held = attributes[name]
        if held is not None and held is not False and np.size(held):
            raise ValueError(
                f"ConvexPolicy: the parameter {_name(parameter)} has the attribute {name}, and no set for learning is "
                "known for it. Write the problem with nonneg=True, PSD=True or bounds that are two numbers, or name "
                "the set in `constraints`"
            )
    return unconstrained


def _name(parameter: Any) -> str:
    return repr(parameter.name()) if hasattr(parameter, "name") else repr(parameter)
