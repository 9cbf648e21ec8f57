"""A network that is a convex function of its input."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from mbdl.core import Learned, positive, resolve

from .mlp import Linear


class InputConvex(eqx.Module):
    """A function of a vector that is convex whatever is learned: ``depth`` hidden layers of ``width`` units.

    ``h_1 = activation(A_0 x + b_0)``, ``h_{l+1} = activation(W_l h_l + A_l x + b_l)``, ``y = w h_depth + a x + c`` with
    positive ``W_l`` and ``w``. They are held as ``Learned`` with the constraint ``mbdl.positive``, so that every value
    of the parameters gives a convex function.

    Args:
        in_size: length of the input.
        width: units of each hidden layer.
        depth: number of hidden layers, at least 1.
        activation: a convex, non-decreasing function on arrays that has a name; smooth where the curvature of the
            network matters, as in a cost.
        dtype: floating-point type of the parameters.
        key: a JAX random key.

    Raises:
        ValueError: for a size or a depth below one.

    Differentiable in: the input and the parameters.

    Source: B. Amos, L. Xu and J. Z. Kolter, "Input convex neural networks", ICML 2017 (the fully convex network).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from mbdl import networks
        >>> value = networks.InputConvex(3, width=8, depth=2, key=jax.random.key(0))
        >>> a, b = jnp.ones(3), -2 * jnp.ones(3)
        >>> bool(value((a + b) / 2) <= (value(a) + value(b)) / 2)
        True
    """

    inputs: tuple[Linear, ...]
    weights: Any
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        in_size: int,
        width: int,
        depth: int,
        activation: Callable[[Array], Array] = jax.nn.softplus,
        *,
        dtype: DTypeLike = jnp.float32,
        key: PRNGKeyArray,
    ):
        if depth < 1:
            raise ValueError(f"InputConvex got depth={depth}, expected the number of hidden layers, at least 1.")
        keys = jax.random.split(key, 2 * depth + 1)
        sizes = [*([width] * depth), 1]
        self.inputs = tuple(
            Linear(in_size, size, scale=math.sqrt(0.5), dtype=dtype, key=k)
            for size, k in zip(sizes, keys[: depth + 1], strict=True)
        )
        # Positive weights of mean 1 / width keep the size of positive units.
        self.weights = tuple(
            _positive(jax.random.uniform(k, (size, width), dtype, 0.5 / width, 1.5 / width))
            for size, k in zip(sizes[1:], keys[depth + 1 :], strict=True)
        )
        self.activation = activation

    def __call__(self, x: Float[Array, " in_size"]) -> Float[Array, ""]:
        """Maps one vector to a number.

        Args:
            x: vector of length ``in_size``.

        Raises:
            ValueError: if ``x`` is not a vector of that length.
        """
        hidden = self.activation(self.inputs[0](x))
        for layer, weight in zip(self.inputs[1:-1], resolve(self.weights[:-1]), strict=True):
            hidden = self.activation(weight @ hidden + layer(x))
        return (resolve(self.weights[-1]) @ hidden + self.inputs[-1](x))[0]


def _positive(value: Array) -> Learned:
    raw, anchored = positive.bind(value)
    return Learned(raw, anchored)
