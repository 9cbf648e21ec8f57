"""The command line: what it prints, what it writes, and how it says what is wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image
from report.example import write_run
from studies.tiny import ARGUMENTS
from typer.testing import CliRunner

import mbdl
from mbdl import inverse
from mbdl.cli.cache import cache_folder
from mbdl.cli.main import INTERRUPTED, app

runner = CliRunner()


@contextmanager
def program(command, environment=None):
    """A program beside the test, which ends with it."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def test_list_names_every_study_in_a_line():
    from mbdl import studies

    lines = runner.invoke(app, ["list"]).stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(studies.names())
    assert "super-resolution" in lines[0]
    wanted = "tracking-linear tracking-lorenz tracking-own lqr constrained-lqr supply-chain portfolio vehicle"
    assert {*wanted.split(), "tracking-hybrid", "stochastic-control"} < set(studies.names())
    assert all(len(line.split()) > 3 for line in lines)


def test_list_of_a_study_shows_its_settings():
    result = runner.invoke(app, ["list", "super-resolution"])
    assert "noise=0.015" in result.stdout
    assert "--quick sets photographs=1" in result.stdout
    assert runner.invoke(app, ["list", "nothing"]).exit_code == 2


def test_version_and_help():
    assert runner.invoke(app, ["--version"]).stdout.startswith("mbdl 0.")
    text = runner.invoke(app, ["--help"]).stdout
    assert all(command in text for command in ("list", "run", "report", "apply"))
    assert "--resume" in runner.invoke(app, ["run", "--help"]).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nothing"], "no study 'nothing'; there are super-resolution"),
        (["run", "super-resolution", "--set", "noisy=1"], "no setting 'noisy'"),
        (["run", "super-resolution", "--set", "seeds=three"], "'seeds' is a whole number"),
        (["run", "super-resolution", "--set", "patch=33"], "patch is 33"),
        (["run", "super-resolution", "--resume", "--out", "nowhere"], "does not exist"),
        (["run", "super-resolution", "--resume"], "no run runs/super-resolution-… to resume"),
        (["report", "nowhere"], "no nowhere"),
        (["apply", "none.mbdl", "none.png", "-o", "out.png"], "no file none.png"),
    ],
)
def test_errors_are_one_message_and_leave_nothing(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_something_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    result = runner.invoke(app, ["run", "super-resolution", "--quick", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "nothing is overwritten" in result.stderr


def test_report_renders_again(tmp_path):
    write_run(tmp_path / "run", evidence=False)
    result = runner.invoke(app, ["report", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    assert "28.50*" in result.stdout
    assert "no evidence" in result.stdout
    assert (tmp_path / "run" / "report.html").is_file()


def test_apply_writes_an_image(tmp_path):
    mbdl.save(tmp_path / "rule.mbdl", inverse.Bicubic(2))
    samples = np.random.default_rng(0).integers(0, 255, (15, 22, 3), np.uint8)
    Image.fromarray(samples).save(tmp_path / "in.png")
    arguments = ["apply", str(tmp_path / "rule.mbdl"), str(tmp_path / "in.png"), "-o", str(tmp_path / "out.png")]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "Bicubic: model-based" in result.stdout
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (44, 30)
        np.testing.assert_array_equal(np.asarray(image)[::2, ::2], samples)
    again = runner.invoke(app, arguments)
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr


def test_ctrl_c_leaves_a_folder_that_resumes(tmp_path):
    folder = tmp_path / "run"
    arguments = [word.replace("network_steps=4", "network_steps=100000") for word in ARGUMENTS]
    command = [sys.executable, "-m", "mbdl", *arguments, "--out", str(folder)]
    with program(command) as process:
        begin = time.monotonic()
        while process.poll() is None and not (folder / "stages" / "train-unfolded-weights-0.json").exists():
            assert time.monotonic() - begin < 300
            time.sleep(0.05)
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=120)
    assert process.returncode == INTERRUPTED, output + errors
    assert f"Continue with: mbdl run super-resolution --resume --out {folder}" in output
    assert "Traceback" not in errors
    assert not (folder / "stages" / "train-unfolded-prox-0.json").exists()
    assert json.loads((folder / "run.json").read_text())["settings"]["network_steps"] == 100000


COMPILES = """
import signal
import jax, jax.numpy as jnp
from mbdl.cli.main import app, main

@app.command()
def compile() -> None:
    def long(x):
        for i in range(400):
            x = jnp.sort(jnp.sin(x * i))
        return x
    lowered = jax.jit(long).lower(jnp.ones(8))
    print("compiling", flush=True)
    lowered.compile()

signal.signal(signal.SIGINT, signal.default_int_handler)  # What a shell starts in the background ignores it.
main()
"""


def test_ctrl_c_while_xla_compiles_ends_at_once():
    command = [sys.executable, "-c", COMPILES, "compile"]
    environment = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "0"}
    with program(command, environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "compiling\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == INTERRUPTED, errors
    assert "Traceback" not in errors


def test_the_cache_is_in_the_users_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_folder() == tmp_path / "mbdl"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder().parts[-2:] == (".cache", "mbdl")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder().parts[-3:] == ("Library", "Caches", "mbdl")


def test_the_command_line_loads_nothing_heavy_before_it_is_used():
    code = (
        "import sys, mbdl, mbdl.studies, mbdl.report, mbdl.data; "
        "names = ('matplotlib', 'skimage', 'sklearn', 'typer', 'rich', 'cvxpy', 'PIL'); "
        "print([name for name in names if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
    code = "import sys, mbdl.cli; print([n for n in ('matplotlib', 'skimage', 'sklearn', 'rich') if n in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_run_keeps_compiled_programs_where_it_is_told(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    code = (
        "from mbdl.cli.cache import keep_compiled_programs; keep_compiled_programs(); "
        "import jax; print(jax.config.jax_compilation_cache_dir)"
    )

    def told(**more):
        found = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment | more
        )
        return found.stdout.strip()

    assert told(XDG_CACHE_HOME=str(tmp_path)) == str(tmp_path / "mbdl" / "compiled")
    assert told(XDG_CACHE_HOME=str(tmp_path), JAX_COMPILATION_CACHE_DIR="/elsewhere") == "/elsewhere"
