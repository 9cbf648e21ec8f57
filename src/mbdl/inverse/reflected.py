"""Images that go on beyond their edges: a rule applied to the image continued by its mirror image."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from mbdl.core import DecisionRule


class Reflected(DecisionRule):
    r"""A rule for images, applied to the image continued by reflection, and its decision cut to size.

    $$s = C\, f(P x)$$ with $P$ the reflection at the edges and $C$ the cut. A periodic operator makes the left edge of
    an image a neighbour of the right one; behind this rule only the margin suffers from that.

    Args:
        rule: a rule from an image to an image of the same size or a multiple of it.
        margin: how far the image is continued, in its own pixels, on each side.

    Raises:
        ValueError: for a negative margin; and for an image that is smaller than the margin.

    Differentiable in: what the inner rule is differentiable in.

    >>> import jax.numpy as jnp
    >>> from mbdl import inverse
    >>> inverse.Reflected(inverse.Bicubic(2), 2)(jnp.ones((6, 5))).shape
    (12, 10)
    """

    rule: DecisionRule
    margin: int = eqx.field(static=True)

    def __init__(self, rule: DecisionRule, margin: int):
        if margin < 0:
            raise ValueError(f"Reflected: expected a margin of at least 0, got {margin}")
        self.rule = rule
        self.margin = margin

    def decide(self, x: Float[Array, "rows columns *channel"]) -> Float[Array, "height width *channel"]:
        rows, columns = x.shape[:2]
        if min(rows, columns) < self.margin:
            raise ValueError(
                f"Reflected: an image of {rows}×{columns} is smaller than the margin of {self.margin}, by which it is "
                "continued on each side"
            )
        widths = [(self.margin, self.margin)] * 2 + [(0, 0)] * (x.ndim - 2)
        decision = self.rule.decide(jnp.pad(x, widths, mode="symmetric"))
        factor = decision.shape[0] // (rows + 2 * self.margin)
        top = self.margin * factor
        return decision[top : top + rows * factor, top : top + columns * factor]
