"""The scales of observations and states, by which a network without a model sees numbers near one."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from mbdl.core import as_leaf
from mbdl.core.checks import finite, floating, positive


class Standardisation(eqx.Module):
    r"""Means and standard deviations of observations and states: a network sees $(y - \mu_y) / \sigma_y$, and what it
    gives is $(\hat s - \mu_s) / \sigma_s$.

    Args:
        observation_mean: $\mu_y$, `[observation]`.
        observation_deviation: $\sigma_y$, `[observation]`, positive.
        state_mean: $\mu_s$, `[state]`.
        state_deviation: $\sigma_s$, `[state]`, positive.

    Raises:
        ValueError: for values that are not finite, or deviations that are not positive.

    >>> import jax.numpy as jnp
    >>> from mbdl import tracking
    >>> observations, states = jnp.array([[[1.0], [3.0]]]), jnp.array([[[0.0], [20.0]]])
    >>> scales = tracking.Standardisation.of(observations, states)
    >>> scales.observation(jnp.array([3.0])).tolist(), scales.state(jnp.array([1.0])).tolist()
    ([1.0], [20.0])
    """

    observation_mean: Float[Array, " observation"]
    observation_deviation: Float[Array, " observation"]
    state_mean: Float[Array, " state"]
    state_deviation: Float[Array, " state"]

    def __init__(self, observation_mean: Any, observation_deviation: Any, state_mean: Any, state_deviation: Any):
        means = (floating(as_leaf(value)) for value in (observation_mean, state_mean))
        self.observation_mean, self.state_mean = (finite(value, "Standardisation: a mean") for value in means)
        deviations = (floating(as_leaf(value)) for value in (observation_deviation, state_deviation))
        self.observation_deviation, self.state_deviation = (
            positive(value, "Standardisation: a deviation") for value in deviations
        )

    @staticmethod
    def of(
        observations: Float[Array, "runs time observation"], states: Float[Array, "runs time state"]
    ) -> "Standardisation":
        """That of training data, over runs and time."""
        observations, states = jnp.asarray(observations), jnp.asarray(states)
        axes = (0, 1)
        return Standardisation(observations.mean(axes), observations.std(axes), states.mean(axes), states.std(axes))

    def observation(self, observation: Float[Array, " observation"]) -> Float[Array, " observation"]:
        """An observation in standard units."""
        return (observation - self.observation_mean) / self.observation_deviation

    def state(self, standard: Float[Array, " state"]) -> Float[Array, " state"]:
        """A state from standard units."""
        return self.state_mean + self.state_deviation * standard
