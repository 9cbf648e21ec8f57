"""Running a study in a folder: stage by stage, resumable."""

import _thread
import importlib.metadata
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from mbdl.studies.folder import RunFolder, fresh, latest
from mbdl.studies.settings import parse, plain, restore
from mbdl.studies.study import Run, Stage, Study

Announce = Callable[[str], None]


def prepare(
    study: Study,
    *,
    out: Path | str | None = None,
    seed: int | None = None,
    assignments: Iterable[str] = (),
    quick: bool = False,
    curves: bool = False,
    resume: bool = False,
    root: Path | str = "runs",
    progress: bool = False,
) -> Run:
    """Opens a new run, or one to continue.

    Args:
        study: what to run.
        out: its folder; by default `runs/NAME-1`, `-2`, … , and with `resume` the last of them.
        seed: the number that all random keys are made from; 0 by default, and with `resume` that of the run.
        assignments: settings as `name=value`.
        quick: whether to run with the study's quick settings, which is no evidence.
        curves: whether the curves are asked for; a run may be resumed to add them.
        resume: whether to continue a run. What was asked of it may be left out, and may not be contradicted.
        root: where folders are made that are not named.
        progress: whether to show progress bars.

    Returns:
        The run, with its folder begun.

    Raises:
        FileExistsError: if the folder holds something and `resume` is false.
        FileNotFoundError: if there is no run to resume.
        ValueError: for settings that do not exist, or that contradict the run that is resumed.
    """
    given = parse(study.settings, assignments)
    stem = f"{study.name}-quick" if quick else study.name
    if resume:
        folder = RunFolder(out if out is not None else latest(Path(root), stem))
        manifest = folder.manifest()
        _check(study, folder, manifest, given, seed, quick)
        settings = restore(study.settings, manifest["settings"])
        if curves and not manifest["curves"]:
            manifest["curves"] = True
            folder.write_json("run.json", manifest)
        folder.clean()
    else:
        folder = RunFolder(out if out is not None else fresh(Path(root), stem))
        settings = study.settings(**{**(study.quick if quick else {}), **given})
        manifest = {
            "study": study.name,
            "quick": quick,
            "curves": curves,
            "seed": 0 if seed is None else seed,
            "settings": plain(settings),
            "versions": versions(),
        }
        folder.begin(manifest)
    return Run(
        study=study,
        settings=settings,
        seed=manifest["seed"],
        quick=manifest["quick"],
        curves=manifest["curves"],
        folder=folder,
        progress=progress,
    )


def execute(run: Run, announce: Announce = lambda line: None) -> dict[str, Any]:
    """Runs the stages that are not finished, and writes `results.json`.

    Args:
        run: from `prepare`.
        announce: is told, in one line each, what begins and what ended.

    Returns:
        The results, as written: the study's, with what was asked, the versions, and a section `timings` that is
        all that differs between a run that was interrupted and one that was not.

    Raises:
        KeyboardInterrupt: after Ctrl-C; the folder can be resumed.
    """
    run.announce = announce
    stages = list(run.study.stages(run))
    names = [stage.name for stage in stages]
    if len(set(names)) != len(names):
        raise ValueError(f"{run.study.name} has two stages of one name: {sorted(names)}")
    _run_stages(run, stages, announce)
    results = {
        "format": 1,
        "study": run.study.name,
        "summary": run.study.summary,
        "quick": run.quick,
        "curves_asked": run.curves,
        "seed": run.seed,
        "settings": plain(run.settings),
        "versions": run.folder.manifest()["versions"],
        **run.study.results(run),
    }
    timings = results.pop("timings", {})
    results["timings"] = {"machine": machine(), "stages": {name: run.seconds(name) for name in names}, **timings}
    run.folder.write_json("results.json", results)
    return results


def _run_stages(run: Run, stages: list[Stage], announce: Announce) -> None:
    done = sum(run.folder.has_stage(stage.name) for stage in stages)
    if done:
        announce(f"{done} of {len(stages)} stages are finished already")
    begin, passed = time.monotonic(), 0.0
    with _interruptible() as interrupted:
        for number, stage in enumerate(stages, 1):
            if run.folder.has_stage(stage.name):
                continue
            left = [other for other in stages[number - 1 :] if not run.folder.has_stage(other.name)]
            elapsed = time.monotonic() - begin
            pace = elapsed / passed if passed else 1.0
            remaining = pace * sum(other.cost for other in left)
            times = f"{_clock(elapsed)} so far, about {_clock(remaining)} left"
            announce(f"[{number}/{len(stages)}] {stage.title} · {times}")
            start = time.monotonic()
            found = stage.action(run)
            if interrupted():
                raise KeyboardInterrupt
            run.folder.record_stage(stage.name, found, time.monotonic() - start)
            passed += stage.cost
            forget_programs_near_the_limit()


def forget_programs_near_the_limit(most: int = 30_000) -> None:
    """Forgets compiled programs where this process has more memory maps than `most`.

    XLA keeps each program in maps of its own. Linux grants a process 65,530, and XLA dies of one more.
    """
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > most:
        jax.clear_caches()


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Notes Ctrl-C, so that a stage that answers it with what it has so far is not taken for finished.

    Python drops what is raised in a callback of its garbage collector, and JAX has one. A Ctrl-C that ended there is
    sent again.
    """
    seen = False

    def note(number: int, frame: Any) -> None:
        nonlocal seen
        seen = True
        raise KeyboardInterrupt

    def again(dropped: Any) -> None:
        if isinstance(dropped.exc_value, KeyboardInterrupt):
            threading.Timer(0.05, _thread.interrupt_main).start()
        else:
            hook(dropped)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: seen
        return
    before, hook = signal.signal(signal.SIGINT, note), sys.unraisablehook
    sys.unraisablehook = again
    try:
        yield lambda: seen
    finally:
        sys.unraisablehook = hook
        signal.signal(signal.SIGINT, before)


def _check(
    study: Study, folder: RunFolder, manifest: dict[str, Any], given: dict[str, Any], seed: int | None, quick: bool
) -> None:
    if manifest["study"] != study.name:
        raise ValueError(f"{folder.path} holds a run of {manifest['study']}, not of {study.name}")
    stored = manifest["settings"]
    wrong = [
        f"{name} was {stored.get(name)}, now {value} is asked"
        for name, value in given.items()
        if stored.get(name) != (list(value) if isinstance(value, tuple) else value)
    ]
    if seed is not None and seed != manifest["seed"]:
        wrong.append(f"the seed was {manifest['seed']}, now {seed} is asked")
    if quick and not manifest["quick"]:
        wrong.append("it is not a quick run")
    now = versions()
    wrong += [
        f"{name} was {version}, now {now.get(name)} is installed"
        for name, version in manifest["versions"].items()
        if now.get(name) != version
    ]
    if wrong:
        raise ValueError(
            f"the run in {folder.path} cannot be resumed as asked: {'; '.join(wrong)}. "
            "Leave these out to continue it as it was, or begin a new run in another folder"
        )


def versions() -> dict[str, str]:
    """The versions on which numbers may depend."""
    names = ("mbdl", "jax", "jaxlib", "equinox", "optax", "numpy", "scipy", "scikit-image", "scikit-learn")
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def machine() -> dict[str, Any]:
    """What the times were measured on."""
    import os

    return {
        "system": platform.platform(),
        "processor": platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "devices": [device.device_kind for device in jax.devices()],
    }


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
