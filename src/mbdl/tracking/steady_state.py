"""The gain that a Kalman filter settles at, constant from the first observation on."""

from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from mbdl.core import as_leaf, reads
from mbdl.core.checks import finite, floating

from .covariance import dense, symmetric
from .gain import AbstractGain, Features, Uncertainty, masked_noise
from .inputs import Moment
from .kalman_gain import whitener_of
from .linear import LinearGaussian
from .riccati_equation import NOT_STABILISABLE, stabilising_solution


class SteadyState(NamedTuple):
    """The constant gain and the covariances that go with it.

    Attributes:
        gain: $K$, `[state observation]`.
        uncertainty: the covariances of the filter that has settled.
    """

    gain: Float[Array, "state observation"]
    uncertainty: Uncertainty


class SteadyStateGain(AbstractGain):
    r"""The constant gain at which the Kalman filter of a time-invariant model settles,
    $$K = P^- H^\top (H P^- H^\top + R)^{-1},$$
    with the solution $P^-$ of the algebraic Riccati equation (`riccati`). It is computed once a sequence, so that a
    step costs no more than a matrix product: the filter of a long or fast stream.

    The estimates are those of the Kalman filter after its transient. The covariances are those of the settled filter
    from the first observation on, whatever the initial covariance; a missing observation changes neither the gain nor
    them. A parameter that depends on the duration is taken at the model's own step: where durations differ, a filter
    does not settle, and `KalmanGain` is the gain.

    Args:
        at: for a nonlinear model, the state at which it is linearised, `[state]` (at time 0 and without a control); the
            model's initial mean by default.

    Raises:
        ValueError: when it is used, for a model with a parameter that varies in time, or without a stabilising solution
            of the Riccati equation.

    Differentiable in: the model's matrices and covariances (or functions), and `at`.

    Source: T. Kailath, A. H. Sayed and B. Hassibi, "Linear estimation", Prentice Hall, 2000.

    >>> import jax.numpy as jnp
    >>> from mbdl import tracking
    >>> model = tracking.LinearGaussian(
    ...     transition=jnp.eye(1), observation=jnp.eye(1), process_noise=jnp.eye(1),
    ...     observation_noise=2 * jnp.eye(1), initial_mean=jnp.zeros(1), initial_covariance=jnp.eye(1),
    ... )
    >>> tracking.SteadyStateGain().init(model).gain.tolist()
    [[0.5]]
    """

    predetermined: ClassVar[bool] = True

    at: Float[Array, " state"] | None

    def __init__(self, at: Any = None):
        self.at = None if at is None else finite(floating(as_leaf(at)), "SteadyStateGain: at")

    def init(self, model: Any) -> SteadyState:
        F, H, Q, R = _invariant(model, self.at)
        predicted = stabilising_solution(F, H, Q, R)
        seen = predicted @ H.T
        S = symmetric(H @ seen + R)
        W = whitener_of(S)
        K = (seen @ W.T) @ W
        rest = jnp.eye(len(F), dtype=F.dtype) - K @ H
        covariance = symmetric(rest @ predicted @ rest.T + K @ R @ K.T)
        return SteadyState(K, Uncertainty(covariance, predicted, covariance @ F.T, S, W))

    def __call__(
        self, model: Any, memory: SteadyState, innovation: Array, features: Features
    ) -> tuple[Float[Array, "state observation"], Uncertainty, SteadyState]:
        uncertainty = memory.uncertainty
        if features.present is not None:
            S = masked_noise(uncertainty.innovation, features.present)
            uncertainty = uncertainty._replace(innovation=S, whitener=whitener_of(S))
        return memory.gain, uncertainty, memory

    def why_not_finite(self, model: Any) -> str:
        return f"SteadyStateGain: {NOT_STABILISABLE}; or the filter diverged"


def _invariant(model: Any, at: Any) -> tuple[Array, Array, Array, Array]:
    """The matrices of a time-invariant model, linearised at a state.

    Raises:
        ValueError: for a parameter that is a function of the moment, or a state of another size.
    """
    if varying := varying_parameters(model):
        raise ValueError(
            f"SteadyStateGain: {', '.join(varying)} of the model varies with the moment, and a filter settles only "
            "where nothing varies. Give matrices, or use tracking.KalmanGain"
        )
    if at is not None and at.shape != model.initial_mean.shape:
        raise ValueError(f"SteadyStateGain: at has shape {at.shape}; expected {model.initial_mean.shape}, a state")
    first = Moment(jnp.zeros((), jnp.int32))
    state = model.initial_mean if at is None else at
    return (
        model.transit_jacobian(state, first),
        model.observe_jacobian(state, first),
        dense(model.process_noise_at(first)),
        dense(model.observation_noise_at(first)),
    )


def varying_parameters(model: Any) -> list[str]:
    """Which matrices of a model depend on the time, where there are no controls and no durations."""
    linear = isinstance(model, LinearGaussian)
    names = (*(("transition", "observation") if linear else ()), "process_noise", "observation_noise")
    first = Moment(jnp.zeros((), jnp.int32))
    return [name for name in names if _varies(getattr(model, name), first)]


def _varies(parameter: Any, first: Moment) -> bool:
    if not callable(parameter):
        return False
    return reads(lambda time: parameter(first._replace(time=time)), first.time)[0]
