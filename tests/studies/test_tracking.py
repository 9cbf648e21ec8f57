"""The studies of tracking in small: they run, resume to the same numbers, and their tables say what was measured."""

import json

import jax
import numpy as np
import pytest
from studies.tiny_tracking import HYBRID, LINEAR, LORENZ, assignments

import mbdl
from mbdl import report, studies, tracking
from mbdl.studies.tracking import hybrid, linear, lorenz
from mbdl.studies.tracking.case import decibels, gain_in_decibels, model_of, trajectories
from mbdl.studies.tracking.catalogue import BY_NAME, entries


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A tiny run of the linear study with its curve."""
    folder = tmp_path_factory.mktemp("study") / "linear"
    run = studies.prepare(
        studies.study("tracking-linear"), out=folder, assignments=assignments(LINEAR), curves=True, seed=1
    )
    results = studies.execute(run)
    report.render(folder)
    return run, results


def _case(run, name):
    return next(case for case in linear.cases(run.settings) if case.name == name)


def test_every_rule_is_scored_in_every_case_that_has_it(whole):
    run, results = whole
    cases = linear.cases(run.settings)
    assert [case.name for case in cases] == [
        *("full-0", "full-slow", "full-3-states", "acceleration", "observation", "transition")
    ]
    rows = {row["name"]: row for row in results["tables"][0]["rows"]}
    for case in cases:
        for entry in entries(case):
            cell = rows[entry.name]["cells"][case.name]
            assert np.isfinite(cell["value"])
            assert cell["error"] > 0
            assert results["timings"]["rules"][entry.name]["microseconds_per_step"] > 0
    assert len(results["findings"]) > 5
    assert [curve["name"] for curve in results["curves"]] == ["trajectories"]
    published = {row["name"] for row in results["tables"][1]["rows"]}
    assert published >= {"full-slow-filter-true", "observation-smoother", "transition-rtsnet"}


def test_a_score_is_the_error_of_the_saved_rule(whole):
    run, results = whole
    case = _case(run, "observation")
    observations, states = trajectories(run, case, "test")
    rule = mbdl.load(run.folder.path / "rules" / "observation-kalmannet.mbdl")
    errors = [float(np.mean((np.asarray(rule(y).mean) - s) ** 2)) for y, s in zip(observations, states, strict=True)]
    np.testing.assert_allclose(results["raw"]["errors"]["observation"]["kalmannet"][0], errors, rtol=1e-4)


def test_the_augmented_smoother_is_trained_on_all_its_iterations(whole):
    run, _ = whole
    case, entry = _case(run, "observation"), BY_NAME["augmented"]
    data = trajectories(run, case, "test")
    rule = mbdl.core.resolve(run.load_rule("observation-augmented"))
    assert rule.iterations == run.settings.iterations == 3
    state, errors = rule.init(data[0][0]), []
    for _ in range(3):
        state = rule.step(state, data[0][0])
        errors.append(float(np.mean((np.asarray(state.states) - data[1][0]) ** 2)))
    expected = np.dot([2 / 9, 4 / 9, 6 / 9], errors)
    found = entry.risk(data, case, run.settings)(rule, tuple(array[:1] for array in data), jax.random.key(0))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert BY_NAME["rtsnet"].risk(data, case, run.settings).loss is tracking.state_error


def test_strategies_are_those_that_the_rules_measure(whole):
    run, _ = whole
    for case in linear.cases(run.settings)[2:]:
        for entry in entries(case):
            place = mbdl.spectrum(run.load_rule(f"{case.name}-{entry.name}"))
            assert entry.strategy == place.strategy, (entry.name, str(place))
            assert (place.learned > 0) == entry.learned
            assert (place.tuned > 0) == (entry.finds == "search")


def test_the_wrong_model_is_wrong_in_what_may_be_learned(whole):
    run, _ = whole
    for case in (_case(run, "observation"), _case(run, "transition")):
        assert case.mismatch is not None
        assert float(np.max(np.abs(case.mismatch(case.truth) - case.mismatch(case.assumed)))) > 0.01


def test_least_squares_find_what_is_wrong(whole):
    """The matrix alone, of the few trajectories that there are."""
    run, _ = whole
    for case in (_case(run, "observation"), _case(run, "transition")):
        found = run.load_rule(f"{case.name}-filter-identified").model
        observations, states = (np.asarray(array, np.float64) for array in trajectories(run, case, "train"))
        inputs, outputs = (states, observations) if case.name == "observation" else (states[:, :-1], states[:, 1:])
        expected = np.linalg.lstsq(inputs.reshape(-1, 2), outputs.reshape(-1, 2))[0].T
        np.testing.assert_allclose(getattr(found, case.name), expected, rtol=1e-4)
        np.testing.assert_array_equal(found.process_noise, case.assumed.process_noise)


def test_a_constant_velocity_is_scored_by_its_position(whole):
    run, _ = whole
    case = _case(run, "acceleration")
    assert (case.truth.state_size, case.assumed.state_size) == (3, 2)
    observations, states = trajectories(run, case, "test")
    assert states.shape[-1] == 1
    rule = run.load_rule("acceleration-filter")
    errors = [
        float(np.mean((np.asarray(rule(y).mean)[:, :1] - s) ** 2)) for y, s in zip(observations, states, strict=True)
    ]
    np.testing.assert_allclose(run["score-acceleration-filter"]["errors"], errors, rtol=1e-4)


def test_the_page_shows_trajectories_and_needs_nothing_else(whole):
    text = (whole[0].folder.path / "report.html").read_text(encoding="utf-8")
    assert "http://" not in text
    assert "https://" not in text
    assert "A test trajectory: observation rotated by 10°" in text
    assert (whole[0].folder.path / "figures" / "trajectory-observation.png").stat().st_size > 5000


def test_a_resumed_run_finds_the_same(whole, tmp_path):
    run, _ = whole
    folder = tmp_path / "again"
    study = studies.study("tracking-linear")
    again = studies.prepare(study, out=folder, assignments=assignments(LINEAR), curves=True, seed=1)
    stages = list(study.stages(again))
    chosen = [
        stage for stage in stages if stage.name.startswith(("find-observation-filter", "score-observation-filter"))
    ]
    for stage in chosen:
        again.folder.record_stage(stage.name, stage.action(again), 0.0)
        first = run[stage.name]
        found = again[stage.name]
        for record in (first, found):
            record.pop("microseconds_per_step", None)
        assert found == first


def test_the_study_of_the_lorenz_attractor_runs(tmp_path):
    run = studies.prepare(studies.study("tracking-lorenz"), out=tmp_path / "lorenz", assignments=assignments(LORENZ))
    results = studies.execute(run)
    report.render(tmp_path / "lorenz")
    rows = {row["name"]: row["cells"] for row in results["tables"][0]["rows"]}
    for case in lorenz.cases(run.settings):
        for name in case.rules:
            assert np.isfinite(rows[name][case.name]["value"]), (case.name, name)
    assert [curve["name"] for curve in results["curves"]] == ["levels-filters", "levels-smoothers"]
    lines = {line["name"]: line for curve in results["curves"] for line in curve["lines"]}
    assert list(lines) == [entry.name for entry in entries(lorenz.cases(run.settings)[1])]
    for name, line in lines.items():
        assert line["x"] == [10.0, 20.0]
        found = [rows[name][case]["value"] for case in ("observation", "observation-20")]
        np.testing.assert_allclose(line["y"], np.add(found, [10.0, 20.0]), rtol=1e-4)
    published = {row["name"]: row["cells"]["published"] for row in results["tables"][1]["rows"]}
    assert published["observation-20-rtsnet"] == -30.27
    drawn = {path.name for path in (tmp_path / "lorenz" / "figures").glob("*.png")}
    assert {"trajectory-observation.png", "levels-filters.png", "levels-smoothers.png"} <= drawn
    assert not any("observation-20" in name for name in drawn)
    assert (tmp_path / "lorenz" / "figures" / "trajectory-observation-dark.png").stat().st_size > 5000
    written = json.loads((tmp_path / "lorenz" / "results.json").read_text())
    assert written["settings"]["fine"] == 0.01


def test_decimated_trajectories_of_the_splits_are_different_and_noiseless():
    settings = lorenz.LorenzSettings(decimated_steps=4, decimated_test_steps=6, fine=0.01)
    case = lorenz.cases(settings)[-1]
    first, second = (case.samples(jax.random.key(seed), 2, split) for seed, split in ((0, "train"), (1, "test")))
    assert first.states.shape == (2, 4, 3)
    assert second.states.shape == (2, 6, 3)
    assert float(np.max(np.abs(first.states[0] - first.states[1]))) > 1
    fine = tracking.lorenz(step=0.01, order=5, r2=1.0, q2=0.0)
    moment = tracking.Moment(0)
    moved = fine.transit(fine.transit(first.states[0, 0], moment), moment)
    np.testing.assert_allclose(moved, first.states[0, 1], rtol=1e-4)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A tiny run of the study of hybrid inference."""
    folder = tmp_path_factory.mktemp("study") / "hybrid"
    run = studies.prepare(studies.study("tracking-hybrid"), out=folder, assignments=assignments(HYBRID))
    results = studies.execute(run)
    report.render(folder)
    return run, results


