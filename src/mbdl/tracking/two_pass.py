"""A second pass over what a smoother has estimated."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from .extended import ExtendedKalmanFilter
from .filter import AbstractFilter
from .gain import AbstractGain
from .inputs import Inputs, Moment, as_inputs
from .model import AbstractModel, Starts
from .rts import smoothed_back
from .smoother import AbstractSmoother, Smoothed
from .smoother_gain import AbstractSmootherGain


class StateObserved(AbstractModel):
    """The dynamics of a model, with the state itself as the observation and no noise on it.

    Args:
        model: whose dynamics they are.
    """

    model: AbstractModel

    def __init__(self, model: AbstractModel):
        self.model = model

    @property
    def initial_mean(self) -> Float[Array, " state"]:
        return self.model.initial_mean

    @property
    def initial_covariance(self) -> Any:
        return self.model.initial_covariance

    @property
    def starts(self) -> Starts:
        return self.model.starts

    def transit(self, state: Float[Array, " state"], moment: Moment) -> Float[Array, " state"]:
        return self.model.transit(state, moment)

    def observe(self, state: Float[Array, " state"], moment: Moment) -> Float[Array, " state"]:
        return state

    def transit_jacobian(self, state: Float[Array, " state"], moment: Moment) -> Float[Array, "state state"]:
        return self.model.transit_jacobian(state, moment)

    def observe_jacobian(self, state: Float[Array, " state"], moment: Moment) -> Float[Array, "state state"]:
        return jnp.eye(self.state_size, dtype=state.dtype)

    def process_noise_at(self, moment: Moment) -> Any:
        return self.model.process_noise_at(moment)

    def observation_noise_at(self, moment: Moment) -> Float[Array, "state state"]:
        return jnp.zeros((self.state_size, self.state_size), self.initial_mean.dtype)


class TwoPassSmoother(AbstractSmoother):
    r"""A smoother, and a second pass forward and back that takes the smoothed states as its observations ($h = I$).

    With the gains $K = I$ and $G = 0$ of the second pass the result is that of the first; learned ones may improve on a
    first pass that a wrong model misleads.

    Args:
        first: the smoother of the first pass.
        forward: the gain $K$ of the filter of the second pass, for the model `StateObserved`.
        backward: the gain $G$ of the smoother of the second pass.

    Returns:
        when it is called on a sequence, `Smoothed`; its `filtered` are the estimates of the second pass.

    Differentiable in: what the first pass is differentiable in, and every array of the gains.

    Source: RTSNet with two passes, of G. Revach et al., "RTSNet: Learning to smooth in partially known state-space
    models", IEEE Transactions on Signal Processing, 2023.
    """

    first: AbstractSmoother
    forward: AbstractGain
    backward: AbstractSmootherGain

    def __init__(self, first: AbstractSmoother, forward: AbstractGain, backward: AbstractSmootherGain):
        self.first, self.forward, self.backward = first, forward, backward

    @property
    def filter(self) -> AbstractFilter:
        return self.first.filter

    def decide(self, xs: Any) -> Smoothed:
        inputs = as_inputs(xs)
        model = StateObserved(self.first.filter.model)
        observed = Inputs(self.first.decide(xs).mean, inputs.control, None, inputs.duration)
        filtered = ExtendedKalmanFilter(model, self.forward).decide(observed)
        return smoothed_back(model, self.backward, filtered, observed)
