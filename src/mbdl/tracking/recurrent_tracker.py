"""The black-box edge of tracking: recurrent networks from observations to states."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from mbdl.core import DecisionRule, Learned, RecursiveRule, all_finite, loop, time_steps, unconstrained
from mbdl.networks import GRU, Linear

from .inputs import as_inputs


class Tracked(eqx.Module):
    r"""The estimates of a tracker without a model: means alone.

    Attributes:
        mean: $\hat s_t$, `[time state]`.
    """

    mean: Float[Array, "*time state"]


class RecurrentTracker(RecursiveRule):
    r"""A recurrent network from observations to states, which knows no model:
    $$h_t = \mathrm{GRU}(h_{t-1}, y_t), \qquad \hat s_t = W h_t + b.$$

    It takes the inputs that filters take: where it was made for controls, they are given to the network too, and what
    is missing is zero, with the mask beside it.

    Args:
        observation_size: the number of components of an observation.
        state_size: that of a state.
        control_size: that of a control, zero where there is none.
        hidden_size: the size of the recurrent unit.
        dtype: floating-point type of the parameters.
        key: a JAX random key.

    Returns:
        when it is called on a sequence, `Tracked`.

    Raises:
        ValueError: when it runs, for inputs of other sizes.

    Differentiable in: the inputs and the network's arrays.

    >>> import jax, jax.numpy as jnp, mbdl
    >>> from mbdl import tracking
    >>> tracker = tracking.RecurrentTracker(1, 2, key=jax.random.key(0))
    >>> tracker(jnp.ones((5, 1))).mean.shape, mbdl.spectrum(tracker).strategy
    ((5, 2), 'black box')
    """

    network: Any

    def __init__(
        self,
        observation_size: int,
        state_size: int,
        *,
        control_size: int = 0,
        hidden_size: int = 64,
        dtype: DTypeLike = jnp.float32,
        key: PRNGKeyArray,
    ):
        unit_key, out_key = jax.random.split(key)
        unit = GRU(2 * observation_size + control_size, hidden_size, dtype=dtype, key=unit_key)
        out = Linear(hidden_size, state_size, scale=0.5**0.5, dtype=dtype, key=out_key)
        self.network = Learned((unit, out), unconstrained, ("network",))

    def init(self) -> Float[Array, " hidden"]:
        unit, _ = self.network
        return jnp.zeros(unit.hidden_size, unit.hidden_weight.dtype)

    def step(self, memory: Float[Array, " hidden"], x: Any) -> tuple[Float[Array, " hidden"], Tracked]:
        unit, out = self.network
        hidden = unit(memory, as_vector(x))
        return hidden, Tracked(out(hidden))

    def valid(self, x: Any) -> Bool[Array, ""]:
        return all_finite(as_inputs(x))


class BidirectionalTracker(DecisionRule):
    r"""Two recurrent networks, one forward and one backward in time, from observations to smoothed states, which know
    no model: $\hat s_t = W [\overrightarrow{h}_t, \overleftarrow{h}_t] + b$.

    Args:
        observation_size: the number of components of an observation.
        state_size: that of a state.
        control_size: that of a control, zero where there is none.
        hidden_size: the size of each recurrent unit.
        dtype: floating-point type of the parameters.
        key: a JAX random key.

    Returns:
        when it is called on a sequence, `Tracked`.

    Raises:
        ValueError: when it runs, for inputs of other sizes.

    Differentiable in: the inputs and the network's arrays.

    >>> import jax, jax.numpy as jnp
    >>> from mbdl import tracking
    >>> tracking.BidirectionalTracker(1, 2, key=jax.random.key(0))(jnp.ones((5, 1))).mean.shape
    (5, 2)
    """

    network: Any

    def __init__(
        self,
        observation_size: int,
        state_size: int,
        *,
        control_size: int = 0,
        hidden_size: int = 64,
        dtype: DTypeLike = jnp.float32,
        key: PRNGKeyArray,
    ):
        size = 2 * observation_size + control_size
        keys = jax.random.split(key, 3)
        units = tuple(GRU(size, hidden_size, dtype=dtype, key=k) for k in keys[:2])
        out = Linear(2 * hidden_size, state_size, scale=0.5**0.5, dtype=dtype, key=keys[2])
        self.network = Learned((*units, out), unconstrained, ("network",))

    def decide(self, xs: Any) -> Tracked:
        forward, backward, out = self.network
        seen = jax.vmap(as_vector)(as_inputs(xs))
        ahead, back = over_time(forward, seen), over_time(backward, seen[::-1])[::-1]
        return Tracked(jax.vmap(out)(jnp.concatenate([ahead, back], axis=1)))

    def valid(self, x: Any) -> Bool[Array, ""]:
        return all_finite(as_inputs(x))


def as_vector(x: Any) -> Float[Array, " size"]:
    """What a network sees of one input: the observation, which components of it are present, and the control."""
    inputs = as_inputs(x)
    observation = inputs.observation
    present = jnp.ones_like(observation) if inputs.present is None else inputs.present.astype(observation.dtype)
    parts = [observation, present, *([] if inputs.control is None else [inputs.control])]
    return jnp.concatenate(parts)


def over_time(unit: GRU, xs: Float[Array, "time size"]) -> Float[Array, "time hidden"]:
    """The hidden states of a unit along a sequence."""

    def step(hidden: Array, x: Array) -> tuple[Array, Array]:
        hidden = unit(hidden, x)
        return hidden, hidden

    first = jnp.zeros(unit.hidden_size, unit.hidden_weight.dtype)
    return loop(step, first, xs, length=time_steps(xs, "BidirectionalTracker"))[1]
