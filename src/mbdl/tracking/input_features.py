"""What a learned gain looks at: four differences that tell how the filter does."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mbdl.core import resolve

from .covariance import dense
from .gain import Features
from .inputs import Moment
from .model import AbstractModel
from .normalisation import AbstractNormalisation, UnitNorm


class Differences(NamedTuple):
    r"""The input features of a learned gain at one time, normalised.

    Attributes:
        observation: F1, $y_t - y_{t-1}$, `[observation]`.
        innovation: F2, $y_t - h(\hat s^-_t)$, `[observation]`.
        evolution: F3, $\hat s_{t-1} - \hat s_{t-2}$, `[state]`.
        update: F4, $\hat s_{t-1} - \hat s^-_{t-1}$, `[state]`.
    """

    observation: Float[Array, " observation"]
    innovation: Float[Array, " observation"]
    evolution: Float[Array, " state"]
    update: Float[Array, " state"]


class Past(NamedTuple):
    """What the features remember.

    Attributes:
        observation: the last observation of each component, `[observation]`.
        seen: which components have been observed at all.
        estimate: the estimate before the last one, `[state]`.
        predicted: the last prediction, `[state]`.
    """

    observation: Float[Array, " observation"]
    seen: Bool[Array, " observation"]
    estimate: Float[Array, " state"]
    predicted: Float[Array, " state"]


class InputFeatures(eqx.Module):
    r"""The four input features of KalmanNet,
    $$F_1 = y_t - y_{t-1}, \quad F_2 = y_t - h(\hat s^-_t), \quad F_3 = \hat s_{t-1} - \hat s_{t-2}, \quad
    F_4 = \hat s_{t-1} - \hat s^-_{t-1},$$
    each normalised. At the first observation $F_3 = F_4 = 0$.

    A component that is missing has $F_1 = F_2 = 0$, and $F_1$ compares the next one with the last that was present; the
    first one that is present, with what was expected (the papers compare it with $h(s_0)$, which is the same but for
    one transition). Angles are compared as the model compares them.

    Args:
        of_observation: normalisation of F1 and F2, `UnitNorm()` by default; `Saturation(scale)` where there are
            outliers.
        of_state: normalisation of F3 and F4, `UnitNorm()` by default.

    Source: G. Revach et al., "KalmanNet: Neural network aided Kalman filtering for partially known dynamics", IEEE
    Transactions on Signal Processing 70, 2022.
    """

    of_observation: AbstractNormalisation
    of_state: AbstractNormalisation

    def __init__(
        self, of_observation: AbstractNormalisation | None = None, of_state: AbstractNormalisation | None = None
    ):
        self.of_observation = UnitNorm() if of_observation is None else of_observation
        self.of_state = UnitNorm() if of_state is None else of_state

    def init(self, model: Any) -> Past:
        """What is remembered before the first observation."""
        start = model.initial_mean
        observation_size = sizes(model)[1]
        nothing = jnp.zeros(observation_size, start.dtype)
        return Past(nothing, jnp.zeros(observation_size, bool), start, start)

    def __call__(
        self, model: Any, past: Past, innovation: Float[Array, " observation"], features: Features
    ) -> tuple[Differences, Past]:
        """The features at one time, and what is remembered for the next."""
        observed = features.observation
        before = jnp.where(past.seen, past.observation, features.expected)
        change = model.innovation(observed, before)
        last, seen = observed, jnp.ones_like(past.seen)
        if features.present is not None:
            change = jnp.where(features.present, change, 0.0)
            last = jnp.where(features.present, observed, past.observation)
            seen = past.seen | features.present
        differences = Differences(
            observation=self.of_observation(change),
            innovation=self.of_observation(innovation),
            evolution=self.of_state(features.previous - past.estimate),
            update=self.of_state(features.previous - past.predicted),
        )
        return differences, Past(last, seen, features.previous, features.predicted)


def sizes(model: AbstractModel) -> tuple[int, int]:
    """How many components the states and the observations of a model have."""
    known = resolve(model)
    moment = Moment(jnp.zeros((), jnp.int32))
    noise = jax.eval_shape(lambda: dense(known.observation_noise_at(moment)))
    return known.state_size, noise.shape[0]
