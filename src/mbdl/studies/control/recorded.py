"""Risks on recorded runs, whose states are known: the errors of a filter's estimates and of a planner's predictions."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from mbdl import control, tracking
from mbdl.core import resolve
from mbdl.training import AbstractExampleRisk


class EstimationError(AbstractExampleRisk):
    """The squared error of the filter inside a policy; made by `EstimationError.of`."""

    data: Any

    @staticmethod
    def of(runs: control.Trajectories) -> "EstimationError":
        """On some runs."""
        return EstimationError(control.sequences(runs))

    def values(self, rule: Any, batch: Any, key: PRNGKeyArray | None) -> Float[Array, " batch"]:
        inputs, states = batch
        return jax.vmap(lambda x, s: tracking.state_error(rule.filter(x), s))(inputs, states)


class PredictionError(AbstractExampleRisk):
    """The squared error of the next state that the planner inside a policy predicts, in units of the noise; made by
    `PredictionError.of`."""

    data: Any
    scale: Float[Array, " state"]

    @staticmethod
    def of(runs: control.Trajectories, scale: Float[Array, " state"]) -> "PredictionError":
        """On the transitions of some runs."""
        return PredictionError(control.transitions(runs), scale)

    def values(self, rule: Any, batch: Any, key: PRNGKeyArray | None) -> Float[Array, " batch"]:
        predict = control.Prediction(resolve(rule).controller.solver.system)
        moves, following = batch
        return jax.vmap(lambda x, s: jnp.mean(((predict.decide(x) - s) / self.scale) ** 2))(moves, following)
