"""The Kalman gain by square roots of the covariances."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Bool, Float

from .covariance import factor_of
from .gain import AbstractGain, Features, Uncertainty, nearly_equal


class SquareRootGain(AbstractGain):
    r"""The gain of the Kalman filter, by factors of the covariances: $P = L L^\top$ is positive semidefinite whatever
    the rounding, and a condition number of $10^{12}$ of $P$ is one of $10^6$ of $L$, which float32 can hold.

    Both steps are triangularisations by orthogonal transformations,
    $$[F L, \; Q^{1/2}] \to L^-, \qquad
    \begin{bmatrix} R^{1/2} & H L^- \\ 0 & L^- \end{bmatrix} \to
    \begin{bmatrix} S^{1/2} & 0 \\ K S^{1/2} & L \end{bmatrix}.$$

    A smoother behind it goes on with the factors, not with their squares.

    Differentiable where the triangular factors are invertible: with a singular covariance (a known initial state
    without process noise) its derivative is not finite; `KalmanGain` has one.

    Source: T. Kailath, A. H. Sayed and B. Hassibi, "Linear estimation", Prentice Hall, 2000.
    """

    predetermined: ClassVar[bool] = True

    def init(self, model: Any) -> Float[Array, "state state"]:
        return _square(factor_of(model.initial_covariance))

    def factor(self, memory: Float[Array, "state state"]) -> Float[Array, "state state"]:
        return memory

    def __call__(
        self, model: Any, memory: Float[Array, "state state"], innovation: Array, features: Features
    ) -> tuple[Float[Array, "state observation"], Uncertainty, Float[Array, "state state"]]:
        F, H = features.transition, features.observation_map
        (m, n), dtype = (len(F), len(H)), F.dtype
        predicted = triangular(jnp.concatenate([F @ memory, factor_of(features.process_noise)], axis=1))
        noise = factor_of(features.observation_noise)
        upper = jnp.concatenate([noise, H @ predicted], axis=1)
        lower = jnp.concatenate([jnp.zeros((m, noise.shape[1]), dtype), predicted], axis=1)
        both = triangular(jnp.concatenate([upper, lower]))
        root, shifted, updated = both[:n, :n], both[n:, :n], both[n:, n:]
        W = solve_triangular(root, jnp.eye(n, dtype=dtype), lower=True)
        # A row that the rows above it span leaves a pivot that is zero to rounding, and may come out above it.
        rounding = both.shape[1] * jnp.finfo(dtype).eps * jnp.linalg.norm(root, axis=1)
        W = jnp.where(jnp.all(jnp.abs(jnp.diagonal(root)) > rounding), W, jnp.nan)
        uncertainty = Uncertainty(
            covariance=updated @ updated.T,
            predicted=predicted @ predicted.T,
            cross=memory @ (memory.T @ F.T),
            innovation=root @ root.T,
            whitener=W,
        )
        return shifted @ W, uncertainty, updated

    def settled(self, before: Float[Array, "state state"], after: Float[Array, "state state"]) -> Bool[Array, ""]:
        # Either sign of a column is a factor of the same covariance.
        before, after = (factor * jnp.sign(jnp.diagonal(factor)) for factor in (before, after))
        deviations = jnp.linalg.norm(after, axis=1, keepdims=True)
        return nearly_equal(before, after, jnp.broadcast_to(deviations, after.shape))


def triangular(factor: Float[Array, "size rank"]) -> Float[Array, "size size"]:
    """The lower triangular factor of the same covariance."""
    return jnp.linalg.qr(_wide(factor).T, mode="r").T


def _square(factor: Float[Array, "size rank"]) -> Float[Array, "size size"]:
    return factor if factor.shape[0] == factor.shape[1] else triangular(factor)


def _wide(factor: Float[Array, "size rank"]) -> Float[Array, "size rank"]:
    """The factor with as many columns as rows at least."""
    size, rank = factor.shape
    return factor if rank >= size else jnp.concatenate([factor, jnp.zeros((size, size - rank), factor.dtype)], axis=1)