def test_the_study_of_hybrid_inference_compares_by_the_number_of_samples(mixed):
    run, results = mixed
    rows = {row["name"]: row["cells"] for row in results["tables"][0]["rows"]}
    assert [*rows] == [name for name in BY_NAME if name in run.settings.rules]
    assert [curve["name"] for curve in results["curves"]] == ["samples"]
    for line in results["curves"][0]["lines"]:
        assert line["x"] == [8, 9]
        found = [rows[line["name"]][case]["value"] for case in ("samples-8", "samples-9")]
        np.testing.assert_allclose(line["y"], found)
    said = " ".join(results["findings"])
    assert "9 samples. neural-augmented smoother is" in said
    assert "is better than smoother, tuned process noise: 0.00" not in said
    # What is found on no sample is the same for any number of them: the test is.
    assert rows["smoother-true"]["samples-8"] == rows["smoother-true"]["samples-9"]
    for name in ("samples", "trajectory-samples-9"):
        assert (run.folder.path / "figures" / f"{name}.png").stat().st_size > 5000


def test_positions_alone_are_known_and_scored(mixed):
    run, _ = mixed
    case = hybrid.cases(run.settings)[1]
    observations, positions = trajectories(run, case, "test")
    assert positions.shape == (3, 9, 2)
    np.testing.assert_array_equal(observations[:, 0], 0.0)
    for name, size in (("smoother-true", 6), ("augmented", 4), ("graph", 2)):
        rule = run.load_rule(f"samples-9-{name}")
        estimates = [np.asarray(rule(y).mean if name == "smoother-true" else rule(y)) for y in observations]
        assert estimates[0].shape == (9, size)
        errors = [float(np.mean((e[:, :2] - s) ** 2)) for e, s in zip(estimates, positions, strict=True)]
        np.testing.assert_allclose(run[f"score-samples-9-{name}"]["errors"], errors, rtol=1e-4)
    noise = np.mean((observations - positions) ** 2)
    np.testing.assert_allclose(np.mean(run["score-samples-9-observations"]["errors"]), noise, rtol=1e-4)


