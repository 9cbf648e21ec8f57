"""Networks on vectors: an affine layer and the multilayer perceptron."""

import itertools
import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray


class Linear(eqx.Module):
    """An affine map ``y = weight x + bias`` of a vector.

    The weight is drawn from a normal distribution of variance ``2 / in_size`` times ``scale²``; the bias is zero.

    Args:
        in_size: length of the input.
        out_size: length of the output.
        bias: whether there is a bias.
        scale: factor on the weight's standard deviation.
        dtype: floating-point type of the parameters.
        key: a JAX random key.

    Raises:
        ValueError: for a size below one.

    Differentiable in: the input, the weight and the bias.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from mbdl import networks
        >>> networks.Linear(4, 3, key=jax.random.key(0))(jnp.ones(4)).shape
        (3,)
    """

    weight: Float[Array, "out_size in_size"]
    bias: Float[Array, " out_size"] | None

    def __init__(
        self,
        in_size: int,
        out_size: int,
        *,
        bias: bool = True,
        scale: float = 1.0,
        dtype: DTypeLike = jnp.float32,
        key: PRNGKeyArray,
    ):
        if min(in_size, out_size) < 1:
            raise ValueError(f"Linear got in_size={in_size}, out_size={out_size}: both must be at least 1.")
        self.weight = scale * math.sqrt(2 / in_size) * jax.random.normal(key, (out_size, in_size), dtype)
        self.bias = jnp.zeros(out_size, dtype) if bias else None

    def __call__(self, x: Float[Array, " in_size"]) -> Float[Array, " out_size"]:
        """Maps one vector.

        Args:
            x: vector of length ``in_size``.

        Returns:
            A vector of length ``out_size``.

        Raises:
            ValueError: if ``x`` is not a vector of that length.
        """
        if x.shape != self.weight.shape[1:]:
            raise ValueError(
                f"Linear expected a vector of length {self.weight.shape[1]}, got the shape {x.shape}; "
                "map over a batch with jax.vmap."
            )
        y = self.weight @ x
        return y if self.bias is None else y + self.bias


class MLP(eqx.Module):
    """A multilayer perceptron: ``depth`` hidden layers of ``width`` units between two vectors.

    ``h_0 = x``, ``h_{l+1} = activation(W_l h_l + b_l)``, ``y = W_depth h_depth + b_depth``. With a depth of zero it is
    one affine map.

    Args:
        in_size: length of the input.
        out_size: length of the output.
        width: units of each hidden layer.
        depth: number of hidden layers.
        activation: a function on arrays that has a name (not a lambda), so that the network can be saved.
        dtype: floating-point type of the parameters.
        key: a JAX random key.

    Raises:
        ValueError: for a size below one or a negative depth.

    Differentiable in: the input, the weights and the biases.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from mbdl import networks
        >>> mlp = networks.MLP(3, 2, width=16, depth=2, key=jax.random.key(0))
        >>> mlp(jnp.ones(3)).shape
        (2,)
        >>> jax.vmap(mlp)(jnp.ones((10, 3))).shape
        (10, 2)
    """

    layers: tuple[Linear, ...]
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        in_size: int,
        out_size: int,
        width: int,
        depth: int,
        activation: Callable[[Array], Array] = jax.nn.relu,
        *,
        dtype: DTypeLike = jnp.float32,
        key: PRNGKeyArray,
    ):
        if depth < 0:
            raise ValueError(f"MLP got depth={depth}, expected the number of hidden layers, at least 0.")
        sizes = (in_size, *([width] * depth), out_size)
        keys = jax.random.split(key, depth + 1)
        # The last layer has no rectifier behind it: half the variance keeps the size of the signal.
        self.layers = tuple(
            Linear(a, b, scale=1.0 if layer < depth else math.sqrt(0.5), dtype=dtype, key=keys[layer])
            for layer, (a, b) in enumerate(itertools.pairwise(sizes))
        )
        self.activation = activation

    def __call__(self, x: Float[Array, " in_size"]) -> Float[Array, " out_size"]:
        """Maps one vector.

        Args:
            x: vector of length ``in_size``.

        Returns:
            A vector of length ``out_size``.

        Raises:
            ValueError: if ``x`` is not a vector of that length.
        """
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.layers[-1](x)
