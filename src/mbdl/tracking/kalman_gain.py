"""The Kalman gain, by the recursion of the covariance."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_solve, solve_triangular
from jaxtyping import Array, Bool, Float

from .covariance import check_square, dense, symmetric
from .gain import AbstractGain, Features, Uncertainty, nearly_equal

WIDE = 12
"""The size of the state up to which products with blocks of zeros cost less than more products."""


FEW = 3
"""The size of an innovation up to which its covariance is factored entry by entry."""


class KalmanGain(AbstractGain):
    r"""The gain of the Kalman filter, by the Riccati recursion of the covariance in Joseph's form,
    $$P^- = F P F^\top + Q, \quad S = H P^- H^\top + R, \quad K = P^- H^\top S^{-1}, \quad
    P = (I - K H) P^- (I - K H)^\top + K R K^\top.$$

    Where the model is linear and every observation is present it does not depend on the observations: under `jax.vmap`
    it is computed once for all sequences. In a whole sequence of a model that does not vary with the time it is not
    computed any more once it has settled to rounding.

    Raises:
        ValueError: where a filter is made with it, for an initial covariance that is held by a factor whose square the
            precision does not hold (`SquareRootGain` does).

    Source: R. E. Kalman, "A new approach to linear filtering and prediction problems", Journal of Basic Engineering 82,
    1960.
    """

    predetermined: ClassVar[bool] = True

    def check(self, model: Any, what: str) -> None:
        check_square(model.initial_covariance, what)

    def init(self, model: Any) -> Float[Array, "state state"]:
        return dense(model.initial_covariance)

    def __call__(
        self, model: Any, memory: Float[Array, "state state"], innovation: Array, features: Features
    ) -> tuple[Float[Array, "state observation"], Uncertainty, Float[Array, "state state"]]:
        F, H, R = features.transition, features.observation_map, dense(features.observation_noise)
        cross, predicted, seen, S = _expected(memory, features)
        W = whitener_of(S)
        K = (seen @ W.T) @ W
        # Joseph's form, which forgives the gain its rounding; side by side, its five products are three.
        KH, KR = jnp.split(K @ jnp.concatenate([H, R], axis=1), [len(F)], axis=1)
        rest = jnp.eye(len(F), dtype=F.dtype) - KH
        covariance = _joseph(jnp.concatenate([rest @ predicted, KR], axis=1), jnp.concatenate([rest, K], axis=1))
        return K, Uncertainty(covariance, predicted, cross, S, W), covariance

    def shared(
        self, model: Any, memory: Float[Array, "state state"], features: Features
    ) -> tuple[
        Float[Array, "state observation"], Float[Array, "state state"], Uncertainty | None, Float[Array, "state state"]
    ]:
        F, H, R = features.transition, features.observation_map, dense(features.observation_noise)
        cross, predicted, seen, S = _expected(memory, features)
        K, W = _weighed(seen, S)
        rest = jnp.eye(len(F), dtype=F.dtype) - K @ H
        if len(F) > WIDE:
            covariance = symmetric(rest @ predicted @ rest.T + K @ R @ K.T)
            return K, rest @ F, Uncertainty(covariance, predicted, cross, S, W), covariance
        # Of one small matrix for all sequences an operation costs its call alone: all that I - KH and K multiply is one
        # product, some blocks of which are zero. With a matrix for each sequence the zeros would cost.
        weights = jnp.concatenate([rest, K], axis=1)
        zero = jnp.zeros_like(seen)
        blocks = jnp.block([[predicted, zero, F], [zero.T, R, zero.T]])
        sides, moved = jnp.split(weights @ blocks, [weights.shape[1]], axis=1)
        covariance = _joseph(sides, weights)
        return K, moved, Uncertainty(covariance, predicted, cross, S, W), covariance

    def settled(self, before: Float[Array, "state state"], after: Float[Array, "state state"]) -> Bool[Array, ""]:
        deviations = jnp.sqrt(jnp.diagonal(after))
        return nearly_equal(before, after, jnp.outer(deviations, deviations))


def _expected(covariance: Float[Array, "state state"], features: Features) -> tuple[Array, Array, Array, Array]:
    r"""$P F^\top$, $P^-$, $P^- H^\top$ and $S$, from the covariance of the estimate before."""
    F, H = features.transition, features.observation_map
    cross = covariance @ F.T
    predicted = symmetric(F @ cross + dense(features.process_noise))
    seen = predicted @ H.T
    return cross, predicted, seen, symmetric(H @ seen + dense(features.observation_noise))


def _joseph(sides: Float[Array, "state both"], weights: Float[Array, "state both"]) -> Float[Array, "state state"]:
    r"""$P$ from $[(I - K H) P^-, K R]$ and $[I - K H, K]$."""
    return symmetric(sides @ weights.T)


def _weighed(
    seen: Float[Array, "state observation"], S: Float[Array, "observation observation"]
) -> tuple[Float[Array, "state observation"], Float[Array, "observation observation"]]:
    r"""The gain $P^- H^\top S^{-1}$ and the whitener of $S$, in the fewest operations for the size."""
    if not FEW < len(S) < 8:
        W = whitener_of(S)
        return (seen @ W.T) @ W, W
    factor = jnp.linalg.cholesky(S, symmetrize_input=False)
    # NaN in one row of the factor is NaN in all of the gain, by the first or by the second solution.
    factor = jnp.where((jnp.diagonal(factor) ** 2 > _rounding(S))[:, None], factor, jnp.nan)
    return cho_solve((factor, True), seen.T).T, solve_triangular(factor, jnp.eye(len(S), dtype=S.dtype), lower=True)


def whitener_of(covariance: Float[Array, "n n"]) -> Float[Array, "n n"]:
    r"""The triangular $W$ with $W \Sigma W^\top = I$; NaN for a covariance that is not positive definite.

    A pivot that is zero to rounding may come out positive; it is not taken for one.
    """
    if covariance.shape == (1, 1):
        return jnp.where(covariance > 0, 1 / jnp.sqrt(covariance), jnp.nan)
    if len(covariance) <= FEW:
        whitener, pivots = _whitener_of_few(covariance)
    else:
        factor = jnp.linalg.cholesky(covariance)
        pivots = jnp.diagonal(factor) ** 2
        whitener = solve_triangular(factor, jnp.eye(len(factor), dtype=factor.dtype), lower=True)
    return jnp.where(jnp.all(pivots > _rounding(covariance)), whitener, jnp.nan)


def _rounding(covariance: Float[Array, "n n"]) -> Float[Array, " n"]:
    """The squared pivots that may be zero but for rounding."""
    return len(covariance) * jnp.finfo(covariance.dtype).eps * jnp.diagonal(covariance)


def _whitener_of_few(covariance: Float[Array, "n n"]) -> tuple[Float[Array, "n n"], Float[Array, " n"]]:
    """The whitener of a few components, and the squared pivots, entry by entry: no calls of LAPACK for that."""
    size = len(covariance)
    L, W, pivots = np.zeros((3, size, size), object)
    for i in range(size):
        for j in range(i):
            L[i, j] = (covariance[i, j] - L[i, :j] @ L[j, :j]) * W[j, j]
        pivots[i, i] = covariance[i, i] - L[i, :i] @ L[i, :i]
        W[i, i] = jax.lax.rsqrt(pivots[i, i])
        for j in range(i):
            W[i, j] = -W[i, i] * (L[i, j:i] @ W[j:i, j])
    zero = jnp.zeros_like(W[0, 0])
    rows = [jnp.stack([W[i, j] if j <= i else zero for j in range(size)]) for i in range(size)]
    return jnp.stack(rows), jnp.stack(list(np.diagonal(pivots)))
