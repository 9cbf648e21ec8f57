"""One condition of a tracking study: the system as it is, and the model of it that the rules are given."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from mbdl import tracking
from mbdl.studies.study import Run
from mbdl.tracking import AbstractModel, Simulated


@dataclass(frozen=True)
class Case:
    """A condition.

    Args:
        name: that of its files and columns.
        title: what tables call it.
        truth: the model that trajectories are drawn from.
        assumed: the model that the rules are given.
        steps: the length of a training trajectory; of every trajectory that `truth` draws.
        rules: the names of the rules that are compared in it.
        mismatch: selects, in the assumed model, what is wrong in it and might be learned; `None` where nothing is.
        samples: draws trajectories in the place of `truth`, from a key, a number of runs and the name of the split.
        runs: how many trajectories there are of a split, where that is not what the settings say.
        published: published errors in dB by rule.
        level: 1/r² in dB, where the case is a point of the curve of errors by level.
        drawn: whether a trajectory of it is drawn.
    """

    name: str
    title: str
    truth: AbstractModel
    assumed: AbstractModel
    steps: int
    rules: tuple[str, ...]
    mismatch: Callable[[Any], Any] | None = None
    samples: Callable[[PRNGKeyArray, int, str], Simulated] | None = None
    runs: Mapping[str, int] = field(default_factory=dict)
    published: Mapping[str, float] = field(default_factory=dict)
    level: float | None = None
    drawn: bool = True

    @property
    def linear(self) -> bool:
        """Whether the assumed model is linear."""
        return isinstance(self.assumed, tracking.LinearGaussian)


Trajectories = tuple[Float[np.ndarray, "runs time observation"], Float[np.ndarray, "runs time state"]]


def trajectories(run: Run, case: Case, split: str) -> Trajectories:
    """The trajectories of a split: observations and states. Those of the test are the same for every training seed."""

    def make() -> Trajectories:
        runs = case.runs.get(split, getattr(run.settings, f"{split}_runs"))
        key = run.key("trajectories", case.name, split)
        if case.samples is not None:
            drawn = case.samples(key, runs, split)
        else:
            drawn = tracking.simulate(case.truth, key, steps=case.steps, runs=runs)
        return np.asarray(drawn.observations), np.asarray(drawn.states)

    return run.remember(f"{case.name} {split}", make)


def decibels(errors: Float[np.ndarray, " runs"]) -> dict[str, float]:
    r"""The mean squared error of trajectories in dB, with the standard error over trajectories.

    $10 \log_{10} \bar e$ with the error $\frac{10}{\ln 10} \, s / (\bar e \sqrt n)$.
    """
    mean = float(np.mean(errors))
    spread = float(np.std(errors, ddof=1)) / np.sqrt(len(errors)) if len(errors) > 1 else 0.0
    return {"value": round(10 * np.log10(mean), 4), "error": round(10 / np.log(10) * spread / mean, 4)}


def gain_in_decibels(better: Float[np.ndarray, " runs"], worse: Float[np.ndarray, " runs"]) -> dict[str, float]:
    """By how many dB the error of one rule is below another's, paired by trajectory, with its standard error."""
    relative = worse / np.mean(worse) - better / np.mean(better)
    spread = float(np.std(relative, ddof=1)) / np.sqrt(len(relative)) if len(relative) > 1 else 0.0
    value = 10 * np.log10(np.mean(worse) / np.mean(better))
    return {"value": round(float(value), 4), "error": round(float(10 / np.log(10) * spread), 4)}


def squared_errors(rule: Any, observations: Any, states: Any, batch: int = 200) -> Float[np.ndarray, " runs"]:
    """The squared error of each trajectory, in the mean over time and components."""
    parts = range(0, len(states), batch)
    found = [_errors(rule, observations[i : i + batch], states[i : i + batch]) for i in parts]
    return np.concatenate([np.asarray(part, np.float64) for part in found])


@eqx.filter_jit
def _errors(rule: Any, observations: Any, states: Any) -> Any:
    return jax.vmap(lambda y, s: tracking.state_error(rule(y), s))(jnp.asarray(observations), jnp.asarray(states))
