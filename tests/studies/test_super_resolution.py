"""The whole study in small: it runs, resumes to the same numbers after a kill, and says what it did."""

import json
import os
import signal
import subprocess
import sys
import time

import equinox as eqx
import jax
import numpy as np
import pytest
from studies.tiny import ARGUMENTS, ASSIGNMENTS

import mbdl
from mbdl import data, inverse, report, studies
from mbdl.studies.super_resolution import curves, problem, rules
from mbdl.studies.super_resolution.catalogue import ENTRIES
from mbdl.studies.super_resolution.settings import Settings


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A tiny run that nothing interrupts, and its results."""
    folder = tmp_path_factory.mktemp("study") / "whole"
    run = studies.prepare(studies.study("super-resolution"), out=folder, assignments=ASSIGNMENTS, curves=True, seed=1)
    lines = []
    results = studies.execute(run, lines.append)
    report.render(folder)
    return run, results, lines


def without_timings(folder):
    results = json.loads((folder / "results.json").read_text())
    assert results.pop("timings")["stages"]
    return results


def test_every_rule_is_scored_saved_and_told(whole):
    run, results, lines = whole
    table = results["tables"][0]
    assert [row["name"] for row in table["rows"]] == [entry.name for entry in ENTRIES]
    for row in table["rows"]:
        assert 10 < row["cells"]["psnr"] < 50
        assert 0 < row["cells"]["ssim"] < 1
        assert (row["cells"]["spread"] is None) == (row["cells"]["learned"] == 0)
        assert results["timings"]["rules"][row["name"]]["seconds_per_photograph"] > 0
    assert {path.name for path in (run.folder.path / "rules").iterdir()} >= {f"{entry.name}.mbdl" for entry in ENTRIES}
    assert [curve["name"] for curve in results["curves"]] == ["patches", "blur"]
    stages = studies.study("super-resolution").stages(run)
    assert len([line for line in lines if line.startswith("[")]) == len(stages)
    assert any("dB on training patches" in line for line in lines)
    assert results == json.loads((run.folder.path / "results.json").read_text())
    assert json.loads((run.folder.path / "results.json").read_text())["settings"]["network_steps"] == 4


def test_the_page_needs_nothing_else(whole):
    text = (whole[0].folder.path / "report.html").read_text(encoding="utf-8")
    assert "http://" not in text
    assert "https://" not in text
    assert text.count("data:image/") >= 6 + 1 + 2 * 11


def test_strategies_are_those_that_the_rules_measure(whole):
    run = whole[0]
    for entry in ENTRIES:
        place = mbdl.spectrum(run.load_rule(entry.name))
        assert entry.strategy == place.strategy or entry.strategy in place.strategies, (entry.name, str(place))
        assert (place.learned + place.frozen > 0) == entry.learned
        assert (place.tuned > 0) == (entry.name in ("wavelets", "total-variation", "plug-and-play"))


def test_saved_scores_are_those_of_the_saved_rules(whole):
    run, results, _ = whole
    (scene,) = problem.scenes(run, "test")
    for name in ("total-variation", "unfolded-prox"):
        rule = mbdl.load(run.folder.path / "rules" / f"{name}.mbdl")
        found = problem.score(run.settings, rule(scene.observed), scene.truth)
        assert results["raw"]["scores"][name]["0"]["camera"] == found


def test_saved_rules_take_images_of_any_size(whole):
    run = whole[0]
    for entry in ENTRIES:
        rule = run.load_rule(entry.name)
        assert rule(np.full((13, 18), 0.5, np.float32)).shape == (26, 36)


def test_saved_rules_are_loaded_by_the_library_alone(whole):
    rules_folder = whole[0].folder.path / "rules"
    code = f"import mbdl, pathlib; [mbdl.load(p) for p in pathlib.Path({str(rules_folder)!r}).iterdir()]"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_black_box_has_as_many_numbers_as_the_unfolded_rule(whole):
    learned = {row["name"]: row["cells"]["learned"] for row in whole[1]["tables"][0]["rows"]}
    assert abs(learned["black-box-equal"] / learned["unfolded-prox"] - 1) < 0.3
    settings = Settings()
    for wanted in (20_000, 120_340):
        width = rules.equal_width(settings, wanted)
        size = rules.learned_numbers(rules.black_box(settings, width, settings.equal_depth, _key()))
        assert abs(size / wanted - 1) < 0.05


def _key():
    return jax.random.key(0)


def test_the_best_searched_values_lie_inside_their_ranges(whole):
    searches = whole[1]["raw"]["searches"]
    for name in ("total-variation", "wavelets"):
        tried = [value for value, _ in searches[name]["tried"]]
        assert min(tried) < searches[name]["weight"] < max(tried)
        assert searches[name]["weight"] == max(searches[name]["tried"], key=lambda pair: pair[1])[0]
    for seed in range(2):
        found = searches[f"plug-and-play-{seed}"]
        for name in ("penalty", "noise_level"):
            tried = [value for value, _ in found["tried"][-1][name]]
            assert min(tried) < found[name] < max(tried)


def test_a_killed_run_resumes_to_the_same_numbers(whole, tmp_path):
    """Killed twice, once while it trains, and asked for its curves only when it is resumed."""
    folder = tmp_path / "killed"
    command = [sys.executable, "-m", "mbdl", *ARGUMENTS, "--out", str(folder), "--seed", "1"]
    # On one device, as the run that it is compared with: another number of them rounds otherwise.
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "JAX_NUM_CPU_DEVICES": "1"}
    for wanted in (3, 12):
        more = ["--resume"] if folder.exists() else []
        process = subprocess.Popen(
            [*command, *more], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
        )
        begin = time.monotonic()
        while process.poll() is None and len(list(folder.glob("stages/*.json"))) < wanted:
            assert time.monotonic() - begin < 300
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
        assert process.returncode == -signal.SIGKILL, errors.decode()
        assert not (folder / "results.json").exists()
    again = subprocess.run([*command, "--resume"], capture_output=True, text=True, env=environment, check=False)
    assert again.returncode == 0, again.stderr
    assert "stages are finished already" in again.stdout
    assert without_timings(folder) == without_timings(whole[0].folder.path)
    assert not list(folder.rglob(".*"))
    for name in ("unfolded-prox", "plug-and-play"):
        one, other = (mbdl.load(path / "rules" / f"{name}.mbdl") for path in (folder, whole[0].folder.path))
        assert eqx.tree_equal(one, other)


def test_the_observation_is_blurred_decimated_and_noisy():
    from scipy.ndimage import gaussian_filter

    run = studies.Run(None, Settings(), 0, False, False, None)  # pyright: ignore
    scene = problem.scenes(run, "validation")[1]
    photograph = data.photograph("moon").luminance()
    np.testing.assert_array_equal(scene.truth, photograph[16:-16, 16:-16])
    clean = gaussian_filter(photograph.astype(np.float64), 0.8, mode="wrap", truncate=6 / 0.8)[16:-16:2, 16:-16:2]
    residual = scene.observed - clean
    assert abs(residual.std() / run.settings.noise - 1) < 0.02
    assert abs(residual.mean()) < 1e-3
    assert abs(np.corrcoef(residual[:, 1:].ravel(), residual[:, :-1].ravel())[0, 1]) < 0.02


def test_test_photographs_are_not_read_by_training_and_tuning(monkeypatch):
    run = studies.Run(None, Settings(patches=8, patch=32), 0, False, False, None)  # pyright: ignore
    read = []
    original = data.Photograph.luminance
    monkeypatch.setattr(data.Photograph, "luminance", lambda self: (read.append(self.split), original(self))[1])
    problem.training_pairs(run)
    problem.tuning_pairs(run)
    assert set(read) == {"train"}
    read.clear()
    problem.validation_pairs(run)
    assert set(read) == {"validation"}


def test_noise_and_scenes_do_not_depend_on_the_seed():
    scenes = [
        problem.scenes(studies.Run(None, Settings(photographs=1, crop=64), seed, False, False, None), "test")[0]  # pyright: ignore
        for seed in (0, 1)
    ]
    np.testing.assert_array_equal(scenes[0].observed, scenes[1].observed)


def test_a_rule_that_is_told_the_true_blur_assumes_it():
    settings = Settings(tv_iterations=3, tv_inner=2)
    rule = rules.deployed(settings, rules.total_variation(settings, problem.forward(settings), 0.01))
    told = curves.tell(settings, rule, 1.1)
    built = rules.deployed(settings, rules.total_variation(settings, problem.forward(settings, 1.1), 0.01))
    assert eqx.tree_equal(told, built)
    assert not eqx.tree_equal(told, rule)


def test_the_frozen_denoiser_counts_as_learned():
    settings = Settings(denoiser_width=4, denoiser_depth=2, plug_iterations=2)
    trained = rules.denoiser(settings, _key())
    rule = rules.plug_and_play(settings, problem.forward(settings), trained, 0.01, 0.05)
    place = mbdl.spectrum(rule)
    assert place.learned == 0
    assert place.frozen == mbdl.spectrum(trained).learned > 0
    assert place.strategies == ("DNN-aided",)
    assert isinstance(rule.prior, inverse.DenoiserPrior)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise": -1.0}, "noise is -1.0; it may not be negative"),
        ({"blur": 0.0}, "blur is 0.0; it is positive"),
        ({"seeds": 0}, "seeds is 0; it is at least 1"),
        ({"patch": 33}, "patch is 33; it is a multiple of scale=2"),
        ({"patch": 16}, "nothing inside a border of 8"),
        ({"curve_patches": (4,)}, "below a batch"),
    ],
)
def test_settings_out_of_range(change, message):
    with pytest.raises(ValueError, match=message):
        Settings(**change)


def test_the_choice_of_the_problem_is_made_on_validation_photographs(tmp_path, monkeypatch):
    read = []
    original = data.Photograph.luminance
    monkeypatch.setattr(data.Photograph, "luminance", lambda self: (read.append(self.split), original(self))[1])
    tiny = [text for text in ASSIGNMENTS if text.split("=")[0] not in ("photographs", "crop", "border")]
    more = ["scales=2", "blurs=0.7", "noises=0.01,0.05", "crop=48", "border=4", "photographs=1"]
    run = studies.prepare(studies.study("super-resolution-choice"), out=tmp_path / "run", assignments=[*tiny, *more])
    results = studies.execute(run)
    assert set(read) == {"train", "validation"}
    rows = results["tables"][0]["rows"]
    assert [row["title"] for row in rows] == ["scale 2, blur 0.7, noise 0.01", "scale 2, blur 0.7, noise 0.05"]
    for row in rows:
        cells = row["cells"]
        gain = cells["unfolded-prox"] - cells["total-variation"]
        assert cells["unfolded-prox gain"] == pytest.approx(gain, abs=1e-4)
    assert report.render(tmp_path / "run")[-1].is_file()
