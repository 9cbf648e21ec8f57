"""The refinement of a smoother: the component that corrects what its messages do."""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from mbdl.core import as_leaf
from mbdl.core.checks import positive

from .inputs import Inputs
from .messages import Messages


class AbstractRefinement(eqx.Module):
    """What is added to the states of a smoother in each iteration, beside its messages.

    It has a memory that goes from one iteration to the next. The model is the smoother's, and is passed in.
    """

    @abc.abstractmethod
    def init(self, model: Any, inputs: Inputs) -> Any:
        """The memory before the first iteration."""

    @abc.abstractmethod
    def __call__(
        self, model: Any, memory: Any, messages: Messages, inputs: Inputs
    ) -> tuple[Float[Array, "time state"], Any]:
        """The correction of the states, in their units, and the memory after the iteration."""


class NoRefinement(AbstractRefinement):
    """The messages as they are: the smoother of the model alone.

    >>> from mbdl import tracking
    >>> tracking.NoRefinement().init(None, None) is None
    True
    """

    def init(self, model: Any, inputs: Inputs) -> None:
        return None

    def __call__(
        self, model: Any, memory: None, messages: Messages, inputs: Inputs
    ) -> tuple[Float[Array, "time state"], None]:
        return jnp.zeros_like(messages.forward), None


class ScaledRefinement(AbstractRefinement):
    r"""A refinement in other units: $c \, \varepsilon$ for the $\varepsilon$ of another. Where a network gives that, a
    small $c$ makes its training slow and its corrections small, which holds off overfitting to few data.

    Args:
        refinement: the other one; mark what is learned in it.
        scale: $c$, one for all components of the state or `[state]`; known, not learned.

    Raises:
        ValueError: for a scale that is not positive.

    Differentiable in: as the other one, and the scale.

    >>> from mbdl import tracking
    >>> float(tracking.ScaledRefinement(tracking.NoRefinement(), 0.25).scale)
    0.25
    """

    refinement: AbstractRefinement
    scale: Float[Array, "*state"]

    def __init__(self, refinement: Any, scale: Any):
        self.refinement = refinement
        self.scale = positive(as_leaf(scale), "ScaledRefinement: the scale")

    def init(self, model: Any, inputs: Inputs) -> Any:
        return self.refinement.init(model, inputs)

    def __call__(
        self, model: Any, memory: Any, messages: Messages, inputs: Inputs
    ) -> tuple[Float[Array, "time state"], Any]:
        correction, memory = self.refinement(model, memory, messages, inputs)
        return self.scale * correction, memory
