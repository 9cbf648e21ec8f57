"""The gain of a smoother: the component that carries what later observations tell back to an earlier time."""

import abc
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from .covariance import Factor, dense, semidefinite_cholesky, symmetric
from .estimates import Estimates
from .square_root_gain import triangular


class SmootherFeatures(NamedTuple):
    r"""What the gain of a smoother may look at, on the way back from time $t+1$ to $t$.

    A gain that is `predetermined` finds no estimates here where the model is linear and all is observed: they are
    `None`.

    Attributes:
        filtered: $\hat s_t$, the filter's estimate, `[state]`.
        filtered_covariance: $P_t$, `[state state]`, or `None` from a filter that knows none.
        predicted: $\hat s^-_{t+1}$, `[state]`.
        predicted_covariance: $P^-_{t+1}$, or `None`.
        cross_covariance: $C_{t+1} = \mathrm{Cov}(s_t, s_{t+1})$ given the observations up to $y_t$, or `None`.
        next_filtered: $\hat s_{t+1}$, the filter's estimate, `[state]`.
        smoothed: $\hat s^s_{t+1}$, `[state]`.
        smoothed_covariance: $P^s_{t+1}$, as the gain gave it: a matrix, a `Factor` where it holds one, or `None`. That
            of the last estimate is a `Factor` behind a filter whose gain holds one (`SquareRootGain`).
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
    smoothed_covariance: Float[Array, "state state"] | Factor | None
    later: Float[Array, " state"]
    transition: Float[Array, "state state"]
    ahead: Any = None


class JointFactor(NamedTuple):
    r"""The covariance of $s_t$ and $s_{t+1}$, given the observations up to $y_t$, by one factor of both: the errors are
    $A z$ and $B z$, with $z$ of unit covariance.

    Attributes:
        now: $A$, of $s_t$, `[state rank]`.
        following: $B$, of $s_{t+1}$, `[state rank]`.
    """

    now: Float[Array, "state rank"]
    following: Float[Array, "state rank"]


class AbstractSmootherGain(eqx.Module):
    """The gain of a smoother, with its own memory on the way back. The model is the filter's, and is passed in.

    Attributes:
        predetermined: whether the model and the covariances alone determine the gain: it looks at no estimate, and is
            given none where the model is linear and all is observed.
    """

    predetermined: ClassVar[bool] = False

    def ahead(
        self, model: Any, mean: Array, covariance: Array | None, following: Estimates, joint: JointFactor | None = None
    ) -> Any:
        r"""What the gain computes from the filter alone; nothing by default.

        It is computed for all times at once before the way back begins, which is faster than one after the other, and
        comes back in `SmootherFeatures.ahead`.

        Args:
            model: the state-space model.
            mean: $\hat s_t$, the filter's estimate, `[state]`.
            covariance: $P_t$, or `None` from a filter that knows none.
            following: the filter's `Estimates` at $t+1$.
            joint: the covariance of $s_t$ and $s_{t+1}$ by a factor, behind a filter whose gain holds one.
        """
        return None

    @abc.abstractmethod
    def init(self, model: Any) -> Any:
        """The gain's memory at the last observation."""

    @abc.abstractmethod
    def __call__(
        self, model: Any, memory: Any, features: SmootherFeatures
    ) -> tuple[Float[Array, "state state"], Float[Array, "state state"] | Factor | None, Any]:
        """The gain $G_t$, the covariance of the smoothed state at $t$ (or `None`), and the memory."""


