"""The rules that are compared, in the order of the spectrum: filters first, then smoothers."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

import mbdl
from mbdl import tracking
from mbdl.studies.results import Strategy
from mbdl.studies.tracking.case import Case, Trajectories


def _error(data: Trajectories, settings: Any) -> Any:
    """The squared error of the states."""
    return mbdl.supervised(data, tracking.state_error)


def _error_along_the_way(data: Trajectories, settings: Any) -> Any:
    """The same after each iteration, with weights that grow."""
    return mbdl.deep_supervision(data, tracking.state_error, _growing(settings.iterations))


@functools.cache
def _growing(iterations: int) -> Callable[[int], float]:
    """The weights of the iterations; the same object for the same number, so that `fit` compiles once."""
    return lambda k: 2 * (k + 1) / iterations**2


@dataclass(frozen=True)
class Entry:
    """One rule of the comparison.

    Args:
        name: that of its files.
        title: what tables call it.
        strategy: where it stands on the spectrum.
        smooths: whether it sees the whole trajectory before it decides.
        make: builds it, untuned and untrained, for a case, the study's settings, a key, and the training trajectories,
            from which a rule without a model takes the scales of its numbers.
        finds: what is found on the training data: nothing, one number by `search`, a `few` numbers by gradient, or a
            `network`.
        risk: what a training makes small, for training trajectories and the study's settings.
        effort: how many times as long as others of its kind it takes to find, roughly.
    """

    name: str
    title: str
    strategy: Strategy
    smooths: bool
    make: Callable[[Case, Any, PRNGKeyArray, Trajectories], Any]
    finds: Literal["nothing", "search", "few", "network"] = "nothing"
    risk: Callable[[Trajectories, Any], Any] = _error
    effort: float = 1.0

    @property
    def learned(self) -> bool:
        """Whether it has training seeds."""
        return self.finds in ("few", "network")


def _noise(model: Any) -> Any:
    return model.process_noise, model.observation_noise


def _learned_noise(case: Case, settings: Any, key: PRNGKeyArray, data: Trajectories) -> Any:
    return mbdl.learn(
        tracking.kalman_filter_of(case.assumed), lambda r: _noise(r.model), constraint=mbdl.positive_definite
    )


def _learned_model(case: Case, settings: Any, key: PRNGKeyArray, data: Trajectories) -> Any:
    rule = _learned_noise(case, settings, key, data)
    return rule if case.mismatch is None else mbdl.learn(rule, lambda r: case.mismatch(r.model))  # pyright: ignore


def _learned_smoother(case: Case, settings: Any, key: PRNGKeyArray, data: Trajectories) -> Any:
    rule = mbdl.learn(
        tracking.RTSSmoother(case.assumed), lambda r: _noise(r.filter.model), constraint=mbdl.positive_definite
    )
    return rule if case.mismatch is None else mbdl.learn(rule, lambda r: case.mismatch(r.filter.model))  # pyright: ignore


def _particle(case: Case, settings: Any, key: PRNGKeyArray, data: Trajectories) -> Any:
    return tracking.ParticleFilter(case.assumed, particles=settings.particles, key=key)


def _sizes(case: Case) -> tuple[int, int]:
    return case.assumed.observation_size(tracking.Moment(jnp.zeros((), jnp.int32))), case.assumed.state_size


def _scales(data: Trajectories) -> tracking.Standardisation:
    observations, states = map(jnp.asarray, data)
    return tracking.Standardisation.of(observations, states)


def _recurrent(case: Case, settings: Any, key: PRNGKeyArray, data: Trajectories) -> Any:
    sizes = _sizes(case)
    return tracking.RecurrentTracker(*sizes, hidden_size=settings.width, standardisation=_scales(data), key=key)


def _bidirectional(case: Case, settings: Any, key: PRNGKeyArray, data: Trajectories) -> Any:
    sizes = _sizes(case)
    return tracking.BidirectionalTracker(*sizes, hidden_size=settings.width, standardisation=_scales(data), key=key)


def _augmented(case: Case, settings: Any, key: PRNGKeyArray, data: Trajectories) -> Any:
    return tracking.NeuralAugmentedSmoother(
        case.assumed, features=settings.features, iterations=settings.iterations, key=key
    )


ENTRIES: tuple[Entry, ...] = (
    Entry(
        "filter-true",
        "Kalman filter, true model",
        "model-based",
        False,
        lambda c, s, k, d: tracking.kalman_filter_of(c.truth),
    ),
    Entry("filter", "Kalman filter", "model-based", False, lambda c, s, k, d: tracking.kalman_filter_of(c.assumed)),
    Entry(
        "unscented",
        "unscented filter",
        "model-based",
        False,
        lambda c, s, k, d: tracking.UnscentedKalmanFilter(c.assumed),
    ),
    Entry("particle", "particle filter", "model-based", False, _particle),
    Entry(
        "filter-tuned",
        "Kalman filter, tuned process noise",
        "model-based",
        False,
        lambda c, s, k, d: tracking.kalman_filter_of(c.assumed),
        "search",
    ),
    Entry("filter-noise", "Kalman filter, learned covariances", "learned optimisation", False, _learned_noise, "few"),
    Entry("filter-model", "Kalman filter, learned model", "learned optimisation", False, _learned_model, "few"),
    Entry(
        "kalmannet",
        "KalmanNet",
        "DNN-aided",
        False,
        lambda c, s, k, d: tracking.KalmanNet(c.assumed, key=k),
        "network",
    ),
    Entry("recurrent", "recurrent network", "black box", False, _recurrent, "network"),
    Entry(
        "smoother-true", "smoother, true model", "model-based", True, lambda c, s, k, d: tracking.RTSSmoother(c.truth)
    ),
    Entry("smoother", "smoother", "model-based", True, lambda c, s, k, d: tracking.RTSSmoother(c.assumed)),
    Entry(
        "smoother-tuned",
        "smoother, tuned process noise",
        "model-based",
        True,
        lambda c, s, k, d: tracking.RTSSmoother(c.assumed),
        "search",
    ),
    Entry("smoother-model", "smoother, learned model", "learned optimisation", True, _learned_smoother, "few"),
    Entry("rtsnet", "RTSNet", "DNN-aided", True, lambda c, s, k, d: tracking.RTSNet(c.assumed, key=k), "network"),
    Entry(
        "rtsnet-2",
        "RTSNet, two passes",
        "DNN-aided",
        True,
        lambda c, s, k, d: tracking.RTSNet(c.assumed, key=k, passes=2),
        "network",
    ),
    Entry(
        "augmented",
        "neural-augmented smoother",
        "DNN-aided",
        True,
        _augmented,
        "network",
        _error_along_the_way,
        effort=9.0,
    ),
    Entry("bidirectional", "bidirectional recurrent network", "black box", True, _bidirectional, "network"),
)

BY_NAME = {entry.name: entry for entry in ENTRIES}
"""The rules by name."""


def entries(case: Case) -> tuple[Entry, ...]:
    """The rules that are compared in a case, in the order of the spectrum."""
    return tuple(entry for entry in ENTRIES if entry.name in case.rules)
