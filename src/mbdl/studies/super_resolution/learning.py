"""The trainings: one rule, one seed, one stage."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mbdl.core import DecisionRule
from mbdl.studies import training
from mbdl.studies.study import Run
from mbdl.studies.super_resolution import problem, rules
from mbdl.studies.super_resolution.settings import Settings
from mbdl.studies.super_resolution.tuning import rule_name
from mbdl.training import supervised


def make_rule(run: Run, name: str, seed: int) -> DecisionRule:
    """A learned rule before its training."""
    settings: Settings = run.settings
    operator, key = problem.forward(settings), run.key(name, seed)
    if name in ("learned-weights", "unfolded-weights"):
        make = rules.learned_weights if name == "learned-weights" else rules.unfolded_weights
        return make(settings, operator, run["tune-total-variation"]["weight"])
    if name == "unfolded-prox":
        return rules.unfolded_prox(settings, operator, key)
    if name == "denoiser":
        return rules.denoiser(settings, key)
    if name == "black-box-small":
        return rules.black_box(settings, settings.small_width, settings.small_depth, key)
    wanted = rules.learned_numbers(rules.unfolded_prox(settings, operator, key))
    return rules.black_box(settings, rules.equal_width(settings, wanted), settings.equal_depth, key)


def train(run: Run, stage: str, name: str, seed: int, patches: int | None = None) -> dict[str, Any]:
    """Trains a rule and saves it as it is deployed.

    Args:
        run: the run.
        stage: the stage's name, and that of the rule's file where fewer patches are used.
        name: that of the rule.
        seed: which of the training seeds.
        patches: how many of the training patches are used; all by default.

    Returns:
        What the training was: steps, batch, the validation risk by step, and the step whose rule was kept.
    """
    settings: Settings = run.settings
    few = name in ("learned-weights", "unfolded-weights")
    steps = settings.hyper_steps if few else settings.network_steps
    rate = settings.hyper_rate if few else settings.network_rate
    data, validation = _data(run, name, patches)
    rule = make_rule(run, name, seed)
    rule = rule if name == "denoiser" else rules.deployed(settings, rule)
    record = training.train(
        run,
        rule_name(name, seed) if patches is None else stage,
        rule,
        supervised(data, problem.loss(settings)),
        _optimiser(steps, rate),
        steps=steps,
        batch_size=settings.batch,
        key=run.key(name, seed, "order"),
        validation=validation,
        validations=10,
        examples=settings.batch,
        clip=10.0,
    )
    return {
        **record,
        "batch": settings.batch,
        "patches": len(data[1]),
        "learned": rules.learned_numbers(rule),
    }


def _optimiser(steps: int, rate: float) -> optax.GradientTransformation:
    """Adam, its rate rising over the first steps and falling to a hundredth by a cosine."""
    rising = min(max(1, steps // 20), 100)
    return optax.adam(optax.warmup_cosine_decay_schedule(0.1 * rate, rate, rising, max(steps, rising + 1), 0.01 * rate))


def _data(run: Run, name: str, patches: int | None) -> tuple[Any, Any]:
    """Training and validation data: pairs for super-resolution, or noisy images for the denoiser."""
    xs, ss = problem.training_pairs(run)
    validation = problem.validation_pairs(run)
    if patches is not None:
        xs, ss = xs[:patches], ss[:patches]
    if name != "denoiser":
        return (xs, ss), validation
    return _noisy(run, ss, "train"), _noisy(run, validation[1], "validation")


def _noisy(run: Run, clean: np.ndarray, purpose: str) -> Any:
    """Clean patches, each with noise of a level of its own: all that the denoiser ever sees of the problem."""

    def make() -> Any:
        low, high = run.settings.denoiser_noise
        level_key, noise_key = jax.random.split(run.key("denoiser", purpose))
        levels = jax.random.uniform(level_key, (len(clean),), minval=low, maxval=high)
        noise = jax.random.normal(noise_key, clean.shape)
        noisy = jnp.asarray(clean) + levels[:, None, None] * noise
        return (np.asarray(noisy), np.asarray(levels)), clean

    return run.remember(f"noisy {purpose}", make)
