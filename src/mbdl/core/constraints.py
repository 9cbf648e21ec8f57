"""Bijections between unconstrained arrays and the sets that learned values live in."""

import abc
import math
from typing import Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from .leaves import is_concrete


class AbstractConstraint(eqx.Module):
    """A set of values with a smooth bijection from unconstrained arrays onto it."""

    @abc.abstractmethod
    def bind(self, value: Inexact[Array, "..."]) -> tuple[Inexact[Array, "..."], Self]:
        """Return the raw array that maps to `value`, and the constraint anchored at `value`.

        Raises:
            ValueError: when `value` is concrete and not in the interior of the set.
        """

    @abc.abstractmethod
    def __call__(self, raw: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Map a raw array into the set."""


class Unconstrained(AbstractConstraint):
    """All values: raw and value are the same."""

    def bind(self, value):
        return value, self

    def __call__(self, raw):
        return raw


class Positive(AbstractConstraint):
    r"""Positive values, $v = s\,\mathrm{softplus}(r)$ with the first value as $s$.

    Anchored at the first value, a step of the optimiser is relative whether the value is 1e-6 or 1e6.
    """

    scale: Inexact[Array, "..."] | float = 1.0

    def bind(self, value):
        _check_real(value, "positive")
        if is_concrete(value) and not bool(jnp.all((value > 0) & jnp.isfinite(value))):
            raise ValueError(
                f"positive: the value {np.asarray(value)} is not positive and finite. A value on the "
                "boundary has no raw value: start from a small positive one, or use constraint=mbdl.unconstrained"
            )
        return jnp.full_like(value, math.log(math.expm1(1.0))), Positive(value)

    def __call__(self, raw):
        return self.scale * jax.nn.softplus(raw)


class Interval(AbstractConstraint):
    r"""Values strictly between two bounds, $v = a + (b - a)\,\mathrm{sigmoid}(r)$."""

    lower: Inexact[Array, "..."] | float
    upper: Inexact[Array, "..."] | float

    def bind(self, value):
        _check_real(value, "interval")
        lower = jnp.broadcast_to(jnp.asarray(self.lower, value.dtype), value.shape)
        upper = jnp.broadcast_to(jnp.asarray(self.upper, value.dtype), value.shape)
        if is_concrete(value) and not bool(jnp.all((value > lower) & (value < upper))):
            raise ValueError(
                f"interval: the value {np.asarray(value)} is not strictly between {np.asarray(self.lower)} and "
                f"{np.asarray(self.upper)}. A value on the boundary has no raw value: move it inside, or widen the "
                f"interval"
            )
        # Both differences are exact near their bound; a ratio of one would round to it.
        return jnp.log(value - lower) - jnp.log(upper - value), Interval(lower, upper)

    def __call__(self, raw):
        return self.lower + (self.upper - self.lower) * jax.nn.sigmoid(raw)


class PositiveDefinite(AbstractConstraint):
    r"""Symmetric positive-definite matrices, $V = C\,\Lambda\Lambda^\top C^\top$.

    $C$ is the Cholesky factor of the first value, so that steps are relative to it whatever its scale, and $\Lambda$ is
    lower triangular with $\mathrm{softplus}$ on its diagonal; its $n(n+1)/2$ entries are what is learned. Leading
    axes are batch axes. A singular covariance has no raw value: hold it by its factor and learn that.
    """

    anchor: Inexact[Array, "... n n"] | None = None

    def bind(self, value):
        _check_real(value, "positive_definite")
        if value.ndim < 2 or value.shape[-1] != value.shape[-2]:
            raise ValueError(
                f"positive_definite: expected square matrices in the last two axes, got shape {value.shape}"
            )
        size = value.shape[-1]
        anchor = jnp.linalg.cholesky(value, symmetrize_input=False)
        if is_concrete(value):
            asymmetry = jnp.max(jnp.abs(value - jnp.swapaxes(value, -1, -2)), axis=(-2, -1))
            largest = jnp.max(jnp.abs(value), axis=(-2, -1))
            if bool(jnp.any(asymmetry > 8 * jnp.finfo(value.dtype).eps * largest)):
                raise ValueError(
                    f"positive_definite: the matrix is not symmetric (largest difference "
                    f"{float(asymmetry.max()):.3g}). Symmetrise it first"
                )
            if not bool(jnp.all(jnp.isfinite(anchor))):
                raise ValueError(
                    "positive_definite: the matrix is not positive definite, so it has no Cholesky factor. A singular "
                    "covariance is held and learned by its factor instead; or add a small multiple of the identity"
                )
        rows, columns = np.tril_indices(size)
        raw = jnp.asarray(np.where(rows == columns, math.log(math.expm1(1.0)), 0.0), value.dtype)
        return jnp.broadcast_to(raw, (*value.shape[:-2], raw.size)), PositiveDefinite(anchor)

    def __call__(self, raw):
        if self.anchor is None:
            raise ValueError("positive_definite: bind a value before raw arrays are mapped")
        size = self.anchor.shape[-1]
        rows, columns = np.tril_indices(size)
        entries = jnp.where(rows == columns, jax.nn.softplus(raw), raw)
        relative = jnp.zeros((*raw.shape[:-1], size, size), raw.dtype).at[..., rows, columns].set(entries)
        factor = self.anchor @ relative
        return factor @ jnp.swapaxes(factor, -1, -2)


class Simplex(AbstractConstraint):
    r"""Probability vectors along the last axis, by a softmax whose last logit is zero ($n - 1$ learned numbers)."""

    def bind(self, value):
        _check_real(value, "simplex")
        if value.ndim < 1 or value.shape[-1] < 2:
            raise ValueError(f"simplex: expected at least two probabilities in the last axis, got shape {value.shape}")
        if is_concrete(value):
            total = jnp.sum(value, axis=-1)
            tolerance = 8 * value.shape[-1] * jnp.finfo(value.dtype).eps
            if not bool(jnp.all(value > 0) & jnp.all(jnp.abs(total - 1) <= tolerance)):
                raise ValueError(
                    f"simplex: expected positive probabilities that sum to one, got {np.asarray(value)}. A zero has "
                    f"no raw "
                    "value: start from a small positive probability and normalise"
                )
        return jnp.log(value[..., :-1]) - jnp.log(value[..., -1:]), self

    def __call__(self, raw):
        return jax.nn.softmax(jnp.concatenate([raw, jnp.zeros_like(raw[..., :1])], axis=-1), axis=-1)


def _check_real(value: Array, name: str) -> None:
    if jnp.iscomplexobj(value):
        raise TypeError(
            f"{name}: expected real values, got {value.dtype}. Learn the real and imaginary parts as fields of their "
            "own, or use constraint=mbdl.unconstrained"
        )


def interval(lower: float, upper: float) -> Interval:
    """Values strictly between `lower` and `upper`.

    Raises:
        ValueError: when the interval is empty or not finite.
    """
    if not (math.isfinite(lower) and math.isfinite(upper) and lower < upper):
        raise ValueError(f"interval: expected finite bounds with lower < upper, got lower={lower}, upper={upper}")
    return Interval(float(lower), float(upper))


unconstrained = Unconstrained()
positive = Positive()
positive_definite = PositiveDefinite()
simplex = Simplex()
