"""The one loop of the library: a scan, unrolled on CPU where its body holds convolutions."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun

Carry = TypeVar("Carry")


def loop(
    body: Callable[[Carry, Any], tuple[Carry, Any]],
    carry: Carry,
    xs: Any = None,
    *,
    length: int,
    reverse: bool = False,
    rematerialise: bool = False,
) -> tuple[Carry, Any]:
    """Run `body` a fixed number of times, as `jax.lax.scan` does.

    XLA on CPU runs a convolution inside a loop body many times slower than outside, so there a body that holds
    convolutions is unrolled; elsewhere it is scanned.

    Args:
        body: `(carry, x) -> (carry, y)`.
        carry: the first carry.
        xs: a tree whose arrays have a leading axis of `length`; what is not an array is passed to every iteration.
        length: the number of iterations.
        reverse: begin with the last slice of `xs`; each `y` stands where its `x` does.
        rematerialise: recompute the body in the backward pass instead of storing what it computed.

    Returns:
        the last carry, and the `y` stacked.
    """
    stacked, static = eqx.partition(xs, eqx.is_array)

    def step(carry: Carry, slices: Any) -> tuple[Carry, Any]:
        return body(carry, eqx.combine(slices, static))

    for leaf in jax.tree.leaves(stacked):
        if leaf.shape[:1] != (length,):
            raise ValueError(f"loop: expected arrays with a leading axis of length={length}, got shape {leaf.shape}")
    unroll = length == 1
    if length > 1 and jax.default_backend() == "cpu":
        step, unroll = _looked_into(step, carry, jax.tree.map(lambda leaf: leaf[0], stacked))
    if rematerialise:
        step = jax.checkpoint(step, prevent_cse=unroll)
    if not unroll:
        return jax.lax.scan(step, carry, stacked, length=length, reverse=reverse)
    leaves, structure = jax.tree.flatten(stacked)
    # One unstack has one stack as its transpose; indexing in a loop would add `length` padded arrays.
    columns = [jnp.unstack(leaf) for leaf in leaves]
    ys = [None] * length
    for k in reversed(range(length)) if reverse else range(length):
        carry, ys[k] = step(carry, structure.unflatten([column[k] for column in columns]))
    return carry, jax.tree.map(lambda *leaves: jnp.stack(leaves), *ys)


def _looked_into(step: Callable[..., Any], carry: Any, slices: Any) -> tuple[Callable[..., Any], bool]:
    """A body as it was traced, and whether it holds a convolution.

    What was traced is what runs: to trace a body again, once it is known, would double with each nested loop.
    """
    traced, shapes = jax.make_jaxpr(step, return_shape=True)(carry, slices)
    convolves = any(_convolves(equation) for equation in equations(traced.jaxpr))
    before, after = ([(leaf.shape, leaf.dtype) for leaf in leaves] for leaves in (traced.in_avals, traced.out_avals))
    count = len(jax.tree.leaves(carry))
    if before[:count] != after[:count]:
        return step, convolves  # A carry of another type: for the scan to promote, or to refuse.
    structure = jax.tree.structure(shapes)

    def run(carry: Any, slices: Any) -> Any:
        return structure.unflatten(jaxpr_as_fun(traced)(*jax.tree.leaves((carry, slices))))

    return run, convolves


def _convolves(equation: Any) -> bool:
    return equation.primitive.name == "conv_general_dilated"


def holds_convolution(function: Callable[..., Any], *arguments: Any) -> bool:
    """Whether what a function computes holds a convolution, nested calls and loops included.

    Args:
        function: any function of trees.
        arguments: as the function takes them; what is not an array is held fixed.
    """
    dynamic, static = eqx.partition(arguments, eqx.is_array)

    def traced(dynamic):
        return eqx.filter(function(*eqx.combine(dynamic, static)), eqx.is_array_like)

    return any(_convolves(equation) for equation in equations(jax.make_jaxpr(traced)(dynamic).jaxpr))


def equations(jaxpr: Jaxpr) -> Iterator[Any]:
    """All equations of a jaxpr, those of nested calls and loops included."""
    for equation in jaxpr.eqns:
        yield equation
        for parameter in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda p: isinstance(p, (Jaxpr, ClosedJaxpr))
        ):
            if isinstance(parameter, ClosedJaxpr):
                yield from equations(parameter.jaxpr)
            elif isinstance(parameter, Jaxpr):
                yield from equations(parameter)
