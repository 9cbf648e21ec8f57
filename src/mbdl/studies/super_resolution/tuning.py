"""Searches on the training patches: weights of the model-based rules, penalty and noise level of plug-and-play."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import mbdl
from mbdl.core import DecisionRule
from mbdl.studies.search import log_search, pair_search
from mbdl.studies.study import Run
from mbdl.studies.super_resolution import problem, rules
from mbdl.studies.super_resolution.settings import Settings


@eqx.filter_jit
def _mean_loss(rule: DecisionRule, observed: Any, truth: Any, loss: Any) -> Any:
    return jnp.mean(jax.vmap(lambda x, s: loss(rule(x), s))(observed, truth))


def training_score(run: Run, rule: DecisionRule) -> float:
    """How good a rule is on training patches: the same that trainings make small, with the opposite sign, in dB."""
    observed, truth = problem.tuning_pairs(run)
    deployed = rules.deployed(run.settings, rule)
    return round(-float(_mean_loss(deployed, observed, truth, problem.loss(run.settings))), 4)


def tune_total_variation(run: Run) -> dict[str, Any]:
    """Searches the weight of total variation, and looks whether more iterations would help."""
    return _tune(run, "total-variation", rules.total_variation, 0.2 * run.settings.noise, run.settings.tv_iterations)


def tune_wavelets(run: Run) -> dict[str, Any]:
    """Searches the weight of wavelet sparsity, and looks whether more iterations would help."""
    return _tune(run, "wavelets", rules.wavelets, 0.2 * run.settings.noise, run.settings.wavelet_iterations)


def _tune(run: Run, name: str, make: Any, start: float, iterations: int) -> dict[str, Any]:
    settings: Settings = run.settings
    operator = problem.forward(settings)

    def score(weight: float) -> float:
        found = training_score(run, make(settings, operator, weight))
        run.announce(f"    weight {weight:.3g}: {found:.2f} dB on training patches")
        return found

    found = log_search(score, start, refinements=2)
    depths = {
        str(depth): training_score(run, make(settings, operator, found.best, depth))
        for depth in (max(1, iterations // 2), iterations, 2 * iterations)
    }
    rule = mbdl.tuned(make(settings, operator, found.best), lambda r: r.prior.weight)
    run.save_rule(name, rules.deployed(settings, rule))
    return {"weight": found.best, "tried": found.tried, "score_by_iterations": depths}


def tune_plug_and_play(run: Run, seed: int) -> dict[str, Any]:
    """Searches noise level and penalty of plug-and-play ADMM in turn, until neither moves, the denoiser frozen."""
    settings: Settings = run.settings
    operator = problem.forward(settings)
    trained: Any = run.load_rule(rule_name("denoiser", seed))

    def score(noise_level: float, penalty: float) -> float:
        found = training_score(run, rules.plug_and_play(settings, operator, trained, penalty, noise_level))
        run.announce(f"    penalty {penalty:.3g}, noise level {noise_level:.3g}: {found:.2f} dB")
        return found

    if seed:
        first = run["tune-plug-and-play-0"]
        start, factors = (first["noise_level"], first["penalty"]), (2.0**0.5,)
    else:
        start, factors = (4 * settings.noise, 4 * rules.first_penalty(settings)), (2.0, 2.0**0.5)
    (noise_level, penalty), rounds = pair_search(score, start, factors=factors)
    tried = [{"noise_level": levels, "penalty": penalties} for levels, penalties in rounds]
    plain = rules.plug_and_play(settings, operator, trained, penalty, noise_level)
    rule = mbdl.tuned(plain, lambda r: (r.penalty, r.prior.noise_level))
    run.save_rule(rule_name("plug-and-play", seed), rules.deployed(settings, rule))
    return {
        "penalty": penalty,
        "noise_level": noise_level,
        "tried": tried,
        "score": score(noise_level, penalty),
        "values": int(np.sum([len(part["noise_level"]) + len(part["penalty"]) for part in tried])),
    }


def rule_name(name: str, seed: int) -> str:
    """The file of a rule: its name, and for all seeds but the first the seed."""
    return name if seed == 0 else f"{name}-seed-{seed}"
