"""The black-box edge of tracking: recurrent networks from observations to states."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from mbdl.core import DecisionRule, Learned, RecursiveRule, loop, time_steps, unconstrained
from mbdl.networks import GRU, Linear

from .inputs import as_inputs, declared, why_refused
from .standardisation import Standardisation


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
        standardisation: the scales of observations and states, `Standardisation.of(observations, states)`; it counts as
            known. None by default: the network sees and gives the numbers as they are.
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
    standardisation: Standardisation | None

    def __init__(
        self,
        observation_size: int,
        state_size: int,
        *,
        control_size: int = 0,
        hidden_size: int = 64,
        standardisation: Standardisation | None = None,
        dtype: DTypeLike = jnp.float32,
        key: PRNGKeyArray,
    ):
        unit_key, out_key = jax.random.split(key)
        unit = GRU(2 * observation_size + control_size, hidden_size, dtype=dtype, key=unit_key)
        out = Linear(hidden_size, state_size, scale=0.5**0.5, dtype=dtype, key=out_key)
        self.network = Learned((unit, out), unconstrained, ("network",))
        self.standardisation = standardisation

    def init(self) -> Float[Array, " hidden"]:
        unit, _ = self.network
        return jnp.zeros(unit.hidden_size, unit.hidden_weight.dtype)

    def step(self, memory: Float[Array, " hidden"], x: Any) -> tuple[Float[Array, " hidden"], Tracked]:
        unit, out = self.network
        hidden = unit(memory, as_vector(x, self.standardisation))
        return hidden, Tracked(_in_units(out(hidden), self.standardisation))

    def valid(self, x: Any) -> Bool[Array, ""]:
        return declared(x)

    def why_invalid(self, x: Any) -> str:
        return why_refused(x)


class BidirectionalTracker(DecisionRule):
    r"""Two recurrent networks, one forward and one backward in time, from observations to smoothed states, which know
    no model: $\hat s_t = W [\overrightarrow{h}_t, \overleftarrow{h}_t] + b$.

    Args:
        observation_size: the number of components of an observation.
        state_size: that of a state.
        control_size: that of a control, zero where there is none.
        hidden_size: the size of each recurrent unit.
        standardisation: the scales of observations and states, `Standardisation.of(observations, states)`; it counts as
            known. None by default: the network sees and gives the numbers as they are.
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
    standardisation: Standardisation | None

    def __init__(
        self,
        observation_size: int,
        state_size: int,
        *,
        control_size: int = 0,
        hidden_size: int = 64,
        standardisation: Standardisation | None = None,
        dtype: DTypeLike = jnp.float32,
        key: PRNGKeyArray,
    ):
        size = 2 * observation_size + control_size
        keys = jax.random.split(key, 3)
        units = tuple(GRU(size, hidden_size, dtype=dtype, key=k) for k in keys[:2])
        out = Linear(2 * hidden_size, state_size, scale=0.5**0.5, dtype=dtype, key=keys[2])
        self.network = Learned((*units, out), unconstrained, ("network",))
        self.standardisation = standardisation

    def decide(self, xs: Any) -> Tracked:
        forward, backward, out = self.network
        seen = jax.vmap(lambda x: as_vector(x, self.standardisation))(as_inputs(xs))
        ahead, back = over_time(forward, seen), over_time(backward, seen[::-1])[::-1]
        standard = jax.vmap(out)(jnp.concatenate([ahead, back], axis=1))
        return Tracked(jax.vmap(lambda state: _in_units(state, self.standardisation))(standard))

    def valid(self, x: Any) -> Bool[Array, ""]:
        return declared(x)

    def why_invalid(self, x: Any) -> str:
        return why_refused(x)


def as_vector(x: Any, standardisation: Standardisation | None = None) -> Float[Array, " size"]:
    """What a network sees of one input: the observation, which components of it are present, and the control."""
    inputs = as_inputs(x)
    observation, mask = inputs.observation, inputs.present
    if standardisation is not None:
        observation = standardisation.observation(observation)
        observation = observation if mask is None else jnp.where(mask, observation, 0.0)
    present = jnp.ones_like(observation) if mask is None else mask.astype(observation.dtype)
    parts = [observation, present, *([] if inputs.control is None else [inputs.control])]
    return jnp.concatenate(parts)


def _in_units(standard: Float[Array, " state"], standardisation: Standardisation | None) -> Float[Array, " state"]:
    return standard if standardisation is None else standardisation.state(standard)


def over_time(unit: GRU, xs: Float[Array, "time size"]) -> Float[Array, "time hidden"]:
    """The hidden states of a unit along a sequence."""

    def step(hidden: Array, x: Array) -> tuple[Array, Array]:
        hidden = unit(hidden, x)
        return hidden, hidden

    first = jnp.zeros(unit.hidden_size, unit.hidden_weight.dtype)
    return loop(step, first, xs, length=time_steps(xs, "BidirectionalTracker"))[1]
