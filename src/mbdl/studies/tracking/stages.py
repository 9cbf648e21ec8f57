"""The stages of a tracking study: for every case, each rule is found and then scored."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from mbdl.studies.study import Run, Stage
from mbdl.studies.tracking import scoring
from mbdl.studies.tracking.case import Case, squared_errors, trajectories
from mbdl.studies.tracking.catalogue import BY_NAME, Entry, entries
from mbdl.studies.tracking.finding import find, rule_name, train


def seconds(run: Run, case: Case, entry: Entry) -> float:
    """Roughly how long it takes to find a rule."""
    if not entry.learned:
        return 2.0 if entry.finds == "nothing" else 15.0
    steps = run.settings.network_steps if entry.finds == "network" else 2 * run.settings.few_steps
    return 10.0 + 0.03 * steps * entry.effort * case.steps / 100


def seeds_of(run: Run, case: Case, entry: Entry) -> int:
    """How many training seeds a rule has in a case: more than one where the model is wrong."""
    return run.settings.seeds if entry.learned and case.mismatch is not None else 1


def stages(run: Run, cases: Sequence[Case], curve: "Curve | None" = None) -> list[Stage]:
    """The stages of all cases, and of the curve if it is asked for."""
    listed = []
    for case in cases:
        listed.append(
            Stage(f"draw-{case.name}", f"{case.title}: drawing trajectories", partial(_describe, case=case), 5)
        )
        for entry in entries(case):
            for seed in range(seeds_of(run, case, entry)):
                which = f", seed {seed + 1} of {run.settings.seeds}" if seeds_of(run, case, entry) > 1 else ""
                name, title = rule_name(case, entry, seed), f"{case.title}: {entry.title}{which}"
                finding = partial(find, case=case, entry=entry, seed=seed)
                listed.append(Stage(f"find-{name}", title, finding, seconds(run, case, entry)))
                scored = f"{title}, scoring"
                listed.append(
                    Stage(f"score-{name}", scored, partial(scoring.score, case=case, entry=entry, seed=seed), 2)
                )
        if case.drawn:
            drawing = partial(scoring.keep_trajectory, case=case, shown=shown(case))
            listed.append(Stage(f"trajectory-{case.name}", f"{case.title}: a trajectory", drawing, 1))
    if curve is not None and run.curves:
        listed += curve.stages(run)
    return listed


def shown(case: Case) -> list[Entry]:
    """The rules whose estimates are drawn."""
    return [entry for entry in entries(case) if entry.name in (case.shown or SHOWN)]


SHOWN = ("filter", "filter-tuned", "kalmannet", "recurrent", "smoother", "smoother-tuned", "rtsnet", "rtsnet-2")
"""The rules whose estimates are drawn where a case does not say."""


def _describe(run: Run, case: Case) -> dict[str, Any]:
    """How large the observations and states of the test are; the trajectories are drawn again when they are needed."""
    observations, states = trajectories(run, case, "test")
    return {
        "steps": int(states.shape[1]),
        "mean_square_of_states": float(f"{(states**2).mean():.6g}"),
        "first_observation": [float(f"{value:.6g}") for value in observations[0, 0]],
    }


class Curve:
    """Quality against the number of training trajectories, in one case.

    Args:
        case: the condition.
        rules: the names of the rules that are trained on fewer trajectories.
    """

    def __init__(self, case: Case, rules: Sequence[str]):
        self.case, self.entries = case, [BY_NAME[name] for name in rules]

    def stages(self, run: Run) -> list[Stage]:
        """One stage a rule and a number of trajectories."""
        return [
            Stage(
                self.name(entry, runs),
                f"{self.case.title}: {entry.title}, {runs} training trajectories",
                partial(self._train, entry=entry, runs=runs),
                seconds(run, self.case, entry),
            )
            for entry in self.entries
            for runs in run.settings.curve_runs
        ]

    def name(self, entry: Entry, runs: int) -> str:
        """The name of a stage, and of its rule."""
        return f"curve-{self.case.name}-{entry.name}-{runs}"

    def _train(self, run: Run, entry: Entry, runs: int) -> dict[str, Any]:
        name = self.name(entry, runs)
        record = train(run, self.case, entry, 0, name, runs)
        errors = squared_errors(self.case, run.load_rule(name), *trajectories(run, self.case, "test"))
        return {**record, "errors": [float(f"{error:.6g}") for error in errors]}
