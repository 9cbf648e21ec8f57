"""How policies are scored: simulated on the noise that all of them meet."""

import time
from typing import Any

import jax
import numpy as np

import mbdl
from mbdl import control
from mbdl.studies.control.problem import Evaluation, Problem
from mbdl.studies.study import Run


def simulated(
    run: Run, problem: Problem, policy: Any, evaluation: Evaluation, throw: bool = False
) -> control.Trajectories:
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


def costs_found(runs: control.Trajectories) -> list[float | None]:
    """The cost of each run, none where it diverged."""
    costs, diverged = np.asarray(runs.run_costs), np.asarray(runs.diverged_at) >= 0
    return [None if bad else float(f"{cost:.8g}") for cost, bad in zip(costs, diverged, strict=True)]


def score(run: Run, problem: Problem, policy: Any) -> dict[str, Any]:
    """The cost of each run of a policy, by evaluation; its counts, and the time of a decision among those of the first
    evaluation."""
    place = mbdl.spectrum(policy)
    found: dict[str, Any] = {"learned": place.learned + place.frozen, "strategy": place.strategy}
    for evaluation in problem.evaluations:
        runs = simulated(run, problem, policy, evaluation)
        diverged = np.asarray(runs.diverged_at) >= 0
        found[evaluation.name] = {
            "costs": costs_found(runs),
            "violation": float(f"{np.max(np.asarray(runs.violations)[~diverged], initial=0.0):.3g}"),
        }
    first = problem.evaluations[0]
    begin = time.perf_counter()
    jax.block_until_ready(simulated(run, problem, policy, first).costs)
    found["microseconds_per_decision"] = round(1e6 * (time.perf_counter() - begin) / (first.runs * first.steps), 3)
    return found


def least_costs(run: Run, problem: Problem, policy: Any) -> dict[str, list[float]]:
    """The least cost of each test run for one who knows its noise in advance, by evaluation.

    A policy is simulated for the noise that its runs have met, which is that of every other policy's runs.
    """
    assert problem.foresight is not None
    found = {}
    for evaluation in problem.evaluations:
        costs = problem.foresight(simulated(run, problem, policy, evaluation))
        found[evaluation.name] = [float(f"{cost:.8g}") for cost in costs]
    return found
