"""The unscented Kalman filter of a nonlinear Gaussian model."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mbdl.core import as_leaf
from mbdl.core.checks import concrete, finite, positive

from .covariance import check_square, dense, semidefinite_cholesky, symmetric
from .estimates import Estimates
from .filter import AbstractFilter
from .gain import Uncertainty, masked_noise
from .inputs import Moment
from .kalman_gain import whitener_of
from .model import AbstractModel
from .steps import checked, compared, estimates_of, unless


class UnscentedMemory(NamedTuple):
    """What an unscented filter carries from one observation to the next.

    Attributes:
        time: how many observations there were.
        mean: the last estimate, `[state]`.
        covariance: its covariance, `[state state]`.
    """

    time: Int[Array, ""]
    mean: Float[Array, " state"]
    covariance: Float[Array, "state state"]


class UnscentedKalmanFilter(AbstractFilter):
    r"""The unscented Kalman filter: means and covariances through the model by $2n + 1$ sigma points,
    $$\chi_0 = \hat s, \quad \chi_{\pm i} = \hat s \pm \sqrt{c}\, L_i, \quad L L^\top = P, \quad
    c = \alpha^2 (n + \kappa),$$
    $$w_0 = 1 - n / c, \quad w_{\pm i} = 1 / 2c, \quad w^c_0 = w_0 + 1 - \alpha^2 + \beta,$$
    where $w_0$ weighs the centre in means and $w^c_0$ in covariances. No Jacobian is needed, and covariances may be
    singular. New points are drawn for the observation, from $P^-$ that includes the process noise.

    The default ($\alpha = 1$, $\beta = \kappa = 0$) is the third-degree cubature rule: the centre has no weight and all
    others the same one, so that covariances are positive semidefinite in every dimension, whatever the rounding, and
    nothing cancels in float32 (with $\alpha = 10^{-3}$ weights of $10^6$ do). With $\kappa = 3 - n$ the fourth moments
    along each axis are those of a Gaussian too; beyond three dimensions the centre then has a negative weight. A
    negative $w^c_0$ may lead to a covariance that is not positive definite.

    Args:
        model: any model of this package; angles in its observations are compared by its `difference`.
        alpha: $\alpha$, how far the points are spread; positive.
        beta: $\beta$, what the centre's weight in covariances has in excess.
        kappa: $\kappa$, above $-n$.

    Raises:
        ValueError: for spread parameters out of their range, or a factor of the initial covariance whose square the
            precision does not hold; when it runs, as `KalmanFilter` does.

    Differentiable in: the observations, the controls, the spread parameters, and every array of the model; of a
    singular covariance along changes that keep its null space.

    Source: S. J. Julier and J. K. Uhlmann, "Unscented filtering and nonlinear estimation", Proceedings of the IEEE 92,
    2004; the default: I. Arasaratnam and S. Haykin, "Cubature Kalman filters", IEEE Transactions on Automatic Control
    54, 2009. The update is in Joseph's form, over the points.

    >>> import jax.numpy as jnp
    >>> from mbdl import tracking
    >>> model = tracking.NonlinearGaussian(
    ...     transition=lambda s, moment: s**2, observation=lambda s, moment: s, process_noise=jnp.zeros((1, 1)),
    ...     observation_noise=jnp.eye(1), initial_mean=jnp.ones(1), initial_covariance=jnp.eye(1),
    ... )
    >>> estimates = tracking.UnscentedKalmanFilter(model, kappa=2.0)(jnp.array([[2.0]]))
    >>> print(f"{estimates.predicted_mean[0, 0]:.3f}, {estimates.predicted_covariance[0, 0, 0]:.3f}")
    2.000, 6.000
    """

    model: AbstractModel
    alpha: Float[Array, ""]
    beta: Float[Array, ""]
    kappa: Float[Array, ""]

    def __init__(self, model: AbstractModel, *, alpha: Any = 1.0, beta: Any = 0.0, kappa: Any = 0.0):
        what = "UnscentedKalmanFilter"
        if not isinstance(model, AbstractModel):
            raise TypeError(f"{what}: expected a model of mbdl.tracking, got {type(model).__name__}")
        check_square(model.initial_covariance, what)
        self.model = model
        self.alpha = positive(as_leaf(alpha), f"{what}: alpha")
        self.beta = finite(as_leaf(beta), f"{what}: beta")
        self.kappa = finite(as_leaf(kappa), f"{what}: kappa")
        known = concrete(self.kappa)
        if known is not None and hasattr(model.initial_mean, "shape") and known <= -model.state_size:
            raise ValueError(
                f"{what}: kappa must be above minus the number of states, {-model.state_size}, got {known:g}. "
                "0 is the cubature rule, and 3 minus the number of states matches fourth moments"
            )

    def init(self) -> UnscentedMemory:
        model = self.model
        return UnscentedMemory(jnp.zeros((), jnp.int32), model.initial_mean, dense(model.initial_covariance))

    def step(self, memory: UnscentedMemory, x: Any) -> tuple[UnscentedMemory, Estimates]:
        model, n = self.model, self.model.state_size
        inputs = checked(model, x)
        moment = Moment(memory.time, inputs.control, inputs.duration)
        begins = model.begins(moment)
        c = self.alpha**2 * (n + self.kappa)
        around = jnp.full(2 * n, 1 / (2 * c))
        w = jnp.concatenate([jnp.atleast_1d(1 - n / c), around])
        wc = jnp.concatenate([jnp.atleast_1d(2 - n / c - self.alpha**2 + self.beta), around])

        points = sigma_points(memory.mean, memory.covariance, c)
        moved = jax.vmap(lambda s: model.transit(s, moment))(points)
        # The weights sum to one: around the centre's image there is less to cancel.
        moved_mean = moved[0] + w @ (moved - moved[0])
        A, B = points - memory.mean, moved - moved_mean
        process_noise = dense(model.process_noise_at(moment))
        predicted = unless(begins, memory.mean, moved_mean)
        predicted_covariance = unless(begins, memory.covariance, symmetric((B.T * wc) @ B) + process_noise)
        cross = unless(begins, memory.covariance, (A.T * wc) @ B)

        points = sigma_points(predicted, predicted_covariance, c)
        A = points - predicted
        innovation, B = compared(model, points, w, moment, inputs)
        R = dense(masked_noise(model.observation_noise_at(moment), inputs.present))
        S = symmetric((B.T * wc) @ B) + R
        W = whitener_of(S)
        K = (A.T * wc) @ B @ W.T @ W
        mean = predicted + K @ innovation
        rest = A - B @ K.T
        covariance = symmetric((rest.T * wc) @ rest + K @ R @ K.T)

        uncertainty = Uncertainty(covariance, predicted_covariance, cross, S, W)
        estimates = estimates_of(mean, predicted, innovation, uncertainty, inputs)
        return UnscentedMemory(memory.time + 1, mean, covariance), estimates


def sigma_points(
    mean: Float[Array, " state"], covariance: Float[Array, "state state"], scale: Float[Array, ""]
) -> Float[Array, "point state"]:
    r"""The mean, then the mean plus and minus $\sqrt{c}$ times each column of a factor of the covariance."""
    L = jnp.sqrt(scale) * semidefinite_cholesky(covariance).T
    return mean + jnp.concatenate([jnp.zeros_like(L[:1]), L, -L])
