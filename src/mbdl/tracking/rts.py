"""The Rauch-Tung-Striebel smoother, of any filter."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from mbdl.core import loop

from .estimates import Estimates
from .filter import AbstractFilter
from .inputs import Inputs, Moment, as_inputs
from .linear import same_for_all
from .model import AbstractModel
from .smoother import AbstractSmoother, Smoothed, as_filter, assembled, estimates_before
from .smoother_gain import AbstractSmootherGain, RTSGain, SmootherFeatures
from .steps import unless


class RTSSmoother(AbstractSmoother):
    r"""The Rauch-Tung-Striebel smoother: a filter, then a way back through its estimates,
    $$\hat s^s_t = \hat s_t + G_t (\hat s^s_{t+1} - \hat s^-_{t+1}), \qquad t = T-1, \dots, 0,$$
    from $\hat s^s_T = \hat s_T$, with the gain `RTSGain()` of the covariances of the filter. With the Kalman filter it
    is the minimum mean-square-error estimate given all observations; with an extended or an unscented filter it is the
    smoother of that name.

    Args:
        model_or_filter: a filter, or a model: then its Kalman filter, or its extended one where it is not linear.
        gain: what carries corrections back: `RTSGain()` by default, or a learned one.

    Returns:
        when it is called on a sequence, `Smoothed`.

    Raises:
        TypeError: for what is no model and no filter, or, when it runs, a filter without the covariances that the gain
            needs.
        ValueError: when it runs, as the filter does.

    Differentiable in: the observations, the controls, and every array of the filter and of the gain.

    Source: H. E. Rauch, F. Tung and C. T. Striebel, "Maximum likelihood estimates of linear dynamic systems", AIAA
    Journal 3, 1965.

    >>> import jax.numpy as jnp
    >>> from mbdl import tracking
    >>> model = tracking.LinearGaussian(
    ...     transition=jnp.eye(1), observation=jnp.eye(1), process_noise=jnp.zeros((1, 1)),
    ...     observation_noise=jnp.eye(1), initial_mean=jnp.zeros(1), initial_covariance=jnp.eye(1),
    ... )
    >>> smoothed = tracking.RTSSmoother(model)(jnp.array([[2.0], [4.0], [2.0]]))
    >>> [f"{mean:.2f}" for mean in smoothed.mean[:, 0]]
    ['2.00', '2.00', '2.00']
    """

    filter: AbstractFilter
    gain: AbstractSmootherGain

    def __init__(self, model_or_filter: Any, gain: AbstractSmootherGain | None = None):
        self.filter = as_filter(model_or_filter, "RTSSmoother")
        self.gain = RTSGain() if gain is None else gain

    def decide(self, xs: Any) -> Smoothed:
        return smoothed_back(self.filter.model, self.gain, self.filter.decide(xs), as_inputs(xs))


def smoothed_back(model: AbstractModel, gain: AbstractSmootherGain, filtered: Estimates, inputs: Inputs) -> Smoothed:
    """The way back through the estimates of a filter that began at the first observation."""
    steps = len(filtered.mean)
    mean, covariance = estimates_before(model, filtered)
    moments = Moment(jnp.arange(steps), inputs.control, inputs.duration)
    identity = jnp.eye(model.state_size, dtype=mean.dtype)
    shared = gain.predetermined and same_for_all(model, inputs)

    @jax.vmap
    def at_once(moment: Moment, mean: Array, covariance: Array | None, now: Estimates) -> Any:
        transition = unless(model.begins(moment), identity, model.transit_jacobian(mean, moment))
        moved = None
        if shared and moment.control is not None:
            still = jnp.zeros_like(mean)
            moved = unless(model.begins(moment), still, model.transit(still, moment))
        return transition, moved, gain.ahead(model, mean, covariance, now)

    def back(carry: Any, x: Any) -> Any:
        memory, smoothed, later, smoothed_covariance = carry
        mean, covariance, now, (transition, moved, ahead) = x
        features = SmootherFeatures(
            filtered=mean,
            filtered_covariance=covariance,
            predicted=now.predicted_mean,
            predicted_covariance=now.predicted_covariance,
            cross_covariance=now.cross_covariance,
            next_filtered=now.mean,
            smoothed=smoothed,
            smoothed_covariance=smoothed_covariance,
            later=later,
            transition=transition,
            ahead=ahead,
        )
        G, before_covariance, memory = gain(model, memory, features)
        if shared:
            before = _in_one_product(G, transition, mean, smoothed, moved)
        else:
            before = mean + G @ (smoothed - now.predicted_mean)
        cross = None if before_covariance is None else smoothed_covariance @ G.T
        return (memory, before, smoothed, before_covariance), (before, before_covariance, cross)

    ahead = at_once(moments, mean, covariance, filtered)
    initial = jax.tree.map(lambda leaf: leaf[0], (mean, covariance, filtered, ahead))
    # The step to the initial state stands by itself, so that the loop reads the filter's own arrays: to put the initial
    # state before them turns batch and time axes twice.
    earlier = jax.tree.map(lambda leaf: leaf[:-1], (filtered.mean, filtered.covariance))
    xs = (*earlier, *jax.tree.map(lambda leaf: leaf[1:], (filtered, ahead)))
    last = jax.tree.map(lambda leaf: leaf[-1], filtered)
    carry = (gain.init(model), last.mean, 2 * last.mean - last.predicted_mean, last.covariance)
    if eqx.filter_eval_shape(back, carry, initial)[0][3] is None:
        carry = (*carry[:3], None)  # a gain without covariances, behind a filter that has them
    carry, backwards = loop(back, carry, jax.tree.map(_reversed, xs), length=steps - 1)
    _, first = back(carry, initial)
    return assembled(filtered, *jax.tree.map(_preceded, first, jax.tree.map(_reversed, backwards)))


def _in_one_product(G: Array, transition: Array, mean: Array, smoothed: Array, moved: Array | None) -> Array:
    r"""The smoothed state as $[I - G F, G] [\hat s_t; \hat s^s_{t+1}] - G B u_{t+1}$, for a linear model.

    Many sequences share the matrix, and none of them needs the prediction.
    """
    both = jnp.concatenate([jnp.eye(len(G), dtype=G.dtype) - G @ transition, G], axis=1)
    before = jnp.concatenate([mean, smoothed]) @ both.T
    return before if moved is None else before - G @ moved


def _reversed(leaf: Array) -> Array:
    return leaf[::-1]


def _preceded(first: Array, rest: Array) -> Array:
    return jnp.concatenate([first[None], rest])
