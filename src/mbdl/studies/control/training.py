"""How a policy of a study is found: made, tuned by a search, or trained."""

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
from jaxtyping import PRNGKeyArray

from mbdl import control
from mbdl.studies import training
from mbdl.studies.control.problem import Entry, Problem
from mbdl.studies.study import Run


def rule_name(problem: Problem, entry: Entry, time: int = 0) -> str:
    """The file of a policy, of one of its trainings."""
    return f"{problem.name}-{entry.name}{f'-{time}' if time else ''}"


def find(run: Run, problem: Problem, entry: Entry, time: int = 0) -> dict[str, Any]:
    """Makes a policy, trains it where it is trained, and saves it."""
    policy, name = first_policy(run, problem, entry, time), rule_name(problem, entry, time)
    if entry.training is None:
        run.save_rule(name, policy)
        return {}
    return train(run, problem, entry, policy, name, time=time)


def first_policy(run: Run, problem: Problem, entry: Entry, time: int = 0) -> Any:
    """The policy of an entry before one of its trainings."""
    if entry.start is None:
        assert entry.make is not None
        return entry.make(_key(run, problem, entry, time))
    start = problem.entry(entry.start)
    policy = run.load_rule(rule_name(problem, start, time if start.training else 0))
    return policy if entry.change is None else entry.change(policy)


def _key(run: Run, problem: Problem, entry: Entry, time: int, *purpose: str) -> PRNGKeyArray:
    return run.key(problem.name, entry.name, *purpose, *([time] if time else []))


def train(
    run: Run, problem: Problem, entry: Entry, policy: Any, saved: str, runs: int | None = None, time: int = 0
) -> dict[str, Any]:
    """Trains a policy and saves it; the best moment by runs of their own is kept.

    Args:
        run: the run.
        problem: what it is trained on.
        entry: the policy.
        policy: it, before its training.
        saved: the name of its file.
        runs: train on that many runs alone, the same at every step; by default the noise of each step is new, or all
            recorded runs are used.
        time: the number of the training.

    Returns:
        What the training was.
    """
    how = entry.training
    assert how is not None
    horizon = problem.horizon if how.horizon is None else how.horizon
    closed = partial(control.closed_loop, problem.system, problem.cost, horizon=horizon)
    validation = closed(runs=run.settings.validation_runs, key=run.key(problem.name, "validation"))
    key = _key(run, problem, entry, time, "training")
    if how.risk is not None:
        risk = how.risk(key, how.recorded if runs is None else runs)
        validation = how.risk(run.key(problem.name, "validation"), run.settings.validation_runs)
        examples = batch = min(how.runs, len(jax.tree.leaves(risk.data)[0]))
    else:
        risk = closed(runs=how.runs) if runs is None else closed(runs=runs, key=key)
        examples, batch = how.runs if runs is None else runs, None
    record = training.train(
        run,
        saved,
        policy,
        risk,
        how.optimiser,
        steps=how.steps,
        key=_key(run, problem, entry, time, "noise"),
        validation=validation,
        validations=how.validations,
        examples=examples,
        batch_size=batch,
        deploy=entry.deploy,
    )
    objective = "cost of the closed loop" if how.risk is None else how.objective
    return {**record, "examples": examples, "objective": objective}


def reference_cost(run: Run, problem: Problem) -> dict[str, Any]:
    """What the policy to which differences are taken costs on the runs that choose the step that is kept."""
    key = run.key(problem.name, "validation")
    score = mean_cost(problem.system, problem.cost, horizon=problem.horizon, runs=run.settings.validation_runs, key=key)
    return {"cost": score(run.load_rule(rule_name(problem, problem.entry(problem.reference))))}


def mean_cost(
    system: Any, cost: control.AbstractCost, *, horizon: int, runs: int, key: PRNGKeyArray
) -> Callable[[Any], float]:
    """The cost of a policy on runs of its own, for a search: compiled once for policies of one kind."""
    risk = eqx.filter_jit(control.closed_loop(system, cost, horizon=horizon, runs=runs, key=key).__call__)
    return lambda policy: float(jax.block_until_ready(risk(policy)))
