"""The gain of a smoother: the component that carries what later observations tell back to an earlier time."""

import abc
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from .covariance import semidefinite_cholesky, symmetric
from .estimates import Estimates


class SmootherFeatures(NamedTuple):
    r"""What the gain of a smoother may look at, on the way back from time $t+1$ to $t$.

    Attributes:
        filtered: $\hat s_t$, the filter's estimate, `[state]`.
        filtered_covariance: $P_t$, `[state state]`, or `None` from a filter that knows none.
        predicted: $\hat s^-_{t+1}$, `[state]`.
        predicted_covariance: $P^-_{t+1}$, or `None`.
        cross_covariance: $C_{t+1} = \mathrm{Cov}(s_t, s_{t+1})$ given the observations up to $y_t$, or `None`.
        next_filtered: $\hat s_{t+1}$, the filter's estimate, `[state]`.
        smoothed: $\hat s^s_{t+1}$, `[state]`.
        smoothed_covariance: $P^s_{t+1}$, or `None`.
        later: $\hat s^s_{t+2}$, `[state]`; on the first way back, where there is none, the last estimate moved on by
            its own correction, $2 \hat s_T - \hat s^-_T$.
        transition: $F_{t+1}$, the Jacobian of the transition at $\hat s_t$, `[state state]`.
        ahead: what `AbstractSmootherGain.ahead` gave for this time.
    """

    filtered: Float[Array, " state"]
    filtered_covariance: Float[Array, "state state"] | None
    predicted: Float[Array, " state"]
    predicted_covariance: Float[Array, "state state"] | None
    cross_covariance: Float[Array, "state state"] | None
    next_filtered: Float[Array, " state"]
    smoothed: Float[Array, " state"]
    smoothed_covariance: Float[Array, "state state"] | None
    later: Float[Array, " state"]
    transition: Float[Array, "state state"]
    ahead: Any = None


class AbstractSmootherGain(eqx.Module):
    """The gain of a smoother, with its own memory on the way back. The model is the filter's, and is passed in.

    Attributes:
        predetermined: whether the model and the covariances alone determine the gain: it looks at no estimate.
    """

    predetermined: ClassVar[bool] = False

    def ahead(self, model: Any, mean: Array, covariance: Array | None, following: Estimates) -> Any:
        r"""What the gain computes from the filter alone; nothing by default.

        It is computed for all times at once before the way back begins, which is faster than one after the other, and
        comes back in `SmootherFeatures.ahead`.

        Args:
            model: the state-space model.
            mean: $\hat s_t$, the filter's estimate, `[state]`.
            covariance: $P_t$, or `None` from a filter that knows none.
            following: the filter's `Estimates` at $t+1$.
        """
        return None

    @abc.abstractmethod
    def init(self, model: Any) -> Any:
        """The gain's memory at the last observation."""

    @abc.abstractmethod
    def __call__(
        self, model: Any, memory: Any, features: SmootherFeatures
    ) -> tuple[Float[Array, "state state"], Float[Array, "state state"] | None, Any]:
        """The gain $G_t$, the covariance of the smoothed state at $t$ (or `None`), and the memory."""


class RTSGain(AbstractSmootherGain):
    r"""The gain of the Rauch-Tung-Striebel smoother,
    $$G_t = C_{t+1} (P^-_{t+1})^{+}, \qquad P^s_t = P_t + G_t (P^s_{t+1} - P^-_{t+1}) G_t^\top,$$
    from the covariances of the filter, be it linear, extended or unscented.

    $P^-$ may be singular (a state without noise, a known initial state). $(P^-)^{+}$ is then a generalised inverse: no
    jitter is added, and nothing is carried back along directions that were certain. Since the cross covariance and the
    corrections lie in the range of $P^-$, all generalised inverses give the same estimates.

    Differentiable in: the covariances of the filter; where $P^-$ is singular, along changes that keep its null space.

    Source: H. E. Rauch, F. Tung and C. T. Striebel, "Maximum likelihood estimates of linear dynamic systems", AIAA
    Journal 3, 1965.
    """

    predetermined: ClassVar[bool] = True

    def ahead(
        self, model: Any, mean: Array, covariance: Array | None, following: Estimates
    ) -> tuple[Float[Array, "state state"], Float[Array, "state state"]]:
        return regression(covariance, following.predicted_covariance, following.cross_covariance)

    def init(self, model: Any) -> None:
        return None

    def __call__(
        self, model: Any, memory: None, features: SmootherFeatures
    ) -> tuple[Float[Array, "state state"], Float[Array, "state state"] | None, None]:
        G, conditional = features.ahead
        smoothed = features.smoothed_covariance
        # Where another gain corrects this one, no covariance of the smoothed state is known.
        return G, None if smoothed is None else symmetric(conditional + G @ smoothed @ G.T), None


def regression(
    covariance: Float[Array, "state state"] | None,
    predicted: Float[Array, "state state"] | None,
    cross: Float[Array, "state state"] | None,
) -> tuple[Float[Array, "state state"], Float[Array, "state state"]]:
    r"""The regression of $s_t$ on $s_{t+1}$, given the observations up to $y_t$.

    Returns:
        the gain $G = C (P^-)^{+}$, and the covariance $P - G C^\top$ that is left.

    Raises:
        TypeError: for a filter that knows no covariances.
    """
    if covariance is None or predicted is None or cross is None:
        raise TypeError(
            "RTSGain: the gain of the filter gives no covariances, which the Rauch-Tung-Striebel gain is computed "
            "from. Use a filter that knows them, or a learned smoother gain"
        )
    W = generalised_whitener(predicted)
    U = cross @ W.T
    return U @ W, symmetric(covariance - U @ U.T)


def generalised_whitener(covariance: Float[Array, "state state"]) -> Float[Array, "state state"]:
    r"""A triangular $W$ with $W^\top W$ a generalised inverse of a positive semidefinite $\Sigma$.

    The rows that belong to pivots that are zero to rounding are zero.
    """
    L = semidefinite_cholesky(covariance)
    certain = jnp.diagonal(L) == 0
    # With a one in the place of a zero pivot the factor is invertible, and its inverse the same on the range of L.
    W = solve_triangular(L + jnp.diag(certain.astype(L.dtype)), jnp.eye(len(L), dtype=L.dtype), lower=True)
    return jnp.where(certain[:, None], 0.0, W)
