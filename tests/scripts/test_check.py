"""The checks are run one after the other, and one that fails stops no other."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def check(monkeypatch):
    """The script as a module, with three checks that take no time."""
    spec = importlib.util.spec_from_file_location("check", ROOT / "scripts" / "check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    exits = {"good": 0, "bad": 5, "other": 0}
    checks = {name: [sys.executable, "-c", f"raise SystemExit({code})"] for name, code in exits.items()}
    monkeypatch.setattr(module, "CHECKS", checks)
    return module


def test_all_run_although_one_fails(check, capfd):
    assert check.main([]) == 1
    summary = capfd.readouterr().out.partition("== summary")[2].split()
    assert [word for word in summary if word.isalpha() and word != "s"] == [
        "passed", "good", "FAILED", "bad", "passed", "other",
    ]  # fmt: skip


def test_named_checks_run_alone(check, capfd):
    assert check.main(["good"]) == 0
    assert "bad" not in capfd.readouterr().out


def test_an_unknown_check_is_an_error(check, capfd):
    assert check.main(["god"]) == 2
    assert "there is no check god. There are: good, bad, other" in capfd.readouterr().err
