"""What all smoothers are: rules that estimate each state from the observations of the whole sequence."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mbdl.core import DecisionRule, all_finite

from .covariance import dense
from .estimates import Estimates
from .extended import kalman_filter_of
from .filter import AbstractFilter
from .model import AbstractModel


class Smoothed(eqx.Module):
    r"""The estimates of a smoother, given all observations of the sequence.

    Attributes:
        mean: $\hat s^s_t$, `[time state]`.
        covariance: its covariance, `[time state state]`; `None` from a gain that knows none.
        cross_covariance: $\mathrm{Cov}(s_t, s_{t-1})$ given all observations, `[time state state]`, or `None`; the
            first is that of the first state with the initial one.
        initial_mean: the mean of the model's initial state given all observations, `[state]`; with `starts="at"` it is
            the first state.
        initial_covariance: its covariance, `[state state]`, or `None`.
        filtered: the `Estimates` of the filter.
    """

    mean: Float[Array, "time state"]
    covariance: Float[Array, "time state state"] | None
    cross_covariance: Float[Array, "time state state"] | None
    initial_mean: Float[Array, " state"]
    initial_covariance: Float[Array, "state state"] | None
    filtered: Estimates


class AbstractSmoother(DecisionRule):
    """A smoother: from observations `[time observation]`, or `Inputs`, to `Smoothed`.

    Attributes:
        filter: the filter that goes ahead of the way back.
    """

    filter: eqx.AbstractVar[AbstractFilter]

    def valid(self, x: Any) -> Bool[Array, ""]:
        return self.filter.valid(x)

    def why_invalid(self, x: Any) -> str:
        return self.filter.why_invalid(x)

    def why_not_finite(self, x: Any, decision: Smoothed) -> str:
        if not bool(all_finite(decision.filtered)):
            return self.filter.why_not_finite(x, decision.filtered)
        return "The estimates of the filter are finite, those of the smoother are not: its gain diverged. Use float64"


def as_filter(model_or_filter: Any, what: str) -> AbstractFilter:
    """A filter as it is; for a model, the Kalman filter, or the extended one where it is not linear.

    Raises:
        TypeError: for what is neither.
    """
    if isinstance(model_or_filter, AbstractFilter):
        return model_or_filter
    if isinstance(model_or_filter, AbstractModel):
        return kalman_filter_of(model_or_filter)
    raise TypeError(
        f"{what}: expected a state-space model or a filter of mbdl.tracking, got {type(model_or_filter).__name__}"
    )


def estimates_before(
    model: AbstractModel, filtered: Estimates
) -> tuple[Float[Array, "time state"], Float[Array, "time state state"] | None]:
    """The filter's estimate before each observation, with its covariance: the initial state, then each but the last."""
    mean = jnp.concatenate([model.initial_mean[None], filtered.mean[:-1]])
    if filtered.covariance is None:
        return mean, None
    return mean, jnp.concatenate([dense(model.initial_covariance)[None], filtered.covariance[:-1]])


def assembled(
    filtered: Estimates,
    initial_mean: Array,
    means: Array,
    initial_covariance: Array | None,
    covariances: Array | None,
    cross: Array | None,
) -> Smoothed:
    """The result from the smoothed states but the last, which is the filter's, and what goes with the initial state and
    with each observation."""
    mean = jnp.concatenate([means, filtered.mean[-1:]])
    return Smoothed(mean, covariances, cross, initial_mean, initial_covariance, filtered)
