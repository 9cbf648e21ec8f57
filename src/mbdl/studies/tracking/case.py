"""One condition of a tracking study: the system as it is, and the model of it that the rules are given."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from mbdl import tracking
from mbdl.studies.study import Run
from mbdl.tracking import AbstractModel, Simulated
from mbdl.tracking.identification import Identified


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
        identified: what of it the rules find that go by least squares, in the names of `tracking.least_squares`.
        samples: draws trajectories in the place of `truth`, from a key, a number of runs and the name of the split.
        runs: how many trajectories there are of a split, where that is not what the settings say.
        published: published errors in dB by rule.
        level: 1/r² in dB, where the case is a point of the curve of errors by level.
        samples_known: how many samples the rules are found on, where the case is a point of the curve of errors by
            their number.
        drawn: whether a trajectory of it is drawn.
        drawn_steps: how much of it.
        shown: the rules whose estimates are drawn, where they are not the usual ones.
        components: the components of the state that are known and count, in all models and rules of the case the same;
            all of them by default.
        searched: the splits on which single numbers are searched.
        given: rules that are given the model as another rule of the case has tuned it, with the name of that one.
        step_size: that of smoothers that pass messages, which scales learned corrections too; by default what the
            model implies, and corrections as they are.
        network_rate: the first learning rate of networks, where it is not that of the settings.
        test: the name under which the test trajectories are drawn, for cases that share them; by default its own.
    """

    name: str
    title: str
    truth: AbstractModel
    assumed: AbstractModel
    steps: int
    rules: tuple[str, ...]
    mismatch: Callable[[Any], Any] | None = None
    identified: tuple[Identified, ...] = ()
    samples: Callable[[PRNGKeyArray, int, str], Simulated] | None = None
    runs: Mapping[str, int] = field(default_factory=dict)
    published: Mapping[str, float] = field(default_factory=dict)
    level: float | None = None
    samples_known: int | None = None
    drawn: bool = True
    drawn_steps: int = 1000
    shown: tuple[str, ...] = ()
    components: tuple[int, ...] | None = None
    searched: tuple[str, ...] = ("train",)
    given: Mapping[str, str] = field(default_factory=dict)
    step_size: float | None = None
    network_rate: float | None = None
    test: str | None = None

    @property
    def loss(self) -> Callable[[Any, Any], Any]:
        """The squared error of what is known of the states; the same object for the same components, so that `fit`
        compiles once."""
        return tracking.state_error if self.components is None else _error_of(self.components)

    def known(self, estimates: Any) -> Any:
        """What estimates say of the components that count, `[time component]`."""
        return _known(estimates, self.components)

    def with_model(self, model: AbstractModel) -> "Case":
        """The case in which the rules are given another model."""
        return replace(self, assumed=model)


def _known(estimates: Any, components: tuple[int, ...] | None) -> Any:
    mean = estimates if isinstance(estimates, jax.Array | np.ndarray) else estimates.mean
    if components is None or mean.shape[-1] == len(components):  # the latter of a rule that estimates nothing else
        return mean
    return mean[..., jnp.asarray(components)]


@functools.cache
def _error_of(components: tuple[int, ...]) -> Callable[[Any, Any], Any]:
    return lambda estimates, known: tracking.state_error(_known(estimates, components), known)


def model_of(rule: Any) -> Any:
    """The model that a filter or a smoother holds."""
    return rule.filter.model if isinstance(rule, tracking.RTSSmoother) else rule.model


Trajectories = tuple[Float[np.ndarray, "runs time observation"], Float[np.ndarray, "runs time state"]]


def trajectories(run: Run, case: Case, split: str) -> Trajectories:
    """The trajectories of a split: observations, and what is known of the states. Those of the test are the same for
    every training seed."""
    name = (case.test or case.name) if split == "test" else case.name

    def make() -> Trajectories:
        runs = case.runs[split] if split in case.runs else getattr(run.settings, f"{split}_runs")
        key = run.key("trajectories", name, split)
        if case.samples is not None:
            drawn = case.samples(key, runs, split)
        else:
            drawn = tracking.simulate(case.truth, key, steps=case.steps, runs=runs)
        states = np.asarray(drawn.states)
        known = states if case.components is None else states[..., list(case.components)]
        return np.asarray(drawn.observations), known

    return run.remember(f"{name} {split}", make)


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


def squared_errors(
    case: Case, rule: Any, observations: Any, states: Any, batch: int = 200
) -> Float[np.ndarray, " runs"]:
    """The squared error of each trajectory, in the mean over time and components."""
    parts = range(0, len(states), batch)
    found = [_errors(rule, observations[i : i + batch], states[i : i + batch], case.loss) for i in parts]
    return np.concatenate([np.asarray(part, np.float64) for part in found])


@eqx.filter_jit
def _errors(rule: Any, observations: Any, states: Any, loss: Callable[[Any, Any], Any]) -> Any:
    return jax.vmap(lambda y, s: loss(rule(y), s))(jnp.asarray(observations), jnp.asarray(states))
