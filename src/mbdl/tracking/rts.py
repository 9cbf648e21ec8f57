"""The Rauch-Tung-Striebel smoother, of any filter."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mbdl.core import loop

from .covariance import Factor, dense, factor_of
from .estimates import Estimates
from .extended import ExtendedKalmanFilter
from .filter import AbstractFilter
from .inputs import Inputs, Moment, as_inputs
from .kalman import KalmanFilter
from .linear import same_for_all
from .model import AbstractModel
from .smoother import AbstractSmoother, Smoothed, as_filter, assembled, estimates_before
from .smoother_gain import AbstractSmootherGain, JointFactor, RTSGain, SmootherFeatures
from .steps import unless, zero_if


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
        filtered, factors = filtered_with_factors(self.filter, xs)
        return smoothed_back(self.filter.model, self.gain, filtered, as_inputs(xs), factors)


def filtered_with_factors(
    filter: AbstractFilter, xs: Any
) -> tuple[Estimates, Float[Array, "time+1 state state"] | None]:
    """The estimates of a filter; if its gain holds factors, those of the initial covariance and of each after it."""
    if not isinstance(filter, KalmanFilter | ExtendedKalmanFilter):
        return filter.decide(xs), None
    start = filter.init()
    _, filtered, later = filter.followed(start, xs, filter.gain.factor)
    first = filter.gain.factor(start.gain)
    return filtered, None if first is None else jnp.concatenate([first[None], later])


def transition_at(model: AbstractModel, mean: Float[Array, " state"], moment: Moment) -> Float[Array, "state state"]:
    """The Jacobian of the transition to a moment; the identity where the state before it is the first one."""
    identity = jnp.eye(model.state_size, dtype=mean.dtype)
    return unless(model.begins(moment), identity, model.transit_jacobian(mean, moment))


def joint_factor(
    model: AbstractModel, mean: Float[Array, " state"], factor: Float[Array, "state state"], moment: Moment
) -> JointFactor:
    """The covariance of a state and the one at a moment after it, from a factor of that of the first."""
    noise = factor_of(zero_if(model.begins(moment), model.process_noise_at(moment)))
    now = jnp.concatenate([factor, jnp.zeros_like(noise)], axis=1)
    return JointFactor(now, jnp.concatenate([transition_at(model, mean, moment) @ factor, noise], axis=1))


def smoothed_back(
    model: AbstractModel,
    gain: AbstractSmootherGain,
    filtered: Estimates,
    inputs: Inputs,
    factors: Float[Array, "time+1 state state"] | None = None,
) -> Smoothed:
    """The way back through the estimates of a filter that began at the first observation."""
    steps = len(filtered.mean)
    mean, covariance = estimates_before(model, filtered)
    moments = Moment(jnp.arange(steps), inputs.control, inputs.duration)
    shared = gain.predetermined and same_for_all(model, inputs)

    @jax.vmap
    def at_once(moment: Moment, mean: Array, covariance: Array | None, now: Estimates, L: Array | None) -> Any:
        transition = transition_at(model, mean, moment)
        moved = None
        if shared and moment.control is not None:
            still = jnp.zeros_like(mean)
            moved = unless(model.begins(moment), still, model.transit(still, moment))
        joint = None if L is None else joint_factor(model, mean, L, moment)
        return transition, moved, gain.ahead(model, mean, covariance, now, joint)

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
        # A covariance that came in, not the one that goes out: all of them are then arrays of the loop.
        later_covariance = None if before_covariance is None else dense(smoothed_covariance)
        outputs = before, later_covariance, None if later_covariance is None else later_covariance @ G.T
        return (memory, before, smoothed, before_covariance), outputs

    ahead = at_once(moments, mean, covariance, filtered, None if factors is None else factors[:-1])
    initial = jax.tree.map(lambda leaf: leaf[0], (mean, covariance, filtered, ahead))
    # The step to the initial state stands by itself, so that the loop reads the filter's own arrays: to put the initial
    # state before them turns batch and time axes twice.
    earlier = jax.tree.map(lambda leaf: leaf[:-1], (filtered.mean, filtered.covariance))
    xs = (*earlier, *jax.tree.map(lambda leaf: leaf[1:], (filtered, ahead)))
    last = jax.tree.map(lambda leaf: leaf[-1], filtered)
    covariance = last.covariance if factors is None else Factor(factors[-1])
    carry = (gain.init(model), last.mean, 2 * last.mean - last.predicted_mean, covariance)
    held = eqx.filter_eval_shape(back, carry, initial)[0][3]
    if held is None:
        carry = (*carry[:3], None)  # a gain without covariances, behind a filter that has them
    elif not isinstance(held, Factor):
        carry = (*carry[:3], last.covariance)  # a gain that holds no factors, behind a filter that does
    carry, backwards = loop(back, carry, xs, length=steps - 1, reverse=True)
    (_, _, _, initial_covariance), first = back(carry, initial)
    means, covariances, cross = jax.tree.map(_preceded, first, backwards)
    return assembled(filtered, means, dense(initial_covariance), covariances, cross)


def _in_one_product(G: Array, transition: Array, mean: Array, smoothed: Array, moved: Array | None) -> Array:
    r"""The smoothed state as $[I - G F, G] [\hat s_t; \hat s^s_{t+1}] - G B u_{t+1}$, for a linear model.

    Many sequences share the matrix, and none of them needs the prediction.
    """
    both = jnp.concatenate([jnp.eye(len(G), dtype=G.dtype) - G @ transition, G], axis=1)
    before = jnp.concatenate([mean, smoothed]) @ both.T
    return before if moved is None else before - G @ moved


def _preceded(first: Array, rest: Array) -> Array:
    return jnp.concatenate([first[None], rest])
