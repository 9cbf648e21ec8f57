"""Covariances for gains that know none: what a learned gain says of the error of its estimates."""

import abc
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .covariance import dense, symmetric
from .gain import AbstractGain, Features, Uncertainty
from .kalman_gain import whitener_of


class AbstractReadout(eqx.Module):
    """How covariances are read from a gain, with its own slice of the memory."""

    @abc.abstractmethod
    def init(self, model: Any) -> Any:
        """The memory before the first observation."""

    @abc.abstractmethod
    def __call__(
        self, memory: Any, K: Float[Array, "state observation"], innovation: Array, features: Features
    ) -> tuple[Uncertainty, Any]:
        """The covariances that go with the gain $K$, and the memory after the observation."""


class ReadMemory(NamedTuple):
    """What a gain with a readout remembers: its own memory, and that of the readout."""

    gain: Any
    readout: Any


class WithCovariance(AbstractGain):
    """A gain, such as a learned one, with covariances from a readout; the gain itself is as it was.

    Args:
        gain: any gain.
        readout: `ModelCovariance()` by default, `GainCovariance()`, or `CalibratedCovariance`.

    >>> import jax, jax.numpy as jnp, mbdl
    >>> from mbdl import tracking
    >>> model = tracking.LinearGaussian(
    ...     transition=jnp.eye(2), observation=jnp.eye(2), process_noise=0.1 * jnp.eye(2),
    ...     observation_noise=jnp.eye(2), initial_mean=jnp.zeros(2), initial_covariance=jnp.zeros((2, 2)),
    ... )
    >>> kalmannet = tracking.KalmanNet(model, key=jax.random.key(0))
    >>> with_covariance = mbdl.substitute(kalmannet, lambda r: r.gain, tracking.WithCovariance(kalmannet.gain))
    >>> with_covariance(jnp.ones((5, 2))).covariance.shape
    (5, 2, 2)
    """

    gain: AbstractGain
    readout: AbstractReadout

    def __init__(self, gain: AbstractGain, readout: AbstractReadout | None = None):
        self.gain = gain
        self.readout = ModelCovariance() if readout is None else readout

    def check(self, model: Any, what: str) -> None:
        self.gain.check(model, what)

    def init(self, model: Any) -> ReadMemory:
        return ReadMemory(self.gain.init(model), self.readout.init(model))

    def __call__(
        self, model: Any, memory: ReadMemory, innovation: Float[Array, " observation"], features: Features
    ) -> tuple[Float[Array, "state observation"], Uncertainty, ReadMemory]:
        K, _, gain = self.gain(model, memory.gain, innovation, features)
        uncertainty, readout = self.readout(memory.readout, K, innovation, features)
        return K, uncertainty, ReadMemory(gain, readout)

    def prepared(self) -> "WithCovariance":
        return eqx.tree_at(lambda gain: gain.gain, self, self.gain.prepared())

    def why_not_finite(self, model: Any) -> str:
        return self.gain.why_not_finite(model)


class ModelCovariance(AbstractReadout):
    r"""The covariance of the error that a filter with the gain $K_t$, whatever it is, makes under the model,
    $$P_t = (I - K_t H_t) P^-_t (I - K_t H_t)^\top + K_t R_t K_t^\top, \qquad P^-_t = F_t P_{t-1} F_t^\top + Q_t.$$
    It is positive semidefinite for any gain, and true as far as the model is.
    """

    def init(self, model: Any) -> Float[Array, "state state"]:
        return dense(model.initial_covariance)

    def __call__(
        self, memory: Float[Array, "state state"], K: Array, innovation: Array, features: Features
    ) -> tuple[Uncertainty, Float[Array, "state state"]]:
        uncertainty = propagated(memory, K, features)
        return uncertainty, uncertainty.covariance


