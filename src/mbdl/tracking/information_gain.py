"""The Kalman gain in information form."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from mbdl.core.checks import concrete

from .covariance import dense, factor_of, symmetric
from .gain import AbstractGain, Features, Uncertainty
from .kalman_gain import whitener_of


class InformationGain(AbstractGain):
    r"""The gain of the Kalman filter, by the recursion of the information $Y = P^{-1}$,
    $$M = F^{-\top} Y F^{-1}, \quad J = M G (I + G^\top M G)^{-1}, \quad
    Y^- = (I - J G^\top) M (I - J G^\top)^\top + J J^\top,$$
    $$Y = Y^- + H^\top R^{-1} H, \quad K = Y^{-1} H^\top R^{-1},$$
    where $G G^\top = Q$ may be singular. What an observation tells is added, $H^\top R^{-1} H$, and the information is
    positive semidefinite by construction.

    The initial covariance, the transition and the observation noise have to be invertible: the form is not for a known
    initial state. Nor is it for no information at all, since the estimates before the state is observable would have
    no finite covariance; little of it is a large initial covariance. Directions that are known very differently well
    cost precision as the square of their ratio: where an inverse would be off by some hundredths or more, as in float32
    for a condition above some $10^5$, the estimates are NaN, which raises. `SquareRootGain` holds it.

    Source: T. Kailath, A. H. Sayed and B. Hassibi, "Linear estimation", Prentice Hall, 2000. The prediction is in
    Joseph's form.

    >>> import jax.numpy as jnp
    >>> from mbdl import tracking
    >>> model = tracking.LinearGaussian(
    ...     transition=jnp.eye(1), observation=jnp.eye(1), process_noise=jnp.zeros((1, 1)),
    ...     observation_noise=jnp.eye(1), initial_mean=jnp.zeros(1), initial_covariance=jnp.eye(1),
    ... )
    >>> tracking.KalmanFilter(model, tracking.InformationGain())(jnp.array([[2.0], [4.0]])).mean.round(3).tolist()
    [[1.0], [2.0]]
    """

    predetermined: ClassVar[bool] = True

    def init(self, model: Any) -> Float[Array, "state state"]:
        return inverse(dense(model.initial_covariance))

    def __call__(
        self, model: Any, memory: Float[Array, "state state"], innovation: Array, features: Features
    ) -> tuple[Float[Array, "state observation"], Uncertainty, Float[Array, "state state"]]:
        F, H, R = features.transition, features.observation_map, dense(features.observation_noise)
        G = factor_of(features.process_noise)
        back = jnp.linalg.inv(F)
        M = symmetric(back.T @ memory @ back)
        inner = symmetric(G.T @ M @ G) + jnp.eye(G.shape[1], dtype=G.dtype)
        J = M @ G @ inverse(inner)
        rest = jnp.eye(len(F), dtype=F.dtype) - J @ G.T
        predicted_information = symmetric(rest @ M @ rest.T + J @ J.T)
        whitener = whitener_of(R)
        white = whitener @ H
        information = predicted_information + symmetric(white.T @ white)

        covariance, predicted = inverse(information), inverse(predicted_information)
        K = covariance @ white.T @ whitener
        S = symmetric(H @ predicted @ H.T) + R
        uncertainty = Uncertainty(covariance, predicted, inverse(memory) @ F.T, S, whitener_of(S))
        return K, uncertainty, information

    def why_not_finite(self, model: Any) -> str:
        covariance = concrete(dense(model.initial_covariance))
        if covariance is not None and not bool(jnp.all(jnp.isfinite(inverse(jnp.asarray(covariance))))):
            return (
                "InformationGain holds the inverse of the covariance, and the initial covariance is singular, or "
                f"{covariance.dtype} does not hold its inverse. Use tracking.SquareRootGain, or tracking.KalmanGain "
                "where it is singular and not badly scaled"
            )
        return (
            "InformationGain inverts the covariance, the transition and the observation noise. Use "
            "tracking.KalmanGain or tracking.SquareRootGain where one of them is singular, and tracking.SquareRootGain "
            "or float64 where the precision does not hold an inverse"
        )


LOST = 0.02
"""The relative error of an inverse, to first order, from which on it is refused."""


def inverse(matrix: Float[Array, "n n"]) -> Float[Array, "n n"]:
    r"""The inverse of a positive definite matrix; NaN for one that is not, or whose inverse is lost to rounding.

    The condition is $\max_j \Sigma_{jj} (\Sigma^{-1})_{jj}$, one for any diagonal matrix: a bad scaling of the
    components costs nothing.
    """
    W = whitener_of(matrix)
    found = W.T @ W
    condition = jnp.max(jnp.diagonal(matrix) * jnp.diagonal(found))
    return jnp.where(len(matrix) * jnp.finfo(matrix.dtype).eps * condition < LOST, found, jnp.nan)
