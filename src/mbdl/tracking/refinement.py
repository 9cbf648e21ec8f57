"""The refinement of a smoother: the component that corrects what its messages do."""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

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
