"""The rules, from the model's end of the spectrum to the data's."""

from typing import Any

import equinox as eqx
import jax

import mbdl
from mbdl.core import DecisionRule, Learned, PerLayer
from mbdl.inverse import (
    ADMM,
    FISTA,
    L1,
    AbstractOperator,
    DenoiserPrior,
    Interpolated,
    LeastSquares,
    Reflected,
    TotalVariation,
    Wavelet,
)
from mbdl.networks import CoarseDenoiser, NetworkRule, UpsampleCNN
from mbdl.studies.super_resolution.settings import Settings


def total_variation(
    settings: Settings, operator: AbstractOperator, weight: Any, iterations: int | None = None
) -> FISTA:
    """Model-based: FISTA on least squares with total variation."""
    return FISTA(
        LeastSquares(operator),
        TotalVariation(weight, settings.tv_inner),
        iterations=settings.tv_iterations if iterations is None else iterations,
        initial=Interpolated(settings.scale),
    )


def wavelets(settings: Settings, operator: AbstractOperator, weight: Any, iterations: int | None = None) -> FISTA:
    """Model-based: FISTA on least squares with sparse wavelet coefficients."""
    return FISTA(
        LeastSquares(operator),
        L1(weight, Wavelet(settings.wavelet, settings.wavelet_levels)),
        iterations=settings.wavelet_iterations if iterations is None else iterations,
        initial=Interpolated(settings.scale),
    )


def learned_weights(settings: Settings, operator: AbstractOperator, weight: float) -> FISTA:
    """Learned optimisation: few iterations of the same solver, its weight and its step size learned."""
    return mbdl.learn(
        _few_iterations(settings, operator, weight, settings.learned_iterations), _weights, constraint=mbdl.positive
    )


def unfolded_weights(settings: Settings, operator: AbstractOperator, weight: float) -> FISTA:
    """Deep unfolding of numbers: each iteration has its own weight and step size."""
    solver = _few_iterations(settings, operator, weight, settings.unfolded_iterations)
    return mbdl.unfold(solver, settings.unfolded_iterations, untie=_weights, constraint=mbdl.positive)


def _few_iterations(settings: Settings, operator: AbstractOperator, weight: float, iterations: int) -> FISTA:
    return FISTA(
        LeastSquares(operator),
        TotalVariation(weight, settings.learned_inner),
        iterations=iterations,
        initial=Interpolated(settings.scale),
    )


def _weights(solver: FISTA) -> Any:
    return solver.step_size, solver.prior.weight  # pyright: ignore[reportAttributeAccessIssue]


def unfolded_prox(settings: Settings, operator: AbstractOperator, key: Any) -> ADMM:
    """Deep unfolding of networks: few iterations of ADMM, each with its own penalty and a network as its prox."""
    solver = ADMM(
        LeastSquares(operator),
        TotalVariation(settings.noise**2),
        penalty=first_penalty(settings),
        iterations=settings.layers,
        initial=Interpolated(settings.scale),
    )
    unfolded = mbdl.unfold(solver, settings.layers, untie=lambda r: r.penalty, constraint=mbdl.positive)
    networks = PerLayer.independent(
        lambda k: DenoiserPrior(CoarseDenoiser(width=settings.prox_width, depth=settings.prox_depth, key=k)),
        settings.layers,
        key=key,
    )
    return mbdl.substitute(unfolded, lambda r: r.prior, networks)


def first_penalty(settings: Settings) -> float:
    """A penalty for which the linear step neither trusts the observation alone nor ignores it."""
    return 0.8 * settings.noise


def denoiser(settings: Settings, key: Any) -> NetworkRule:
    """The denoiser of the plug-and-play rule, which takes the pair of an image and its noise level."""
    return NetworkRule(
        CoarseDenoiser(width=settings.denoiser_width, depth=settings.denoiser_depth, noise_conditioned=True, key=key)
    )


def plug_and_play(
    settings: Settings, operator: AbstractOperator, trained: NetworkRule, penalty: Any, noise_level: Any
) -> ADMM:
    """DNN-aided: ADMM with a trained denoiser, frozen, in the place of the prox. The weights are those of a search."""
    frozen = Learned(mbdl.resolve(trained.network), origin=(), frozen=True)
    solver = ADMM(
        LeastSquares(operator),
        TotalVariation(settings.noise**2),
        penalty=penalty,
        iterations=settings.plug_iterations,
        initial=Interpolated(settings.scale),
    )
    return mbdl.substitute(solver, lambda r: r.prior, DenoiserPrior(frozen, noise_level))  # pyright: ignore


def black_box(settings: Settings, width: int, depth: int, key: Any) -> NetworkRule:
    """Black box: a convolutional network that knows no model."""
    return NetworkRule(UpsampleCNN(settings.scale, width=width, depth=depth, key=key))


def equal_width(settings: Settings, wanted: int) -> int:
    """The width at which the black box has most nearly as many numbers as are wanted."""

    def size(width: int) -> int:
        shapes = eqx.filter_eval_shape(
            lambda key: black_box(settings, width, settings.equal_depth, key), jax.random.key(0)
        )
        return sum(leaf.size for leaf in jax.tree.leaves(shapes) if hasattr(leaf, "size"))

    return min(range(4, 257, 4), key=lambda width: abs(size(width) - wanted))


def deployed(settings: Settings, rule: DecisionRule) -> Reflected:
    """The rule as it is scored and saved: the observation is continued by reflection, since photographs end."""
    return Reflected(rule, settings.margin)


def learned_numbers(rule: DecisionRule) -> int:
    """How many numbers were learned, frozen ones included."""
    place = mbdl.spectrum(rule)
    return place.learned + place.frozen