def test_learned_rules_are_given_what_their_parents_have_found(mixed):
    run, _ = mixed
    for name, parent in hybrid.GIVEN.items():
        if name in run.settings.rules and name == "augmented":  # nothing of this model is learned
            found = [mbdl.core.resolve(run.load_rule(f"samples-9-{which}")) for which in (name, parent)]
            noises = [np.asarray(model_of(rule).process_noise) for rule in found]
            np.testing.assert_array_equal(noises[0], noises[1])
            factor = run[f"find-samples-9-{parent}"]["factor"]
            np.testing.assert_allclose(noises[1], factor * run.settings.assumed_deviation**2 * np.eye(4), rtol=1e-5)
    splits = {split: trajectories(run, hybrid.cases(run.settings)[1], split)[0] for split in ("train", "validation")}
    assert splits["train"].shape == splits["validation"].shape == (1, 4, 2)
    assert float(np.max(np.abs(splits["train"] - splits["validation"]))) > 0.01


def test_strategies_of_hybrid_inference_are_those_that_the_rules_measure(mixed):
    run, _ = mixed
    for entry in entries(hybrid.cases(run.settings)[0]):
        assert entry.strategy == mbdl.spectrum(run.load_rule(f"samples-8-{entry.name}")).strategy, entry.name


def test_the_true_system_of_hybrid_inference():
    model = hybrid.true_model(hybrid.HybridSettings())
    chain = np.asarray(model.transition)[::2, ::2]
    c, tau = 0.06, 0.17
    expected = [
        [1, 1 - c / 2, 1 / 2],
        [0, 1 - c + (c**2 - tau) / 2, 1 - c / 2],
        [0, -tau + c * tau / 2, 1 - tau / 2],
    ]
    np.testing.assert_allclose(chain, expected, rtol=1e-6)
    np.testing.assert_array_equal(np.asarray(model.transition)[::2, 1::2], 0.0)


