"""The black-box end of the spectrum: a rule that is only a network."""

from typing import Any

from mbdl.core import DecisionRule, Learned, unconstrained


class NetworkRule(DecisionRule):
    """A decision rule that is a network and nothing else: ``s = network(x)``.

    All of its numbers are learned and nothing is known, so it stands at the black-box end of the spectrum. Where the
    network takes a noise level, a context is the pair ``(x, noise_level)``.

    Args:
        network: a callable module on one example, such as `DnCNN`, `UNet`, `UpsampleCNN` or `MLP`.

    Raises:
        TypeError: if the network is not callable.

    Differentiable in: the context and the network's arrays.

    Example:
        >>> import jax, jax.numpy as jnp, mbdl
        >>> from mbdl import networks
        >>> rule = networks.NetworkRule(networks.DnCNN(width=4, depth=2, key=jax.random.key(0)))
        >>> rule(jnp.zeros((8, 8))).shape
        (8, 8)
    """

    network: Any

    def __init__(self, network: Any):
        if not callable(network):
            raise TypeError(f"NetworkRule expected a callable network, got {type(network).__name__}.")
        self.network = Learned(network, unconstrained, ("network",))

    def decide(self, x: Any) -> Any:
        """The network's value."""
        if getattr(self.network, "noise_conditioned", False):
            image, noise_level = x
            return self.network(image, noise_level)
        return self.network(x)
