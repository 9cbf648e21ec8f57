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


def _first() -> tracking.Moment:
    """The moment of the first observation."""
    return tracking.Moment(jnp.zeros((), jnp.int32))


def _error(data: Trajectories, case: Case, settings: Any) -> Any:
    """The squared error of what is known of the states."""
    return mbdl.supervised(data, case.loss)


def _error_along_the_way(data: Trajectories, case: Case, settings: Any) -> Any:
    """The same after each iteration, with weights that grow."""
    return mbdl.deep_supervision(data, case.loss, _growing(settings.iterations))


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
        risk: what a training makes small, for training trajectories, the case and the study's settings.
        effort: how many times as long as others of its kind it takes to find, roughly.
    """

    name: str
    title: str
    strategy: Strategy
    smooths: bool
    make: Callable[[Case, Any, PRNGKeyArray, Trajectories], Any]
    finds: Literal["nothing", "search", "few", "network"] = "nothing"
    risk: Callable[[Trajectories, Case, Any], Any] = _error
    effort: float = 1.0

    @property
    def learned(self) -> bool:
        """Whether it has training seeds."""
        return self.finds in ("few", "network")


def _noise(model: Any) -> Any:
    return model.process_noise, model.observation_noise


def _identified(case: Case, settings: Any, key: PRNGKeyArray, data: Trajectories) -> Any:
    return tracking.kalman_filter_of(tracking.least_squares(case.assumed, *data, learn=case.identified))


def _identified_smoother(case: Case, settings: Any, key: PRNGKeyArray, data: Trajectories) -> Any:
    return tracking.RTSSmoother(tracking.least_squares(case.assumed, *data, learn=case.identified))


def _learned_noise(case: Case, settings: Any, key: PRNGKeyArray, data: Trajectories) -> Any:
    return mbdl.learn(
        tracking.kalman_filter_of(case.assumed), lambda r: _noise(r.model), constraint=mbdl.positive_definite
    )


def _learned_model(case: Case, settings: Any, key: PRNGKeyArray, data: Trajectories) -> Any:
    rule = _learned_noise(case, settings, key, data)
    return rule if case.mismatch is None else mbdl.learn(rule, lambda r: case.mismatch(r.model))  # pyright: ignore


def _learned_smoother_noise(case: Case, settings: Any, key: PRNGKeyArray, data: Trajectories) -> Any:
    return mbdl.learn(
        tracking.RTSSmoother(case.assumed), lambda r: _noise(r.filter.model), constraint=mbdl.positive_definite
    )


def _learned_smoother(case: Case, settings: Any, key: PRNGKeyArray, data: Trajectories) -> Any:
    rule = _learned_smoother_noise(case, settings, key, data)
    return rule if case.mismatch is None else mbdl.learn(rule, lambda r: case.mismatch(r.filter.model))  # pyright: ignore


def _particle(case: Case, settings: Any, key: PRNGKeyArray, data: Trajectories) -> Any:
    return tracking.ParticleFilter(case.assumed, particles=settings.particles, key=key)


def _sizes(case: Case) -> tuple[int, int]:
    """Those of an observation, and of what is known of a state."""
    state = case.assumed.state_size if case.components is None else len(case.components)
    return case.assumed.observation_size(_first()), state


def _scales(data: Trajectories) -> tracking.Standardisation:
    observations, states = map(jnp.asarray, data)
    return tracking.Standardisation.of(observations, states)


def _kalmannet(case: Case, settings: Any, key: PRNGKeyArray, data: Trajectories) -> Any:
    return tracking.KalmanNet(case.assumed, key=key)


def _split(case: Case, settings: Any, key: PRNGKeyArray, data: Trajectories) -> Any:
    return tracking.SplitKalmanNet(case.assumed, key=key)


def _constant(case: Case, settings: Any, key: PRNGKeyArray, data: Trajectories) -> Any:
    return tracking.KalmanNet(case.assumed, nominal=tracking.SteadyStateGain(), key=key)


def _with_magnitude(case: Case, settings: Any, key: PRNGKeyArray, data: Trajectories) -> Any:
    """Features saturate at three standard deviations of the observation noise; the observation is of the state."""
    scale = 3 * jnp.sqrt(jnp.diagonal(case.assumed.observation_noise_at(_first())))
    features = tracking.InputFeatures(tracking.Saturation(scale), tracking.Saturation(scale))
    return tracking.KalmanNet(case.assumed, features=features, key=key)


def _rtsnet(case: Case, settings: Any, key: PRNGKeyArray, data: Trajectories, passes: Literal[1, 2] = 1) -> Any:
    return tracking.RTSNet(case.assumed, key=key, passes=passes)


def _rtsnet_twice(case: Case, settings: Any, key: PRNGKeyArray, data: Trajectories) -> Any:
    return _rtsnet(case, settings, key, data, 2)


def _recurrent(case: Case, settings: Any, key: PRNGKeyArray, data: Trajectories) -> Any:
    sizes = _sizes(case)
    return tracking.RecurrentTracker(*sizes, hidden_size=settings.width, standardisation=_scales(data), key=key)


def _bidirectional(case: Case, settings: Any, key: PRNGKeyArray, data: Trajectories) -> Any:
    sizes = _sizes(case)
    return tracking.BidirectionalTracker(*sizes, hidden_size=settings.width, standardisation=_scales(data), key=key)


def _as_observed(case: Case, settings: Any, key: PRNGKeyArray, data: Trajectories) -> Any:
    """The filter of a linear model that believes each observation."""
    model: Any = case.assumed
    return tracking.KalmanFilter(model, tracking.FixedGain(jnp.linalg.pinv(model.observation)))


def _messages(case: Case, settings: Any, key: PRNGKeyArray, data: Trajectories) -> Any:
    return tracking.MessageSmoother(case.assumed, step_size=case.step_size, iterations=settings.iterations)


def _augmented(case: Case, settings: Any, key: PRNGKeyArray, data: Trajectories) -> Any:
    return tracking.NeuralAugmentedSmoother(
        case.assumed,
        features=settings.features,
        step_size=case.step_size,
        iterations=settings.iterations,
        scale=case.step_size,  # as published, where it is
        key=key,
    )


def _graph(case: Case, settings: Any, key: PRNGKeyArray, data: Trajectories) -> Any:
    return tracking.GraphTracker(_sizes(case)[0], features=settings.features, iterations=settings.iterations, key=key)


ENTRIES: tuple[Entry, ...] = (
    Entry("observations", "observations as they are", "model-based", False, _as_observed),
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
    Entry("filter-identified", "Kalman filter, least squares", "model-based", False, _identified),
    Entry("filter-noise", "Kalman filter, learned covariances", "learned optimisation", False, _learned_noise, "few"),
    Entry("filter-model", "Kalman filter, learned model", "learned optimisation", False, _learned_model, "few"),
    Entry(
        "kalmannet",
        "KalmanNet",
        "DNN-aided",
        False,
        _kalmannet,
        "network",
    ),
    Entry("kalmannet-split", "Split-KalmanNet", "DNN-aided", False, _split, "network", effort=1.5),
    Entry(
        "kalmannet-constant",
        "KalmanNet, correcting a constant gain",
        "DNN-aided",
        False,
        _constant,
        "network",
    ),
    Entry(
        "kalmannet-magnitude",
        "KalmanNet, features with their magnitude",
        "DNN-aided",
        False,
        _with_magnitude,
        "network",
    ),
    Entry("recurrent", "recurrent network", "black box", False, _recurrent, "network", effort=0.2),
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
    Entry("smoother-identified", "smoother, least squares", "model-based", True, _identified_smoother),
    Entry("messages", "messages of the model, tuned process noise", "model-based", True, _messages, "search"),
    Entry(
        "smoother-noise",
        "smoother, learned covariances",
        "learned optimisation",
        True,
        _learned_smoother_noise,
        "few",
    ),
    Entry("smoother-model", "smoother, learned model", "learned optimisation", True, _learned_smoother, "few"),
    Entry("rtsnet", "RTSNet", "DNN-aided", True, _rtsnet, "network"),
    Entry(
        "rtsnet-2",
        "RTSNet, two passes",
        "DNN-aided",
        True,
        _rtsnet_twice,
        "network",
        effort=2.5,
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
    Entry(
        "graph",
        "graph network without messages",
        "black box",
        True,
        _graph,
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
