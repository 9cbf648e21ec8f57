"""Runs: folders that are never overwritten, stages that are done once, and resuming that changes nothing."""

import dataclasses
import gc
import json
import os
import signal
import sys
import time
from pathlib import Path

import jax
import pytest

from mbdl.studies import RunFolder, Stage, Study, execute, prepare
from mbdl.studies.execute import forget_programs_near_the_limit
from mbdl.studies.folder import fresh, latest


@dataclasses.dataclass(frozen=True)
class Settings:
    size: int = dataclasses.field(default=3, metadata={"help": "size"})
    parts: tuple[int, ...] = dataclasses.field(default=(1, 2), metadata={"help": "parts"})


def make_study(calls, stop_at=None):
    def action(name):
        def act(run):
            calls.append(name)
            if name == stop_at:
                raise RuntimeError("stopped")
            if name == "second":
                import jax

                return {"twice": 2 * run["first"]["value"], "drawn": float(jax.random.normal(run.key("x", 1)))}
            return {"value": run.settings.size + run.seed}

        return act

    def results(run):
        return {"title": "t", "found": run["second"], "timings": {"rules": {}}}

    names = ["first", "second", "third"]
    return Study(
        name="example",
        summary="an example",
        settings=Settings,
        quick={"size": 1},
        stages=lambda run: [Stage(name, f"doing {name}", action(name)) for name in names],
        results=results,
    )


def without_timings(folder):
    results = json.loads((folder / "results.json").read_text())
    del results["timings"]
    return results


def test_a_resumed_run_repeats_nothing_and_finds_the_same(tmp_path):
    calls = []
    whole = prepare(make_study(calls), out=tmp_path / "whole", seed=4)
    execute(whole)
    assert calls == ["first", "second", "third"]

    broken = prepare(make_study([], stop_at="third"), out=tmp_path / "broken", seed=4)
    with pytest.raises(RuntimeError, match="stopped"):
        execute(broken)
    assert not (tmp_path / "broken" / "results.json").exists()
    calls = []
    execute(prepare(make_study(calls), out=tmp_path / "broken", resume=True))
    assert calls == ["third"]
    assert without_timings(tmp_path / "broken") == without_timings(tmp_path / "whole")
    assert without_timings(tmp_path / "whole")["found"]["twice"] == 14


def test_progress_is_announced(tmp_path):
    lines = []
    execute(prepare(make_study([]), out=tmp_path / "run"), lines.append)
    assert [line.split(" · ")[0] for line in lines] == ["[1/3] doing first", "[2/3] doing second", "[3/3] doing third"]
    assert all("left" in line for line in lines)


def test_nothing_is_overwritten(tmp_path):
    prepare(make_study([]), out=tmp_path / "run")
    with pytest.raises(FileExistsError, match=r"nothing is overwritten.*--resume"):
        prepare(make_study([]), out=tmp_path / "run")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="not empty"):
        prepare(make_study([]), out=tmp_path / "other")
    (tmp_path / "empty").mkdir()
    prepare(make_study([]), out=tmp_path / "empty")


def test_default_folders_are_numbered_and_the_last_is_resumed(tmp_path):
    study = make_study([])
    assert prepare(study, root=tmp_path).folder.path == tmp_path / "example-1"
    assert prepare(study, root=tmp_path).folder.path == tmp_path / "example-2"
    assert prepare(study, root=tmp_path, quick=True).folder.path == tmp_path / "example-quick-1"
    assert prepare(study, root=tmp_path, resume=True).folder.path == tmp_path / "example-2"
    assert fresh(tmp_path, "example") == tmp_path / "example-3"
    with pytest.raises(FileNotFoundError, match="no run .*nothing-… to resume"):
        latest(tmp_path, "nothing")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"assignments": ["size=9"]}, "size was 3, now 9 is asked"),
        ({"assignments": ["parts=7"]}, "parts was"),
        ({"seed": 5}, "the seed was 0, now 5 is asked"),
        ({"quick": True}, "it is not a quick run"),
    ],
)
def test_what_a_run_was_asked_may_not_be_contradicted(tmp_path, asked, message):
    prepare(make_study([]), out=tmp_path / "run")
    with pytest.raises(ValueError, match=message):
        prepare(make_study([]), out=tmp_path / "run", resume=True, **asked)
    same = prepare(make_study([]), out=tmp_path / "run", resume=True, assignments=["size=3", "parts=1,2"], seed=0)
    assert same.settings == Settings()


