"""What all filters are: recursive rules from inputs to estimates, for a state-space model."""

from typing import Any

import equinox as eqx
from jaxtyping import Array, Bool

from mbdl.core import RecursiveRule, first_bad_step, resolve

from .gain import SINGULAR_WITHOUT_GAIN, AbstractGain
from .inputs import declared, why_refused
from .model import AbstractModel


class AbstractFilter(RecursiveRule):
    """A filter: from observations `[time observation]`, or `Inputs`, to `Estimates` (or a subclass's own form of them).

    Attributes:
        model: the state-space model, held once; a gain or a smoother is passed it.
    """

    model: eqx.AbstractVar[AbstractModel]

    def valid(self, x: Any) -> Bool[Array, ""]:
        return declared(x)

    def why_invalid(self, x: Any) -> str:
        return why_refused(x)

    def why_not_finite(self, x: Any, decision: Any) -> str:
        held = resolve(self)
        gain = getattr(held, "gain", None)
        why = gain.why_not_finite(held.model) if isinstance(gain, AbstractGain) else SINGULAR_WITHOUT_GAIN
        return f"{first_bad_step(decision)}{why}"
