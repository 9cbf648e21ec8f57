"""The stages of a study of control: each policy of a problem is found, scored on common noise, and drawn."""

import shutil
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

import mbdl
from mbdl import control
from mbdl.studies.control.problem import Entry, Evaluation, Problem
from mbdl.studies.study import Run, Stage
from mbdl.training import fit

Problems = Callable[[Any], Sequence[Problem]]


def stages(run: Run, problems: Problems) -> list[Stage]:
    """The stages of all problems."""
    listed = []
    for index, problem in enumerate(problems_of(run, problems)):
        for entry in problem.entries:
            name = rule_name(problem, entry)
            cost = 1.0 if entry.training is None else 5.0 + 0.02 * entry.training.steps
            title = f"{problem.title}: {entry.title}"
            listed.append(Stage(f"find-{name}", title, _in_double(partial(_find, problems, index, entry.name)), cost))
            scoring = _in_double(partial(_score, problems, index, entry.name))
            listed.append(Stage(f"score-{name}", f"{title}, scoring", scoring, 5))
        if problem.drawn is not None:
            drawing = _in_double(partial(_keep_run, problems, index))
            listed.append(Stage(f"run-{problem.name}", f"{problem.title}: a run", drawing, 3))
    return listed


def rule_name(problem: Problem, entry: Entry) -> str:
    """The file of a policy."""
    return f"{problem.name}-{entry.name}"


def problems_of(run: Run, problems: Problems) -> Sequence[Problem]:
    """The problems of a run, in double precision."""
    with jax.enable_x64(True):
        return _problems(run, problems)


def _problems(run: Run, problems: Problems) -> Sequence[Problem]:
    return run.remember("problems", lambda: problems(run.settings))


def _in_double(action: Callable[[Run], Any]) -> Callable[[Run], Any]:
    """A stage in double precision, in which the solutions of the policies' programs are exact."""

    def stage(run: Run) -> Any:
        with jax.enable_x64(True):
            return action(run)

    return stage


def _find(problems: Problems, index: int, name: str, run: Run) -> dict[str, Any]:
    """Makes a policy, trains it where it is trained, and saves it."""
    problem = _problems(run, problems)[index]
    entry = problem.entry(name)
    if entry.start is not None:
        policy: Any = run.load_rule(rule_name(problem, problem.entry(entry.start)))
    else:
        assert entry.make is not None
        policy = entry.make(run.key(problem.name, name))
    saved = rule_name(problem, entry)
    if entry.training is None:
        run.save_rule(saved, policy)
        return {}
    training, settings = entry.training, run.settings
    closed = partial(control.closed_loop, problem.system, problem.cost, horizon=problem.horizon)
    validation = closed(runs=settings.validation_runs, key=run.key(problem.name, "validation"))
    risk = closed(runs=training.runs)
    if training.risk is not None:
        risk, validation = (training.risk(run.key(problem.name, name, part)) for part in ("training", "validation"))
    checkpoint = run.folder.path / "checkpoints" / saved
    trained = fit(
        policy,
        risk,
        training.optimiser,
        steps=training.steps,
        key=run.key(problem.name, name, "noise"),
        validation=validation,
        validate_every=max(1, training.steps // 25),
        checkpoint=checkpoint,
        resume=True,
        progress=run.progress,
    )
    history = trained.history
    if history.interrupted:
        raise KeyboardInterrupt
    run.save_rule(saved, trained.rule)
    shutil.rmtree(checkpoint, ignore_errors=True)
    return {
        "steps": training.steps,
        "runs": training.runs,
        "objective": "cost of the closed loop" if training.risk is None else "error of the estimates",
        "validation_steps": history.validation_steps.tolist(),
        "validation_risk": [float(f"{value:.6g}") for value in history.validation],
        "kept_step": int(history.best_step),
        "skipped_steps": int(np.sum(history.skipped)),
    }


def simulated(run: Run, problem: Problem, policy: Any, evaluation: Evaluation, throw: bool = False) -> Any:
    """The runs of a policy on the noise of an evaluation, which all policies meet."""
    return control.simulate(
        problem.system,
        policy,
        run.key(problem.name, "test", evaluation.name),
        steps=evaluation.steps,
        runs=evaluation.runs,
        cost=problem.cost,
        constraints=problem.constraints,
        throw=throw,
    )


def _score(problems: Problems, index: int, name: str, run: Run) -> dict[str, Any]:
    """The cost of each run of a policy, by evaluation; its counts, and the time of a decision among many."""
    problem = _problems(run, problems)[index]
    policy: Any = run.load_rule(rule_name(problem, problem.entry(name)))
    place = mbdl.spectrum(policy)
    found: dict[str, Any] = {"learned": place.learned + place.frozen, "strategy": place.strategy}
    for evaluation in problem.evaluations:
        runs = simulated(run, problem, policy, evaluation)
        begin = time.perf_counter()
        jax.block_until_ready(simulated(run, problem, policy, evaluation).costs)
        seconds = time.perf_counter() - begin
        costs, diverged = np.asarray(runs.run_costs), np.asarray(runs.diverged_at) >= 0
        found[evaluation.name] = {
            "costs": [None if bad else float(f"{cost:.8g}") for cost, bad in zip(costs, diverged, strict=True)],
            "violation": float(f"{np.max(np.asarray(runs.violations)[~diverged], initial=0.0):.3g}"),
            "microseconds_per_decision": round(1e6 * seconds / (evaluation.runs * evaluation.steps), 3),
        }
    return found


def _keep_run(problems: Problems, index: int, run: Run) -> dict[str, Any]:
    """The first run of the first evaluation, of what is drawn."""
    problem = _problems(run, problems)[index]
    assert problem.drawn is not None
    arrays = {}
    for name in problem.drawn.entries:
        policy = run.load_rule(rule_name(problem, problem.entry(name)))
        runs = simulated(run, problem, policy, problem.evaluations[0])
        if int(runs.diverged_at[0]) < 0:
            arrays[name] = np.asarray(problem.drawn.values(runs))
    return {"file": str(run.save_arrays(f"run-{problem.name}", **arrays)), "drawn": list(arrays)}
