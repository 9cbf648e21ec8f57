"""A policy that is trained several times: each training has keys of its own, and the table shows mean and spread."""

import dataclasses

import numpy as np
import pytest
from studies.tiny_control import TINY, assignments

from mbdl import report, studies
from mbdl.studies.control import lqr
from mbdl.studies.control.collect import collect
from mbdl.studies.control.stages import problems_of, stages


def problems(settings):
    problem = lqr.problems(settings)[0]
    entries = tuple(entry for entry in problem.entries if entry.training is None or entry.name == "convex")
    return (dataclasses.replace(problem, entries=entries, drawn=(), trainings=2),)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    study = dataclasses.replace(
        lqr.STUDY,
        stages=lambda run: stages(run, problems),
        results=lambda run: collect(run, "twice", [], problems_of(run, problems)),
    )
    folder = tmp_path_factory.mktemp("twice") / "run"
    run = studies.prepare(study, out=folder, assignments=assignments(TINY["lqr"]), seed=1)
    results = studies.execute(run)
    report.render(folder)
    return run, results, run.memory["problems"][0]


def test_what_is_trained_is_trained_as_often_as_it_is_said(finished):
    run, _, problem = finished
    for entry in problem.entries:
        name = f"{problem.name}-{entry.name}"
        assert run.folder.has_stage(f"find-{name}")
        assert run.folder.has_stage(f"score-{name}-1") == (entry.training is not None)


def test_trainings_have_noise_of_their_own(finished):
    run, _, problem = finished
    for entry in problem.entries:
        if entry.training is not None:
            first, second = (run[f"score-{problem.name}-{entry.name}{again}"]["cost"]["costs"] for again in ("", "-1"))
            assert np.max(np.abs(np.subtract(first, second))) > 0


def test_the_table_shows_the_mean_and_the_spread_over_trainings(finished):
    run, results, problem = finished
    rows = {row["name"]: row["cells"] for row in results["tables"][0]["rows"]}
    for entry in problem.entries:
        cells = rows[f"{problem.name}-{entry.name}"]
        if entry.training is None:
            assert "cost-spread" not in cells
            continue
        costs = np.array(
            [run[f"score-{problem.name}-{entry.name}{again}"]["cost"]["costs"] for again in ("", "-1")], float
        )
        np.testing.assert_allclose(cells["cost"]["value"], costs.mean(), rtol=1e-4)
        np.testing.assert_allclose(cells["cost-spread"], np.std(costs.mean(axis=1), ddof=1), rtol=1e-2)
        np.testing.assert_allclose(
            cells["cost"]["error"], np.std(costs.mean(axis=0), ddof=1) / costs.shape[1] ** 0.5, rtol=1e-2
        )
    assert "trained 2 times" in results["tables"][0]["caption"]