def test_another_version_or_study_is_not_resumed(tmp_path):
    folder = prepare(make_study([]), out=tmp_path / "run").folder
    manifest = folder.manifest()
    folder.write_json("run.json", manifest | {"versions": manifest["versions"] | {"jax": "0.0.1"}})
    with pytest.raises(ValueError, match=r"jax was 0.0.1"):
        prepare(make_study([]), out=tmp_path / "run", resume=True)
    folder.write_json("run.json", manifest | {"study": "else"})
    with pytest.raises(ValueError, match="a run of else, not of example"):
        prepare(make_study([]), out=tmp_path / "run", resume=True)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        prepare(make_study([]), out=tmp_path / "missing", resume=True)


def test_curves_can_be_added_later(tmp_path):
    assert not prepare(make_study([]), out=tmp_path / "run").curves
    assert prepare(make_study([]), out=tmp_path / "run", resume=True, curves=True).curves
    assert prepare(make_study([]), out=tmp_path / "run", resume=True).curves


def test_an_interrupted_stage_that_returns_is_not_recorded(tmp_path):
    def answers(run):
        try:
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(10**7):
                pass
        except KeyboardInterrupt:
            return {"value": "half done"}
        return {"value": "whole"}

    study = dataclasses.replace(make_study([]), stages=lambda run: [Stage("first", "first", answers)])
    run = prepare(study, out=tmp_path / "run")
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        execute(run)
    assert not run.folder.has_stage("first")
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_that_the_garbage_collector_drops_is_sent_again(tmp_path):
    def ends_in_a_callback(run):
        def callback(phase, info):
            gc.callbacks.remove(callback)
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(1000):
                pass

        gc.callbacks.append(callback)
        gc.collect()
        end = time.monotonic() + 30
        while time.monotonic() < end:
            pass
        return {"value": "whole"}

    study = dataclasses.replace(make_study([]), stages=lambda run: [Stage("first", "first", ends_in_a_callback)])
    run = prepare(study, out=tmp_path / "run")
    hook, begin = sys.unraisablehook, time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        execute(run)
    assert time.monotonic() - begin < 20
    assert not run.folder.has_stage("first")
    assert sys.unraisablehook is hook


def test_two_stages_of_one_name_are_an_error(tmp_path):
    stage = Stage("same", "same", lambda run: {})
    study = dataclasses.replace(make_study([]), stages=lambda run: [stage, stage])
    with pytest.raises(ValueError, match="two stages of one name"):
        execute(prepare(study, out=tmp_path / "run"))


def test_files_appear_whole_or_not_at_all(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_json("a.json", {"x": 1})

    def failing_write():
        with folder.replacing("a.json") as path:
            path.write_text("half")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        failing_write()
    assert folder.read_json("a.json") == {"x": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    (tmp_path / ".123-b.json").write_text("left by a kill")
    folder.clean()
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    with pytest.raises(ValueError, match="Out of range float"):
        folder.write_json("b.json", float("nan"))


def test_a_damaged_record_is_an_error_that_says_what_to_do(tmp_path):
    folder = RunFolder(tmp_path)
    folder.record_stage("first", {}, 1.0)
    (tmp_path / "stages" / "first.json").write_text("{")
    with pytest.raises(ValueError, match=r"first.json is damaged.*delete it"):
        folder.stage("first")


def test_keys_differ_by_purpose_and_seed_and_repeat(tmp_path):
    import jax

    first = prepare(make_study([]), out=tmp_path / "a")
    second = prepare(make_study([]), out=tmp_path / "b", seed=1)
    keys = [first.key("x"), first.key("y"), first.key("x", 1), second.key("x")]
    data = {jax.random.key_data(key).tobytes() for key in keys}
    assert len(data) == 4
    assert (jax.random.key_data(first.key("x")) == jax.random.key_data(keys[0])).all()


def test_programs_are_forgotten_before_a_process_has_too_many_memory_maps():
    double = jax.jit(lambda x: 2 * x)
    double(1.0)
    forget_programs_near_the_limit(10**9)
    assert double._cache_size() == 1
    forget_programs_near_the_limit(0)
    assert double._cache_size() == (0 if Path("/proc/self/maps").exists() else 1)
