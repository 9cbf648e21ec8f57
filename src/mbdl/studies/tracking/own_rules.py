"""The filters that are compared on a user's own recordings: what goes with the user's model."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp

import mbdl
from mbdl import tracking
from mbdl.studies.results import Strategy
from mbdl.studies.tracking.own_settings import OwnSettings, model_of, splits

NOISES = ("process_noise", "observation_noise")


def titles(settings: OwnSettings) -> dict[str, tuple[str, Strategy]]:
    """The rules by name, with their titles and places on the spectrum.

    The unscented filter is there for a model that is not linear; a filter that learns, where the model marks something
    as learned, or else has a covariance whose numbers can be learned.
    """
    model = model_of(settings)
    linear = isinstance(mbdl.resolve(model), tracking.LinearGaussian)
    name = "Kalman filter" if linear else "extended Kalman filter"
    found: dict[str, tuple[str, Strategy]] = {"filter": (f"{name}, given covariances", "model-based")}
    if not linear:
        found["unscented"] = ("unscented filter, given covariances", "model-based")
    if what := _what_is_learned(model):
        found["filter-learned"] = (f"{name}, learned {what}", "learned optimisation")
    return {**found, "kalmannet": ("KalmanNet", "DNN-aided")}


def make_rule(settings: OwnSettings, name: str, key: Any) -> Any:
    """A rule before its training."""
    marked = model_of(settings)
    if name == "filter-learned":
        rule = tracking.kalman_filter_of(marked)
        return rule if _marks(marked) else _learned_noise(rule)
    model: Any = mbdl.resolve(marked)
    if name == "unscented":
        return tracking.UnscentedKalmanFilter(model)
    if name == "kalmannet":
        irregular = splits(settings)["train"].duration is not None  # A filter with irregular samples does not settle.
        return tracking.KalmanNet(model, key=key, nominal=tracking.KalmanGain() if irregular else None)
    return tracking.kalman_filter_of(model)


def _marks(model: tracking.AbstractModel) -> bool:
    """Whether the model itself says what is learned of it."""
    return mbdl.spectrum(tracking.kalman_filter_of(model)).learned > 0


def _what_is_learned(model: tracking.AbstractModel) -> str:
    """What a filter of the model learns, in words; empty where nothing."""
    if _marks(model):
        return "numbers of the model"
    learnable = [name for name in NOISES if _learnable(getattr(model, name, None))]
    return "covariances" if len(learnable) == len(NOISES) else "".join(learnable).replace("_", " ")


def _learnable(noise: Any) -> bool:
    """Whether the numbers of a covariance can be learned: a matrix, a factor, or a spectral density."""
    return noise is not None and (isinstance(noise, tracking.Factor | tracking.KinematicNoise) or not callable(noise))


def _learned_noise(rule: Any) -> Any:
    """The rule with what can be learned of its covariances."""
    for name in NOISES:
        noise = getattr(rule.model, name, None)
        if not _learnable(noise):
            continue
        if not isinstance(noise, tracking.Factor | tracking.KinematicNoise):
            factor = tracking.factor_of(noise)
            if bool(jnp.any(jnp.diagonal(factor) == 0)):  # singular: no matrix that stays positive definite
                noise = tracking.Factor(factor)
                rule = eqx.tree_at(lambda r, name=name: getattr(r.model, name), rule, noise)
        if isinstance(noise, tracking.Factor):
            rule = mbdl.learn(rule, lambda r, name=name: getattr(r.model, name).factor)
        elif isinstance(noise, tracking.KinematicNoise):
            rule = mbdl.learn(rule, lambda r, name=name: getattr(r.model, name).density, constraint=mbdl.positive)
        else:
            rule = mbdl.learn(rule, lambda r, name=name: getattr(r.model, name), constraint=mbdl.positive_definite)
    return rule