def test_chains_of_hybrid_inference_are_pieces_of_one_trajectory():
    settings = hybrid.HybridSettings(samples=(100, 10_000), network_rates=(0.1, 0.1), longest=30)
    cases = hybrid.cases(settings)
    assert [(case.runs["train"], case.steps) for case in cases] == [(1, 30), (166, 30)]
    assert cases[0].samples is not None
    whole, pieces = (cases[0].samples(jax.random.key(0), runs, "train") for runs in (1, 3))
    assert pieces.states.shape == (3, 30, 6)
    np.testing.assert_array_equal(pieces.observations[:, 0], 0.0)
    np.testing.assert_array_equal(pieces.states[0], whole.states[0])
    # From the end of one piece to the start of the next one, velocities move by a step.
    jump = pieces.states[1:, 0, 2:4] - pieces.states[:-1, -1, 2:4]
    assert 0 < float(np.max(np.abs(jump))) < 3


def test_settings_of_hybrid_inference_are_checked():
    with pytest.raises(ValueError, match="there is no rule 'kalmannet'"):
        hybrid.HybridSettings(rules=("kalmannet",))
    with pytest.raises(ValueError, match="augmented is given the process noise that messages finds"):
        hybrid.HybridSettings(rules=("augmented",))
    with pytest.raises(ValueError, match="1 numbers of samples and 3 network_rates"):
        hybrid.HybridSettings(samples=(100,))
    with pytest.raises(ValueError, match="samples is 2"):
        hybrid.HybridSettings(samples=(2,), network_rates=(0.1,))


def test_decibels_and_paired_gains():
    errors = np.array([1.0, 3.0])
    found = decibels(errors)
    assert found["value"] == pytest.approx(10 * np.log10(2.0), abs=1e-3)
    # The delta method: 10 / ln 10 times the relative standard error, here 1 / 2.
    assert found["error"] == pytest.approx(10 / np.log(10) * 0.5, abs=1e-3)
    gain = gain_in_decibels(errors, 10 * errors)
    assert gain["value"] == pytest.approx(10.0)
    assert gain["error"] == pytest.approx(0.0, abs=1e-9)


def test_rules_are_listed_in_the_order_of_the_spectrum():
    order = list(BY_NAME)
    assert order.index("filter") < order.index("filter-noise") < order.index("kalmannet") < order.index("recurrent")
    assert all(not BY_NAME[name].smooths for name in order[: order.index("smoother-true")])