class RTSGain(AbstractSmootherGain):
    r"""The gain of the Rauch-Tung-Striebel smoother,
    $$G_t = C_{t+1} (P^-_{t+1})^{+}, \qquad P^s_t = P_t + G_t (P^s_{t+1} - P^-_{t+1}) G_t^\top,$$
    from the covariances of the filter, be it linear, extended or unscented.

    $P^-$ may be singular (a state without noise, a known initial state). $(P^-)^{+}$ is then a generalised inverse: no
    jitter is added, and nothing is carried back along directions that were certain. Since the cross covariance and the
    corrections lie in the range of $P^-$, all generalised inverses give the same estimates.

    Behind a filter that holds factors (`SquareRootGain`) all covariances stay factors, with nothing subtracted but in a
    projection: with $P_t = L L^\top$, $A = [L, 0]$, $B = [F L, Q^{1/2}]$ and $B = L^- \Theta$ whose rows $\Theta$ are
    orthonormal,
    $$G_t = A \Theta^\top (L^-)^{+}, \qquad
    L^s_t = [A - A \Theta^\top \Theta, \; G_t L^s_{t+1}] = [(I - G_t F) L, \; -G_t Q^{1/2}, \; G_t L^s_{t+1}],$$
    made triangular, which is positive semidefinite whatever the rounding.

    Differentiable in: the covariances of the filter; where $P^-$ is singular, along changes that keep its null space.

    Source: H. E. Rauch, F. Tung and C. T. Striebel, "Maximum likelihood estimates of linear dynamic systems", AIAA
    Journal 3, 1965.
    """

    predetermined: ClassVar[bool] = True

    def ahead(
        self, model: Any, mean: Array, covariance: Array | None, following: Estimates, joint: JointFactor | None = None
    ) -> tuple[Float[Array, "state state"], Float[Array, "state state"] | Factor]:
        if joint is not None:
            return regression_by_factors(joint)
        return regression(covariance, following.predicted_covariance, following.cross_covariance)

    def init(self, model: Any) -> None:
        return None

    def __call__(
        self, model: Any, memory: None, features: SmootherFeatures
    ) -> tuple[Float[Array, "state state"], Float[Array, "state state"] | Factor | None, None]:
        G, conditional = features.ahead
        smoothed = features.smoothed_covariance
        # Where another gain corrects this one, no covariance of the smoothed state is known.
        return G, None if smoothed is None else through_regression(G, conditional, smoothed), None


def through_regression(G: Float[Array, "state state"], conditional: Any, later: Any) -> Any:
    r"""The covariance $V + G P G^\top$ of what regresses on what has $P$, with $V$ left; of factors a factor."""
    if isinstance(conditional, Factor) and isinstance(later, Factor):
        return Factor(triangular(jnp.concatenate([conditional.factor, G @ later.factor], axis=1)))
    return symmetric(dense(conditional) + G @ dense(later) @ G.T)


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


def regression_by_factors(joint: JointFactor) -> tuple[Float[Array, "state state"], Factor]:
    """The same as `regression`, from a factor and by one."""
    A, B = joint
    rows = orthonormal_rows(B)
    U = A @ rows.T
    return U @ _inverse_of_triangle(B @ rows.T), Factor(triangular(A - U @ rows))


def orthonormal_rows(matrix: Float[Array, "size rank"]) -> Float[Array, "size rank"]:
    r"""Rows $\Theta$ with $B = B \Theta^\top \Theta$ and $B \Theta^\top$ lower triangular.

    They are orthonormal, but zero where a row of $B$ is, to rounding, in the span of those before it.
    """
    size, rank = matrix.shape
    tolerance = rank * jnp.finfo(matrix.dtype).eps * jnp.linalg.norm(matrix, axis=1)

    def with_row(j: Array, rows: Array) -> Array:
        rest = matrix[j]
        for _ in range(2):  # Once is not enough where a row nearly is in the span of those before it.
            rest = rest - (rows @ rest) @ rows
        square = jnp.sum(rest**2)
        new = square > tolerance[j] ** 2
        return rows.at[j].set(jnp.where(new, rest * jax.lax.rsqrt(jnp.where(new, square, 1.0)), 0.0))

    return jax.lax.fori_loop(0, size, with_row, jnp.zeros_like(matrix))


def generalised_whitener(covariance: Float[Array, "state state"]) -> Float[Array, "state state"]:
    r"""A triangular $W$ with $W^\top W$ a generalised inverse of a positive semidefinite $\Sigma$.

    The rows that belong to pivots that are zero to rounding are zero.
    """
    return _inverse_of_triangle(semidefinite_cholesky(covariance))


def _inverse_of_triangle(L: Float[Array, "state state"]) -> Float[Array, "state state"]:
    """The inverse of a lower triangular matrix; where a column is zero, so is the row of it."""
    certain = jnp.diagonal(L) == 0
    # With a one in the place of a zero pivot the factor is invertible, and its inverse the same on the range of L.
    W = solve_triangular(L + jnp.diag(certain.astype(L.dtype)), jnp.eye(len(L), dtype=L.dtype), lower=True)
    return jnp.where(certain[:, None], 0.0, W)
