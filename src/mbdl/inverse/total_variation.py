"""Total variation of images."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mbdl.core import as_leaf, loop
from mbdl.core.checks import nonnegative

from .checks import image
from .functional import AbstractFunctional, AbstractProximable
from .gradient import differences, negative_divergence


class TotalVariation(AbstractFunctional, AbstractProximable):
    r"""Total variation of an image, $f(s) = \lambda \sum_{ij} \|(D s)_{ij}\|$ with $D$ the forward differences of
    `Gradient`.

    The norm is Euclidean (isotropic) or the sum of absolute values (anisotropic). Each channel of a colour image has
    its own total variation, so that a weight means the same for grey and colour.

    The proximal map has no closed form. It solves the dual problem
    $$\min_{\|q_{ij}\| \le \mu \lambda} \tfrac12 \|v - D^T q\|^2, \qquad s = v - D^T q$$ by a fixed number of
    accelerated projected gradient steps from $q = 0$. It is a function of its arguments alone: no dual is kept between
    calls.

    Args:
        weight: $\lambda \ge 0$.
        iterations: dual steps in each proximal map. Twenty are enough inside a solver, where the step size times the
            weight is small; `duality_gap` says how far from the minimum they lead.
        isotropic: the Euclidean norm, else the sum of absolute values.

    Raises:
        ValueError: for a negative weight, or fewer than one iteration.

    Differentiable in: the weight and in the point, through the steps.

    Source: A. Beck and M. Teboulle, "Fast gradient-based algorithms for constrained total variation image
    denoising and deblurring problems", IEEE Trans. Image Processing 18, 2009, without its constraint.

    >>> import jax.numpy as jnp
    >>> from mbdl import inverse
    >>> step_edge = jnp.array([[0.0, 0.0, 1.0, 1.0]])
    >>> smoothed = inverse.TotalVariation(0.2, iterations=100).prox(step_edge, 1.0)
    >>> bool(jnp.allclose(smoothed, jnp.array([[0.1, 0.1, 0.9, 0.9]]), atol=1e-3))
    True
    """

    weight: Float[Array, ""]
    iterations: int = eqx.field(static=True)
    isotropic: bool = eqx.field(static=True)

    def __init__(self, weight: Any, iterations: int = 20, isotropic: bool = True):
        if not isinstance(iterations, (int, np.integer)) or isinstance(iterations, bool) or iterations < 1:
            raise ValueError(f"TotalVariation: expected at least one iteration, got iterations={iterations!r}")
        self.weight = nonnegative(as_leaf(weight), "TotalVariation: the weight")
        self.iterations = int(iterations)
        self.isotropic = isotropic

    def __call__(self, s: Float[Array, "height width *channel"]) -> Float[Array, ""]:
        image(s, "TotalVariation")
        return self.weight * self._variation(s)

    def prox(
        self, point: Float[Array, "height width *channel"], step: Float[Array, ""]
    ) -> Float[Array, "height width *channel"]:
        image(point, "TotalVariation (prox)")
        return point - negative_divergence(*self._dual(point, self.weight * step))

    def duality_gap(self, point: Float[Array, "height width *channel"], step: Float[Array, ""]) -> Float[Array, ""]:
        r"""A bound on $\mu f(s) + \frac12 \|s - v\|^2$ at $s = $ `prox(point, step)` less its minimum, and so on
        $\frac12 \|s - s^\star\|^2$."""
        image(point, "TotalVariation (duality gap)")
        radius = self.weight * step
        dual = self._dual(point, radius)
        s = point - negative_divergence(*dual)
        down, right = differences(s)
        return radius * self._variation(s) - jnp.sum(dual[0] * down + dual[1] * right)

    def _variation(self, s: Array) -> Array:
        down, right = differences(s)
        if not self.isotropic:
            return jnp.sum(jnp.abs(down) + jnp.abs(right))
        square = down**2 + right**2
        return jnp.sum(jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0))

    def _dual(self, point: Array, radius: Array) -> tuple[Array, Array]:
        def body(carry: Any, momentum: Array) -> tuple[Any, None]:
            (down, right), (ahead_down, ahead_right) = carry
            slope_down, slope_right = differences(point - negative_divergence(ahead_down, ahead_right))
            # The norm of the differences is at most the square root of eight.
            new_down, new_right = self._project(ahead_down + slope_down / 8, ahead_right + slope_right / 8, radius)
            ahead = new_down + momentum * (new_down - down), new_right + momentum * (new_right - right)
            return ((new_down, new_right), ahead), None

        zero = jnp.zeros_like(point), jnp.zeros_like(point)
        momenta = jnp.asarray(_momenta(self.iterations), jnp.finfo(point.dtype).dtype)
        # A step is cheap, and recomputing it in the backward pass is twice as fast as storing all that it made.
        return loop(body, (zero, zero), momenta, length=self.iterations, rematerialise=True)[0][0]

    def _project(self, down: Array, right: Array, radius: Array) -> tuple[Array, Array]:
        if not self.isotropic:
            return jnp.clip(down, -radius, radius), jnp.clip(right, -radius, radius)
        square = down**2 + right**2
        outside = square > radius**2
        scale = jnp.where(outside, radius / jnp.sqrt(jnp.where(outside, square, 1)), 1)
        return down * scale, right * scale


def _momenta(iterations: int) -> np.ndarray:
    """Nesterov's momenta."""
    t, momenta = 1.0, []
    for _ in range(iterations):
        following = (1 + np.sqrt(1 + 4 * t**2)) / 2
        momenta.append((t - 1) / following)
        t = following
    return np.array(momenta)
