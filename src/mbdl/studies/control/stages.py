"""The stages of a study of control: each policy of a problem is found, scored on common noise, and drawn."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from mbdl.studies.control.curves import Curve
from mbdl.studies.control.problem import Problem
from mbdl.studies.control.scoring import least_costs, score, simulated
from mbdl.studies.control.training import find, reference_cost, rule_name
from mbdl.studies.study import Run, Stage

Problems = Callable[[Any], Sequence[Problem]]


def stages(run: Run, problems: Problems, curves: Sequence[Curve] = ()) -> list[Stage]:
    """The stages of all problems, and of the curves if they are asked for."""
    listed = []
    for index, problem in enumerate(problems_of(run, problems)):
        for entry in problem.entries:
            cost = 1.0 if entry.training is None else 5.0 + 0.02 * entry.training.steps
            for time in problem.times(entry):
                name = rule_name(problem, entry, time)
                title = f"{problem.title}: {entry.title}" + (f", training {time + 1}" if time else "")
                finding = _in_double(partial(_find, problems, index, entry.name, time))
                listed.append(Stage(f"find-{name}", title, finding, cost))
                scoring = _in_double(partial(_score, problems, index, entry.name, time))
                listed.append(Stage(f"score-{name}", f"{title}, scoring", scoring, 5))
        if any(entry.training is not None and entry.training.published for entry in problem.entries):
            scoring = _in_double(partial(_reference, problems, index))
            title = f"{problem.title}: the reference on the runs that choose a step"
            listed.append(Stage(f"reference-{problem.name}", title, scoring, 5))
        if problem.foresight is not None:
            bounding = _in_double(partial(_bound, problems, index))
            listed.append(Stage(f"bound-{problem.name}", f"{problem.title}: its runs, known in advance", bounding, 10))
        for which, drawn in enumerate(problem.drawn):
            drawing = _in_double(partial(_keep_run, problems, index, which))
            title = f"{problem.title}: a {'path' if drawn.path else 'run'}"
            listed.append(Stage(drawn.name(problem.name), title, drawing, 3))
    for curve in curves if run.curves else ():
        index = [problem.name for problem in problems_of(run, problems)].index(curve.problem)
        problem = problems_of(run, problems)[index]
        for point in curve.points(problem):
            action = _in_double(partial(_point, problems, index, curve, point))
            title, cost = curve.describe(problem, point), curve.seconds(problem, point)
            listed.append(Stage(curve.stage(point), title, action, cost))
    return listed


def _point(problems: Problems, index: int, curve: Curve, point: Any, run: Run) -> dict[str, Any]:
    return curve.find(run, _problems(run, problems)[index], point)


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


def _find(problems: Problems, index: int, name: str, time: int, run: Run) -> dict[str, Any]:
    problem = _problems(run, problems)[index]
    return find(run, problem, problem.entry(name), time)


def _score(problems: Problems, index: int, name: str, time: int, run: Run) -> dict[str, Any]:
    problem = _problems(run, problems)[index]
    return score(run, problem, run.load_rule(rule_name(problem, problem.entry(name), time)))


def _reference(problems: Problems, index: int, run: Run) -> dict[str, Any]:
    return reference_cost(run, _problems(run, problems)[index])


def _bound(problems: Problems, index: int, run: Run) -> dict[str, list[float]]:
    """The least cost of each test run for one who knows it in advance, by evaluation."""
    problem = _problems(run, problems)[index]
    return least_costs(run, problem, run.load_rule(rule_name(problem, problem.entry(problem.reference))))


def _keep_run(problems: Problems, index: int, which: int, run: Run) -> dict[str, Any]:
    """The first run of the first evaluation, of what is drawn."""
    problem = _problems(run, problems)[index]
    drawn, arrays = problem.drawn[which], {}
    for name in drawn.entries:
        policy = run.load_rule(rule_name(problem, problem.entry(name)))
        runs = simulated(run, problem, policy, problem.evaluations[0])
        if int(runs.diverged_at[0]) < 0:
            arrays[name] = np.asarray(drawn.values(runs))
    return {"file": str(run.save_arrays(drawn.name(problem.name), **arrays)), "drawn": list(arrays)}
