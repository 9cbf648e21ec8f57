"""Changing the floating-point type of a network."""

from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import PyTree

Network = TypeVar("Network", bound=PyTree)


def cast(network: Network, dtype: DTypeLike) -> Network:
    """The same network with all its floating-point arrays in another type.

    Args:
        network: any pytree.
        dtype: a floating-point type; float64 needs ``jax.enable_x64``.

    Returns:
        The network; integers, keys and static fields are untouched.

    Raises:
        TypeError: if ``dtype`` is not a floating-point type.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from mbdl import networks
        >>> half = networks.cast(networks.MLP(2, 2, 4, 1, key=jax.random.key(0)), jnp.bfloat16)
        >>> half.layers[0].weight.dtype
        dtype(bfloat16)
    """
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"cast got dtype={dtype}, expected a floating-point type.")
    floating, rest = eqx.partition(network, eqx.is_inexact_array)
    return eqx.combine(jax.tree.map(lambda array: array.astype(dtype), floating), rest)