class GainCovariance(AbstractReadout):
    r"""The covariance that the gain implies. The Kalman gain fulfils $K = P H^\top R^{-1}$; where $H$ has full column
    rank, $P$ follows from the gain, $H$ and $R$ alone,
    $$P_t = K_t R_t H_t (H_t^\top H_t)^{-1}.$$

    A learned gain need not be the Kalman gain of any covariance: of that matrix the symmetric part is taken, and of its
    negative eigenvalues the absolute value, so that a covariance results; for a Kalman gain neither changes anything.
    $P^-$ and $S$ follow from the last $P$ by the model. At a time with a missing component $H$ has not full
    rank, and $P$ is that of `ModelCovariance`.

    Differentiable in the gain, $H$ and $R$, equal eigenvalues included; a direction whose eigenvalue is zero has the
    derivative zero, as the absolute value has it there.

    Raises:
        ValueError: when it is used, for fewer observed components than states: then the gain does not tell $P$.

    Source: I. Klein, G. Revach, N. Shlezinger, J. E. Mehr, R. J. G. van Sloun and Y. C. Eldar, "Uncertainty in
    data-driven Kalman filtering for partially known state-space models", IEEE ICASSP, 2022; there $P^-$, too, is that
    which the gain implies.
    """

    def init(self, model: Any) -> Float[Array, "state state"]:
        return dense(model.initial_covariance)

    def __call__(
        self, memory: Float[Array, "state state"], K: Array, innovation: Array, features: Features
    ) -> tuple[Uncertainty, Float[Array, "state state"]]:
        H, R, present = features.observation_map, dense(features.observation_noise), features.present
        n, m = H.shape
        if n < m:
            raise ValueError(
                f"GainCovariance: {n} observed components do not tell the covariance of {m} states. Use "
                "ModelCovariance() or CalibratedCovariance"
            )
        uncertainty = propagated(memory, K, features)
        all_present = True if present is None else jnp.all(present)
        full = H if present is None else jnp.where(all_present, H, jnp.eye(n, m, dtype=H.dtype))
        implied = symmetric(jnp.linalg.solve(full.T @ full, full.T @ R @ K.T))
        covariance = absolute(implied)
        covariance = jnp.where(all_present, covariance, uncertainty.covariance)
        return uncertainty._replace(covariance=covariance), covariance


@jax.custom_jvp
def absolute(matrix: Float[Array, "size size"]) -> Float[Array, "size size"]:
    r"""$|A| = (A^2)^{1/2}$ of a symmetric matrix: the same eigenvectors, and of the eigenvalues the absolute values.

    Its derivative $D$ solves $|A| D + D |A| = A \dot A + \dot A A$: in the basis of the eigenvectors, each entry of
    $\dot A$ times $(\lambda_i + \lambda_j) / (|\lambda_i| + |\lambda_j|)$. No difference of eigenvalues is divided by,
    as it is in the derivatives of eigenvectors.
    """
    values, vectors = jnp.linalg.eigh(matrix, symmetrize_input=False)
    return (vectors * jnp.abs(values)) @ vectors.T


@absolute.defjvp
def _absolute_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    values, vectors = jnp.linalg.eigh(primals[0], symmetrize_input=False)
    sums = jnp.abs(values)[:, None] + jnp.abs(values)
    slopes = jnp.where(sums > 0, (values[:, None] + values) / jnp.where(sums > 0, sums, 1.0), 0.0)
    changed = slopes * (vectors.T @ symmetric(tangents[0]) @ vectors)
    return (vectors * jnp.abs(values)) @ vectors.T, vectors @ changed @ vectors.T


def propagated(covariance: Float[Array, "state state"], K: Array, features: Features) -> Uncertainty:
    """The covariances after one observation that is weighed by a gain, from that of the estimate before."""
    F, H, R = features.transition, features.observation_map, dense(features.observation_noise)
    cross = covariance @ F.T
    predicted = symmetric(F @ cross + dense(features.process_noise))
    S = symmetric(H @ predicted @ H.T + R)
    rest = jnp.eye(len(F), dtype=F.dtype) - K @ H
    updated = symmetric(rest @ predicted @ rest.T + K @ R @ K.T)
    return Uncertainty(updated, predicted, cross, S, whitener_of(S))
