"""A network in the place of a proximal map."""

import inspect
from collections.abc import Callable
from typing import Any

from jaxtyping import Array, Float

from mbdl.core import as_leaf, resolve
from mbdl.core.checks import nonnegative

from .functional import AbstractProximable


class DenoiserPrior(AbstractProximable):
    r"""A denoising network in the place of a proximal map: plug-and-play, or a layer's learned prox.

    $\mathrm{prox}(v, \mu) = N(v)$ or, for a network that takes the noise level, $N(v, \sigma)$. The step $\mu$ is not
    used.

    Args:
        network: called as `network(point)`, or `network(point, noise_level)` where a noise level is given.
        noise_level: $\sigma \ge 0$, in the signal's units; may be learned, and may differ from layer to layer.

    Raises:
        TypeError: when a noise level is given to a network that does not take one, or none to one that needs it.
        ValueError: for a negative noise level.

    Differentiable in: the network, the noise level and the point.

    Source: S. Venkatakrishnan, C. Bouman and B. Wohlberg, "Plug-and-play priors for model based reconstruction",
    GlobalSIP 2013.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from mbdl import inverse
    >>> inverse.DenoiserPrior(jax.nn.relu).prox(jnp.array([1.0, -1.0]), 1.0).tolist()
    [1.0, 0.0]
    """

    network: Callable[..., Any]
    noise_level: Float[Array, ""] | None

    def __init__(self, network: Callable[..., Any], noise_level: Any = None):
        takes, needs = _takes_noise_level(resolve(network))
        name = type(network).__name__
        if noise_level is not None and not takes:
            raise TypeError(
                f"DenoiserPrior: {name} takes no noise level and would ignore it. Leave noise_level out, or build "
                "the network for it (noise_conditioned=True)"
            )
        if noise_level is None and needs:
            raise TypeError(f"DenoiserPrior: {name} needs a noise level. Pass noise_level")
        self.network = network
        self.noise_level = None if noise_level is None else nonnegative(as_leaf(noise_level), NOISE_LEVEL)

    def prox(self, point: Any, step: Float[Array, ""]) -> Any:
        restored = self.network(point) if self.noise_level is None else self.network(point, self.noise_level)
        if getattr(restored, "shape", None) != getattr(point, "shape", None):
            raise ValueError(
                f"DenoiserPrior: the network returned shape {restored.shape} for a point of shape {point.shape}; "
                "it must keep the shape"
            )
        return restored


NOISE_LEVEL = "DenoiserPrior: the noise level"


def _takes_noise_level(network: Callable[..., Any]) -> tuple[bool, bool]:
    """Whether a network can take a noise level, and whether it must have one."""
    conditioned = getattr(network, "noise_conditioned", None)
    if conditioned is not None:
        return bool(conditioned), bool(conditioned)
    try:
        parameters = list(inspect.signature(network).parameters.values())
    except (TypeError, ValueError):
        return True, False
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    takes = len(positional) > 1 or any(p.kind is p.VAR_POSITIONAL for p in parameters)
    needs = sum(p.default is p.empty for p in positional) > 1
    return takes, needs
