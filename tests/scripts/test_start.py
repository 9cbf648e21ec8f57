"""`./start` with stand-ins for Python and pip: what it reuses, what it makes, and what it says when it cannot."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("sh", "dirname", "sed", "cksum", "rm", "env", "mkdir", "cat", "chmod", "cp")

# A Python that says what it is asked: its version is 3.$MINOR, ensurepip is there unless NO_ENSUREPIP, and
# `-m venv FOLDER` copies it there.
PYTHON = """#!/bin/sh
case "$*" in
    *version_info*"(3, 11)"*) [ "${MINOR:-11}" -ge 11 ] ;;
    *version_info*) echo "3.${MINOR:-11}" ;;
    *ensurepip*) [ -z "${NO_ENSUREPIP:-}" ] ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-m pip --version") ;;
    "-m pip install "*)
        echo "pip: $*"
        [ -z "${NO_INDEX:-}" ] || exit 1
        printf '#!/bin/sh\\necho "mbdl in $PWD: $*"\\n' >"${0%/*}/mbdl" && chmod +x "${0%/*}/mbdl" ;;
    *check.py*) echo "check: $*" ;;
esac
"""


@pytest.fixture
def project(tmp_path):
    """A checkout without an environment, and a folder of commands without apt-get, with one Python."""
    checkout, commands = tmp_path / "a project", tmp_path / "commands"
    checkout.mkdir()
    commands.mkdir()
    shutil.copy(ROOT / "start", checkout)
    (checkout / "pyproject.toml").write_text("one", encoding="utf-8")
    for tool in TOOLS:
        (commands / tool).symlink_to(shutil.which(tool) or pytest.fail(f"{tool} is missing"))
    python = commands / "python3"
    python.write_text(PYTHON, encoding="utf-8")
    python.chmod(0o755)
    return checkout


def start(checkout, *arguments, **environment):
    """Runs the script from another folder, with nothing but the fixture's commands."""
    return subprocess.run(
        [str(checkout / "start"), *arguments],
        cwd=checkout.parent,
        env={"PATH": str(checkout.parent / "commands"), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_installs_once_and_runs_what_follows_where_the_user_stands(project):
    first = start(project, "run", "super-resolution", "--quick")
    assert first.returncode == 0, first.stderr
    assert "making the virtual environment" in first.stderr
    assert f"install -q --disable-pip-version-check --retries 2 -e {project}\n" in first.stderr
    assert first.stdout == f"mbdl in {project.parent}: run super-resolution --quick\n"

    second = start(project, "list")
    assert (second.stdout, second.stderr) == (f"mbdl in {project.parent}: list\n", "")


def test_it_installs_again_when_the_project_changed(project):
    start(project, "list")
    (project / "pyproject.toml").write_text("two", encoding="utf-8")
    assert "pip: " in start(project, "list").stderr
    assert "pip: " not in start(project, "list").stderr


def test_testing_adds_the_extra_and_keeps_it(project):
    start(project, "list")
    test = start(project, "test", "lint")
    assert f"-e {project}[dev]\n" in test.stderr
    assert test.stdout == f"check: {project}/scripts/check.py lint\n"
    assert "pip: " not in start(project, "list").stderr


def test_a_moved_checkout_is_installed_again(project):
    start(project, "list")
    moved = project.rename(project.parent / "elsewhere")
    assert f"-e {moved}\n" in start(moved, "list").stderr


def test_an_environment_without_python_is_made_anew(project):
    start(project, "list")
    (project / ".venv" / "bin" / "python").unlink()
    again = start(project, "list")
    assert "no working Python >= 3.11, it is made anew" in again.stderr
    assert again.stdout == f"mbdl in {project.parent}: list\n"


def test_an_old_python_is_refused(project):
    run = start(project, "list", MINOR="10")
    assert run.returncode == 1
    assert "no Python >= 3.11 was found" in run.stderr
    assert "apt-get install python3 python3-venv" in run.stderr


def test_a_python_without_ensurepip_says_what_to_type(project):
    run = start(project, "list", NO_ENSUREPIP="1", MINOR="12")
    assert run.returncode == 1
    assert "Type this as root, then start again: apt-get install python3.12-venv" in run.stderr
    assert not (project / ".venv").exists()


def test_a_failed_installation_is_explained_and_tried_again(project):
    run = start(project, "list", NO_INDEX="1")
    assert run.returncode == 1
    assert "It needs a Python package index" in run.stderr
    assert "--no-index --find-links FOLDER" in run.stderr
    assert start(project, "list").returncode == 0

    assert start(project, "test", NO_INDEX="1").returncode == 1
    assert "pip: " in start(project, "list").stderr


@pytest.mark.skipif(shutil.which("dash") is None, reason="dash is not installed")
def test_it_is_plain_shell():
    assert subprocess.run(["dash", "-n", str(ROOT / "start")], check=False).returncode == 0


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("script", ["start", ".ci/run"])
def test_shellcheck_has_no_complaint(script):
    run = subprocess.run(["shellcheck", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


def test_ci_runs_the_command_of_the_readme(tmp_path):
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    shutil.copy(ROOT / "README.md", tmp_path)
    stand_in = tmp_path / "start"
    stand_in.write_text('#!/bin/sh\necho "start $*"\nexit 3\n', encoding="utf-8")
    stand_in.chmod(0o755)
    run = subprocess.run([tmp_path / ".ci" / "run"], env=os.environ, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (3, "+ ./start test\nstart test\n")
