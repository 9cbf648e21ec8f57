"""What is found on the training trajectories: one number by a search, or parameters by gradient descent."""

import functools
from typing import Any

import equinox as eqx
import numpy as np
import optax

import mbdl
from mbdl.core import resolve
from mbdl.studies import training
from mbdl.studies.search import log_search
from mbdl.studies.study import Run
from mbdl.studies.tracking.case import Case, Trajectories, model_of, squared_errors, trajectories
from mbdl.studies.tracking.catalogue import BY_NAME, Entry
from mbdl.training import supervised


def find(run: Run, case: Case, entry: Entry, seed: int) -> dict[str, Any]:
    """Tunes or trains a rule, as its entry says, and saves it."""
    if entry.learned:
        return train(run, case, entry, seed, rule_name(case, entry, seed))
    rule = _made(run, case, entry, seed, trajectories(run, case, "train"))
    if entry.finds == "search":
        return _search(run, case, entry, rule)
    run.save_rule(rule_name(case, entry, seed), rule)
    return {}


def _made(run: Run, case: Case, entry: Entry, seed: int, data: Trajectories) -> Any:
    """A rule before it is tuned or trained, of the model that it is given."""
    if entry.name in case.given:
        other = run.load_rule(rule_name(case, BY_NAME[case.given[entry.name]], 0))
        case = case.with_model(model_of(resolve(other)))
    return entry.make(case, run.settings, run.key(case.name, entry.name, seed), data)


def _search(run: Run, case: Case, entry: Entry, rule: Any) -> dict[str, Any]:
    """Searches a factor on the process noise: the estimates depend on the ratio of the two noises alone."""
    splits = [trajectories(run, case, split) for split in case.searched]
    observations, states = (
        np.concatenate([a[: run.settings.tuning_runs] for a in arrays]) for arrays in zip(*splits, strict=True)
    )

    def where(r: Any) -> Any:
        return model_of(r).process_noise

    def scaled(factor: float) -> Any:
        return eqx.tree_at(where, rule, factor * where(rule))

    def score(factor: float) -> float:
        errors = squared_errors(case, scaled(factor), observations, states)
        found = -10 * float(np.log10(np.mean(errors))) if np.all(np.isfinite(errors)) else -1e3
        run.announce(f"    process noise × {factor:.3g}: {-found:.2f} dB")
        return round(found, 4)

    found = log_search(score, 1.0, factor=4.0, refinements=2)
    run.save_rule(rule_name(case, entry, 0), mbdl.tuned(scaled(found.best), where))
    return {"factor": found.best, "tried": found.tried}


def train(run: Run, case: Case, entry: Entry, seed: int, saved: str, runs: int | None = None) -> dict[str, Any]:
    """Trains a rule by its squared error and saves it; the best moment by the validation trajectories is kept.

    Args:
        run: the run.
        case: the condition.
        entry: the rule.
        seed: which of the training seeds.
        saved: the name of its file.
        runs: how many of the training trajectories are used; all by default.

    Returns:
        What the training was.
    """
    settings = run.settings
    network = entry.finds == "network"
    steps = settings.network_steps if network else settings.few_steps
    rate = settings.few_rate
    if network:
        rate = settings.network_rate if case.network_rate is None else case.network_rate
    optimiser = _optimiser(steps, rate, settings.weight_decay if network else 0.0)
    observations, states = trajectories(run, case, "train")
    data = (observations[:runs], states[:runs])
    rule = _made(run, case, entry, seed, data)
    batch = min(settings.batch, len(data[1]))
    record = training.train(
        run,
        saved,
        rule,
        entry.risk(data, case, settings),
        optimiser,
        steps=steps,
        batch_size=batch,
        key=run.key(case.name, entry.name, seed, "order"),
        validation=supervised(trajectories(run, case, "validation"), case.loss),
        validations=15,
        examples=batch,
    )
    return {**record, "batch": batch, "runs": len(data[1])}


@functools.cache
def _optimiser(steps: int, rate: float, decay: float) -> optax.GradientTransformation:
    """Adam behind a clip, with a rate that rises from zero over a twentieth of the steps and then falls as a cosine.

    The same object for the same numbers, so that `fit` compiles once.

    Without the rise Adam's first steps are as long as the later ones, from a gradient or two.
    """
    schedule = optax.warmup_cosine_decay_schedule(0.0, rate, steps // 20, steps, 0.02 * rate)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=decay))


def rule_name(case: Case, entry: Entry, seed: int) -> str:
    """The file of a rule: its case, its name, and for all seeds but the first the seed."""
    return f"{case.name}-{entry.name}" + (f"-seed-{seed}" if seed else "")
