"""Filtering a whole sequence: step by step, or first all gains and then the means where the model determines them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mbdl.core import loop, reads, time_steps

from .estimates import Estimates
from .gain import AbstractGain, Features, Uncertainty
from .inputs import Inputs, Moment, as_inputs
from .linear import LinearGaussian, same_for_all
from .linearised import FilterMemory, linearised_step
from .model import AbstractModel
from .steady_state import varying_parameters
from .steps import checked, estimates_of, unless, zero_if


class Gains(NamedTuple):
    r"""The gains of a sequence; all arrays have a leading time axis.

    Attributes:
        gain: $K_t$, `[time state observation]`.
        moved: $(I - K_t H_t) F_t$, `[time state state]`.
        uncertainty: the covariances that go with them, or `None`.
        memory: the gain's memory after each observation.
    """

    gain: Float[Array, "time state observation"]
    moved: Float[Array, "time state state"]
    uncertainty: Uncertainty | None
    memory: Any


def filtered_through(
    model: AbstractModel,
    gain: AbstractGain,
    memory: FilterMemory,
    xs: Any,
    keep: Callable[[Any], Any],
    relinearisations: int = 0,
) -> tuple[FilterMemory, Estimates, Any]:
    """A sequence through a filter that knows the model to first order.

    Args:
        model: the state-space model.
        gain: what weighs the innovations.
        memory: that before the sequence.
        xs: `Inputs`, or bare observations.
        keep: what is kept of the gain's memory after each observation.
        relinearisations: as `linearised_step` takes them.

    Returns:
        the last memory, the `Estimates`, and what is kept, stacked.
    """
    length, inputs = time_steps(xs, "a filter"), as_inputs(xs)
    if gain.predetermined and not relinearisations and same_for_all(model, inputs) and _known_before(model, inputs):
        memory, estimates, memories = _means_after_gains(model, gain, memory, inputs, length)
        return memory, estimates, jax.vmap(keep, axis_size=length)(memories)

    prepared = gain.prepared()

    def step(memory: FilterMemory, x: Any) -> tuple[FilterMemory, tuple[Estimates, Any]]:
        memory, estimates = linearised_step(model, prepared, memory, x, relinearisations)
        return memory, (estimates, keep(memory.gain))

    memory, (estimates, kept) = loop(step, memory, inputs, length=length)
    return memory, estimates, kept


def _known_before(model: LinearGaussian, inputs: Inputs) -> bool:
    """Whether no matrix of the model looks at the control."""
    if inputs.control is None:
        return True

    def matrices(control: Array) -> Any:
        moment, still = Moment(jnp.zeros((), jnp.int32), control), jnp.zeros_like(model.initial_mean)
        maps = model.transit_jacobian(still, moment), model.observe_jacobian(still, moment)
        return maps, model.process_noise_at(moment), model.observation_noise_at(moment)

    return not reads(matrices, inputs.control[0])[0]


def _means_after_gains(
    model: LinearGaussian, gain: AbstractGain, memory: FilterMemory, inputs: Inputs, length: int
) -> tuple[FilterMemory, Estimates, Any]:
    r"""A sequence whose gains are known before it.

    A step in time is one product, $[(I - K_t H_t) F_t, K_t] [\hat s_{t-1}; y_t] + (I - K_t H_t) B u_t$, whose matrix
    all sequences of a batch share; all else is computed for all times at once.
    """
    checked(model, jax.tree.map(lambda leaf: leaf[0], inputs))
    gains = gains_of(model, gain, memory.gain, memory.time, length)
    moments = Moment(memory.time + jnp.arange(length, dtype=memory.time.dtype), inputs.control)
    weights = jnp.concatenate([gains.moved, gains.gain], axis=2).mT
    driven = None if inputs.control is None else jax.vmap(_driven, (None, 0, 0))(model, gains.gain, moments)

    def step(mean: Array, x: Any) -> tuple[Array, Array]:
        weights, observation, driven = x
        mean = jnp.concatenate([mean, observation]) @ weights
        mean = mean if driven is None else mean + driven
        return mean, mean

    last, means = loop(step, memory.mean, (weights, inputs.observation, driven), length=length)
    before = jnp.concatenate([memory.mean[None], means[:-1]])

    @jax.vmap
    def told(before: Array, mean: Array, inputs: Inputs, uncertainty: Uncertainty | None, moment: Moment) -> Estimates:
        predicted = unless(model.begins(moment), before, model.transit(before, moment))
        innovation = model.innovation(inputs.observation, model.observe(predicted, moment))
        return estimates_of(mean, predicted, innovation, uncertainty, inputs)

    estimates = told(before, means, inputs, gains.uncertainty, moments)
    kept = jax.tree.map(lambda leaf: leaf[-1], gains.memory)
    return FilterMemory(memory.time + length, last, kept), estimates, gains.memory


def gains_of(model: LinearGaussian, gain: AbstractGain, memory: Any, time: Int[Array, ""], length: int) -> Gains:
    """The gains of `length` times from one on.

    Where no matrix of the model depends on the time, none is computed any more once the gain's memory has settled to
    rounding. Their derivatives are those of all of them.
    """
    if varying_parameters(model):
        return _each(model, gain, memory, time, length=length)
    return _until_settled(model, gain, memory, time, length=length)


def _each(model: LinearGaussian, gain: AbstractGain, memory: Any, time: Int[Array, ""], *, length: int) -> Gains:
    def step(memory: Any, number: Array) -> tuple[Any, Gains]:
        gains = _gain_at(model, gain, memory, time + number)
        return gains.memory, gains

    return loop(step, memory, jnp.arange(length, dtype=time.dtype), length=length)[1]


@eqx.filter_custom_jvp
def _until_settled(
    model: LinearGaussian, gain: AbstractGain, memory: Any, time: Int[Array, ""], *, length: int
) -> Gains:
    first = _gain_at(model, gain, memory, time)
    found = jax.tree.map(lambda leaf: jnp.zeros((length, *leaf.shape), leaf.dtype).at[0].set(leaf), first)

    def unsettled(state: Any) -> Array:
        count, settled, _, _ = state
        return (count < length) & ~settled

    def step(state: Any) -> Any:
        count, _, before, found = state
        now = _gain_at(model, gain, before, time + count)
        found = jax.tree.map(lambda all, one: all.at[count].set(one), found, now)
        return count + 1, gain.settled(before, now.memory), now.memory, found

    begin = jnp.ones((), time.dtype), jnp.zeros((), bool), first.memory, found
    count, _, _, found = jax.lax.while_loop(unsettled, step, begin)
    later = jnp.arange(length) >= count

    def filled(all: Array) -> Array:
        return jnp.where(later.reshape(-1, *(1,) * (all.ndim - 1)), all[count - 1], all)

    return jax.tree.map(filled, found)


@_until_settled.def_jvp
def _(primals: Any, tangents: Any, *, length: int) -> Any:
    # While a gain settles its derivative need not have: with P0 at the fixed point all of it is still to come.
    def each(*arguments: Any) -> Gains:
        return _each(*arguments, length=length)

    return eqx.filter_jvp(each, primals, tangents)


def _gain_at(model: LinearGaussian, gain: AbstractGain, memory: Any, time: Int[Array, ""]) -> Gains:
    """The gain of one time. It looks at no estimate and no observation."""
    moment = Moment(time)
    begins, nothing = model.begins(moment), jnp.zeros_like(model.initial_mean)
    F, H = model.transit_jacobian(nothing, moment), model.observe_jacobian(nothing, moment)
    unseen = jnp.zeros(len(H), F.dtype)
    features = Features(
        previous=nothing,
        predicted=nothing,
        observation=unseen,
        expected=unseen,
        present=None,
        transition=unless(begins, jnp.eye(len(F), dtype=F.dtype), F),
        observation_map=H,
        process_noise=zero_if(begins, model.process_noise_at(moment)),
        observation_noise=model.observation_noise_at(moment),
    )
    return Gains(*gain.shared(model, memory, features))


def _driven(model: LinearGaussian, K: Array, moment: Moment) -> Float[Array, " state"]:
    r"""What a control adds to an estimate, $(I - K H) B u$."""
    still = jnp.zeros_like(model.initial_mean)
    driven = unless(model.begins(moment), still, model.transit(still, moment))
    return driven - K @ (model.observe_jacobian(still, moment) @ driven)
