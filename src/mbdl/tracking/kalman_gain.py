"""The Kalman gain, by the recursion of the covariance."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from .covariance import dense, symmetric
from .gain import AbstractGain, Features, Uncertainty


class KalmanGain(AbstractGain):
    r"""The gain of the Kalman filter, by the Riccati recursion of the covariance in Joseph's form,
    $$P^- = F P F^\top + Q, \quad S = H P^- H^\top + R, \quad K = P^- H^\top S^{-1}, \quad
    P = (I - K H) P^- (I - K H)^\top + K R K^\top.$$

    Where the model is linear and every observation is present it does not depend on the observations: under `jax.vmap`
    it is computed once for all sequences.

    Source: R. E. Kalman, "A new approach to linear filtering and prediction problems", Journal of Basic Engineering 82,
    1960.
    """

    predetermined: ClassVar[bool] = True

    def init(self, model: Any) -> Float[Array, "state state"]:
        return dense(model.initial_covariance)

    def __call__(
        self, model: Any, memory: Float[Array, "state state"], innovation: Array, features: Features
    ) -> tuple[Float[Array, "state observation"], Uncertainty, Float[Array, "state state"]]:
        F, H, R = features.transition, features.observation_map, dense(features.observation_noise)
        cross = memory @ F.T
        predicted = symmetric(F @ cross + dense(features.process_noise))
        seen = predicted @ H.T
        S = symmetric(H @ seen + R)
        W = whitener_of(S)
        K = (seen @ W.T) @ W
        # Joseph's form, which forgives the gain its rounding; side by side, its five products are three.
        KH, KR = jnp.split(K @ jnp.concatenate([H, R], axis=1), [len(F)], axis=1)
        rest = jnp.eye(len(F), dtype=F.dtype) - KH
        sides = jnp.concatenate([rest @ predicted, KR], axis=1), jnp.concatenate([rest, K], axis=1)
        covariance = symmetric(sides[0] @ sides[1].T)
        return K, Uncertainty(covariance, predicted, cross, S, W), covariance


def whitener_of(covariance: Float[Array, "n n"]) -> Float[Array, "n n"]:
    r"""The triangular $W$ with $W \Sigma W^\top = I$; NaN for a covariance that is not positive definite.

    A pivot that is zero to rounding may come out positive; it is not taken for one.
    """
    if covariance.shape == (1, 1):
        return jnp.where(covariance > 0, 1 / jnp.sqrt(covariance), jnp.nan)
    size, dtype = len(covariance), covariance.dtype
    rounding = size * jnp.finfo(dtype).eps * jnp.diagonal(covariance)
    if size == 2:
        whitener, pivots = _whitener_of_two(covariance)
    else:
        factor = jnp.linalg.cholesky(covariance)
        pivots = jnp.diagonal(factor) ** 2
        whitener = solve_triangular(factor, jnp.eye(size, dtype=dtype), lower=True)
    return jnp.where(jnp.all(pivots > rounding), whitener, jnp.nan)


def _whitener_of_two(covariance: Float[Array, "2 2"]) -> tuple[Float[Array, "2 2"], Float[Array, "2"]]:
    """The whitener of two components, and the squared pivots, in closed form: no calls of LAPACK for four numbers."""
    first = jax.lax.rsqrt(covariance[0, 0])
    below = covariance[1, 0] * first
    pivot = covariance[1, 1] - below**2
    second = jax.lax.rsqrt(pivot)
    rows = [jnp.stack([first, jnp.zeros_like(first)]), jnp.stack([-below * first * second, second])]
    return jnp.stack(rows), jnp.stack([covariance[0, 0], pivot])
