"""A linear observation in a nonlinear model."""

from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from .inputs import Moment
from .model import as_map


class LinearObservation(eqx.Module):
    r"""The observation $h(s) = H s$ of a nonlinear model.

    Args:
        matrix: $H$, `[observation state]`.

    Raises:
        ValueError: for what is no matrix or not finite.

    Differentiable in: the state and $H$.

    >>> import jax.numpy as jnp
    >>> from mbdl import tracking
    >>> tracking.LinearObservation(jnp.ones((1, 2)))(jnp.array([2.0, 3.0]), tracking.Moment(0)).tolist()
    [5.0]
    """

    matrix: Float[Array, "observation state"]

    def __init__(self, matrix: Any):
        self.matrix = as_map(matrix, None, None, "LinearObservation: matrix")

    def __call__(self, state: Float[Array, " state"], moment: Moment) -> Float[Array, " observation"]:
        return self.matrix @ state
