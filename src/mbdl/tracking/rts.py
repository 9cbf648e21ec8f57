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
from .linear import LinearGaussian, same_for_all
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
    before = estimates_before(model, filtered)
    moments = Moment(jnp.arange(steps), inputs.control, inputs.duration)

    @jax.vmap
    def at_once(
        moment: Moment, mean: Array, covariance: Array | None, now: Estimates, L: Array | None
    ) -> tuple[Array, Any]:
        transition = transition_at(model, mean, moment)
        joint = None if L is None else joint_factor(model, mean, L, moment)
        return transition, gain.ahead(model, mean, covariance, now, joint)

    ahead = at_once(moments, *before, filtered, None if factors is None else factors[:-1])
    last = jax.tree.map(lambda leaf: leaf[-1], filtered.covariance) if factors is None else Factor(factors[-1])
    if gain.predetermined and same_for_all(model, inputs):
        return _gains_first(model, gain, filtered, moments, before[1], ahead, last)
    return _all_together(model, gain, filtered, before, ahead, last)


def _gains_first(
    model: LinearGaussian,
    gain: AbstractSmootherGain,
    filtered: Estimates,
    moments: Moment,
    covariance: Float[Array, "time state state"] | None,
    ahead: Any,
    last: Any,
) -> Smoothed:
    """All gains and covariances, which look at no estimate; then the means.

    Behind a filter of which that holds too, all sequences of a batch share them.
    """

    def back(carry: Any, x: Any) -> Any:
        memory, smoothed = carry
        covariance, predicted, cross, (transition, ahead) = x
        unseen: Any = None
        features = SmootherFeatures(
            filtered=unseen,
            filtered_covariance=covariance,
            predicted=unseen,
            predicted_covariance=predicted,
            cross_covariance=cross,
            next_filtered=unseen,
            smoothed=unseen,
            smoothed_covariance=smoothed,
            later=unseen,
            transition=transition,
            ahead=ahead,
        )
        G, before, memory = gain(model, memory, features)
        # A covariance that came in, not the one that goes out: all of them are then arrays of the loop.
        later = None if before is None else dense(smoothed)
        return (memory, before), (G, later, None if later is None else later @ G.T)

    xs = (covariance, filtered.predicted_covariance, filtered.cross_covariance, ahead)
    carry = _started(back, (gain.init(model), last), jax.tree.map(lambda leaf: leaf[-1], xs), filtered)
    (_, initial), (G, covariances, cross) = loop(back, carry, xs, length=len(filtered.mean), reverse=True)

    @jax.vmap
    def weighed(G: Array, transition: Array, moment: Moment) -> tuple[Array, Array | None]:
        """$[I - G F, G]$, of the estimate and the smoothed state after it, and $-G B u$: no prediction is needed."""
        both = jnp.concatenate([jnp.eye(len(G), dtype=G.dtype) - G @ transition, G], axis=1)
        if moment.control is None:
            return both, None
        still = jnp.zeros(len(G), G.dtype)
        return both, -G @ unless(model.begins(moment), still, model.transit(still, moment))

    def mean_back(smoothed: Array, x: tuple[Array, tuple[Array, Array | None]]) -> tuple[Array, Array]:
        mean, (both, moved) = x
        before = jnp.concatenate([mean, smoothed]) @ both.T
        before = before if moved is None else before + moved
        return before, before

    weights = weighed(G, ahead[0], moments)
    first, rest = _first_and_rest(weights)
    smoothed, means = loop(
        mean_back, filtered.mean[-1], (filtered.mean[:-1], rest), length=len(filtered.mean) - 1, reverse=True
    )
    initial_mean, _ = mean_back(smoothed, (model.initial_mean, first))
    return assembled(filtered, initial_mean, means, dense(initial), covariances, cross)


def _all_together(
    model: AbstractModel, gain: AbstractSmootherGain, filtered: Estimates, before: Any, ahead: Any, last: Any
) -> Smoothed:
    """Means, gains and covariances step by step."""

    def back(carry: Any, x: Any) -> Any:
        memory, smoothed, later, smoothed_covariance = carry
        mean, covariance, now, (transition, ahead) = x
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
        before = mean + G @ (smoothed - now.predicted_mean)
        later_covariance = None if before_covariance is None else dense(smoothed_covariance)
        outputs = before, later_covariance, None if later_covariance is None else later_covariance @ G.T
        return (memory, before, smoothed, before_covariance), outputs

    # The step to the initial state stands by itself, so that the loop reads the filter's own arrays: to put the initial
    # state before them turns batch and time axes twice.
    initial, rest = _first_and_rest((filtered, ahead))
    initial = (*jax.tree.map(lambda leaf: leaf[0], before), *initial)
    xs = (*jax.tree.map(lambda leaf: leaf[:-1], (filtered.mean, filtered.covariance)), *rest)
    mean = filtered.mean[-1]
    carry = (gain.init(model), mean, 2 * mean - filtered.predicted_mean[-1], last)
    carry, backwards = loop(
        back, _started(back, carry, initial, filtered), xs, length=len(filtered.mean) - 1, reverse=True
    )
    (_, initial_mean, _, initial_covariance), (_, *first) = back(carry, initial)
    means, *later = backwards
    covariances, cross = jax.tree.map(lambda one, rest: jnp.concatenate([one[None], rest]), first, later)
    return assembled(filtered, initial_mean, means, dense(initial_covariance), covariances, cross)


def _started(back: Any, carry: Any, x: Any, filtered: Estimates) -> Any:
    """The first carry of a loop, whose last part is the covariance of the last estimate, as the gain holds it."""
    held = eqx.filter_eval_shape(back, carry, x)[0][-1]
    if held is None:
        return (*carry[:-1], None)  # a gain without covariances, behind a filter that has them
    if isinstance(held, Factor):
        return carry
    if filtered.covariance is None:
        raise TypeError(
            "RTSSmoother: the gain gives covariances, and the filter has none to begin from. Give the filter a readout "
            "(tracking.WithCovariance)"
        )
    return (*carry[:-1], filtered.covariance[-1])  # a gain that holds no factors, behind a filter that may


def _first_and_rest(tree: Any) -> tuple[Any, Any]:
    return jax.tree.map(lambda leaf: leaf[0], tree), jax.tree.map(lambda leaf: leaf[1:], tree)
