"""A cost with a learned terminal value."""

from typing import Any

from jaxtyping import Array, Float

from mbdl.core import Learned, unconstrained

from .cost import AbstractCost, Stage


class LearnedTerminalCost(AbstractCost):
    r"""A cost whose last state is judged by a network as well, $\ell_T(x) + V_\theta(x)$: a short plan with a learned
    value of what comes after it.

    With `networks.InputConvex` it stays convex, whatever is learned.

    Args:
        cost: what stages and the last state cost without it.
        network: $V$, from a state `[state]` to a number.

    Raises:
        TypeError: for what is no cost or no network.

    Differentiable in: the state and the parameters of cost and network.

    >>> import jax, jax.numpy as jnp, mbdl
    >>> from mbdl import control, networks
    >>> value = networks.InputConvex(2, width=8, depth=2, key=jax.random.key(0))
    >>> cost = control.LearnedTerminalCost(control.QuadraticCost(jnp.eye(2), jnp.eye(1)), value)
    >>> mbdl.resolve(cost).terminal(jnp.ones(2)).shape
    ()
    """

    cost: AbstractCost
    network: Any

    def __init__(self, cost: AbstractCost, network: Any):
        if not isinstance(cost, AbstractCost):
            raise TypeError(f"LearnedTerminalCost: expected a cost, got {type(cost).__name__}")
        if not callable(network) and not isinstance(network, Learned):
            raise TypeError(f"LearnedTerminalCost: expected a network, got {network!r}")
        learned = isinstance(network, Learned)
        self.cost, self.network = cost, network if learned else Learned(network, unconstrained, ("substitute",))

    def stage(self, stage: Stage) -> Float[Array, ""]:
        return self.cost.stage(stage)

    def terminal(self, state: Float[Array, " state"]) -> Float[Array, ""]:
        return self.cost.terminal(state) + self.network(state)
