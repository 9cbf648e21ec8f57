"""Scores on the test trajectories, and the trajectories that are drawn."""

import time
from typing import Any

import jax
import numpy as np

import mbdl
from mbdl.studies.study import Run
from mbdl.studies.tracking.case import Case, squared_errors, trajectories
from mbdl.studies.tracking.catalogue import Entry
from mbdl.studies.tracking.finding import rule_name


def score(run: Run, case: Case, entry: Entry, seed: int) -> dict[str, Any]:
    """The squared error of each test trajectory, the rule's counts, and its time for a step of one trajectory."""
    rule: Any = run.load_rule(rule_name(case, entry, seed))
    observations, states = trajectories(run, case, "test")
    errors = squared_errors(case, rule, observations, states)
    place = mbdl.spectrum(rule)
    return {
        "errors": [float(f"{error:.6g}") for error in errors],
        "learned": place.learned + place.frozen,
        "microseconds_per_step": _microseconds(rule, observations[0]),
    }


def _microseconds(rule: Any, observations: Any) -> float:
    """The median time of a step of one trajectory, after compilation."""
    jax.block_until_ready(rule(observations))
    times: list[float] = []
    while len(times) < 3 or (sum(times) < 0.2 and len(times) < 50):
        begin = time.perf_counter()
        jax.block_until_ready(rule(observations))
        times.append(time.perf_counter() - begin)
    return round(1e6 * float(np.median(times)) / len(observations), 3)


def keep_trajectory(run: Run, case: Case, shown: list[Entry]) -> dict[str, Any]:
    """Estimates of the first test trajectory, of the rules that are drawn."""
    observations, states = trajectories(run, case, "test")
    longest = case.drawn_steps
    arrays = {"truth": states[0][:longest]}
    if observations.shape[-1] == states.shape[-1]:
        arrays["observed"] = observations[0][:longest]
    for entry in shown:
        rule: Any = run.load_rule(rule_name(case, entry, 0))
        arrays[entry.name] = np.asarray(case.known(rule(observations[0])))[:longest]
    return {"file": str(run.save_arrays(f"trajectory-{case.name}", **arrays))}
