"""The gain that a Kalman filter settles at, constant from the first observation on."""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from mbdl.core import as_leaf, reads, resolve
from mbdl.core.checks import finite, floating

from .covariance import dense, symmetric
from .gain import AbstractGain, Features, Uncertainty, masked_noise
from .inputs import Moment
from .kalman_gain import KalmanGain, whitener_of
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
        at: for a nonlinear model, the state at which it is linearised, `[state]`; the model's initial mean by default.
        control: the control there, `[control]`, for a model whose matrices or Jacobians need one.
        duration: likewise the duration since the sample before.

    Raises:
        ValueError: when it is used, for a model whose matrices or Jacobians vary in time or need a control or a
            duration that is not given, or without a stabilising solution of the Riccati equation.

    Differentiable in: the model's matrices and covariances (or functions), `at`, the control and the duration.

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
    control: Float[Array, " control"] | None
    duration: Float[Array, ""] | None

    def __init__(self, at: Any = None, control: Any = None, duration: Any = None):
        def held(value: Any, name: str) -> Any:
            return None if value is None else finite(floating(as_leaf(value)), f"SteadyStateGain: {name}")

        self.at, self.control, self.duration = held(at, "at"), held(control, "control"), held(duration, "duration")

    def init(self, model: Any) -> SteadyState:
        F, H, Q, R = _invariant(model, self.at, Moment(jnp.zeros((), jnp.int32), self.control, self.duration))
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


def settles(model: Any) -> bool:
    """Whether the filter of a model settles, with all observations at the model's own step: it is linear and does not
    vary."""
    model = resolve(model)
    return isinstance(model, LinearGaussian) and not varying_parameters(model)


def nominal_gain(model: Any) -> AbstractGain:
    """What a learned gain corrects by default: the gain at which the filter settles, if it does, else the one that
    follows the time and the linearisation."""
    return SteadyStateGain() if settles(model) else KalmanGain()


def _invariant(model: Any, at: Any, moment: Moment) -> tuple[Array, Array, Array, Array]:
    """The matrices of a time-invariant model, linearised at a state.

    Raises:
        ValueError: for a parameter that is a function of the moment, or a state of another size.
    """
    if at is not None and at.shape != model.initial_mean.shape:
        raise ValueError(f"SteadyStateGain: at has shape {at.shape}; expected {model.initial_mean.shape}, a state")
    if varying := varying_parameters(model, at, moment):
        raise ValueError(
            f"SteadyStateGain: {', '.join(varying)} of the model varies with the moment, and a filter settles only "
            "where nothing varies. Give matrices, or use tracking.KalmanGain; where no more than a control or a "
            "duration is missing for a linearisation, give it: SteadyStateGain(control=..., duration=...)"
        )
    F, H, Q, R = (function(moment) for function in _parameters(model, at).values())
    return F, H, dense(Q), dense(R)


def varying_parameters(model: Any, at: Float[Array, " state"] | None = None, moment: Moment | None = None) -> list[str]:
    """Which matrices or Jacobians of a model depend on the time, or need a control or a duration beside what is given.

    Args:
        model: a state-space model.
        at: where it is linearised; the initial mean by default.
        moment: with the control and the duration at which they are taken; by default there are none.
    """
    moment = Moment(jnp.zeros((), jnp.int32)) if moment is None else moment
    return [name for name, function in _parameters(model, at).items() if _varies(function, moment)]


def _parameters(model: Any, at: Float[Array, " state"] | None) -> dict[str, Callable[[Moment], Any]]:
    state = model.initial_mean if at is None else at
    return {
        "transition": lambda moment: model.transit_jacobian(state, moment),
        "observation": lambda moment: model.observe_jacobian(state, moment),
        "process_noise": model.process_noise_at,
        "observation_noise": model.observation_noise_at,
    }


def _varies(function: Callable[[Moment], Any], moment: Moment) -> bool:
    try:
        return reads(lambda time: function(moment._replace(time=time)), moment.time)[0]
    except (TypeError, AttributeError):
        if moment.control is not None and moment.duration is not None:
            raise
        return True  # It takes what is `None` for an array.
