"""Searches on the training patches: weights of the model-based rules, penalty and noise level of plug-and-play."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import mbdl
from mbdl.core import DecisionRule
from mbdl.studies.search import log_search
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
    """Searches penalty and noise level of plug-and-play ADMM, one after the other, twice, the denoiser frozen."""
    settings: Settings = run.settings
    operator = problem.forward(settings)
    trained: Any = run.load_rule(rule_name("denoiser", seed))

    def score(penalty: float, noise_level: float) -> float:
        found = training_score(run, rules.plug_and_play(settings, operator, trained, penalty, noise_level))
        run.announce(f"    penalty {penalty:.3g}, noise level {noise_level:.3g}: {found:.2f} dB")
        return found

    if seed:
        penalty, noise_level = (run[f"tune-plug-and-play-{0}"][name] for name in ("penalty", "noise_level"))
        factor, rounds = 2.0**0.5, 1
    else:
        penalty, noise_level, factor, rounds = rules.first_penalty(settings), 1.5 * settings.noise, 2.0, 2
    tried = []
    for index in range(rounds):
        ratio = factor if index == 0 else 2.0**0.5
        over_levels = log_search(lambda level: score(penalty, level), noise_level, factor=ratio, refinements=0)  # noqa: B023
        noise_level = over_levels.best
        over_penalties = log_search(lambda value: score(value, noise_level), penalty, factor=ratio, refinements=0)  # noqa: B023
        penalty = over_penalties.best
        tried.append({"noise_level": over_levels.tried, "penalty": over_penalties.tried})
    plain = rules.plug_and_play(settings, operator, trained, penalty, noise_level)
    rule = mbdl.tuned(plain, lambda r: (r.penalty, r.prior.noise_level))
    run.save_rule(rule_name("plug-and-play", seed), rules.deployed(settings, rule))
    return {
        "penalty": penalty,
        "noise_level": noise_level,
        "tried": tried,
        "score": score(penalty, noise_level),
        "values": int(np.sum([len(part["noise_level"]) + len(part["penalty"]) for part in tried])),
    }


def rule_name(name: str, seed: int) -> str:
    """The file of a rule: its name, and for all seeds but the first the seed."""
    return name if seed == 0 else f"{name}-seed-{seed}"
