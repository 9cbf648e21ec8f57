"""What all filters are: recursive rules from inputs to estimates, for a state-space model."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool

from mbdl.core import RecursiveRule, all_finite, first_bad_step, resolve

from .gain import SINGULAR_INNOVATION, AbstractGain
from .inputs import as_inputs, undeclared
from .model import AbstractModel


class AbstractFilter(RecursiveRule):
    """A filter: from observations `[time observation]`, or `Inputs`, to `Estimates` (or a subclass's own form of them).

    Attributes:
        model: the state-space model, held once; a gain or a smoother is passed it.
    """

    model: eqx.AbstractVar[AbstractModel]

    def valid(self, x: Any) -> Bool[Array, ""]:
        """Whether all is finite that is declared present, and something is present."""
        inputs = as_inputs(x)
        return all_finite(x) & (jnp.asarray(True) if inputs.present is None else jnp.any(inputs.present))

    def why_invalid(self, x: Any) -> str:
        inputs = as_inputs(x)
        found = undeclared(inputs)
        if found is not None:
            return found
        return (
            "all observations are missing, so there is nothing to filter. Check the mask: present is true where there "
            "is an observation"
        )

    def why_not_finite(self, x: Any, decision: Any) -> str:
        held = resolve(self)
        gain = getattr(held, "gain", None)
        why = gain.why_not_finite(held.model) if isinstance(gain, AbstractGain) else SINGULAR_INNOVATION
        return f"{first_bad_step(decision)}{why}"
