"""The Python code of the documentation runs, and prints what the pages say that it prints; its studies run on the files
that the pages write."""

import contextlib
import io
import math
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mbdl.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(python|text|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
# What follows these words or precedes these units is a time, which may be anything.
TIME = re.compile(r"[\d.]+ (?:ns|µs|us|ms|s|min)\b")


def blocks(page: Path) -> list[tuple[str, str, int]]:
    """The fenced blocks of a page: language, text, and the line before the text."""
    text = page.read_text(encoding="utf-8")
    return [(m[1], m[2], text[: m.start(2)].count("\n")) for m in BLOCK.finditer(text)]


def shape_and_numbers(output: str) -> tuple[str, list[float]]:
    """An output without its numbers, times and layout, and the numbers."""
    output = re.sub(r"[\s─━┏┓┗┛┃│┡┩┢┪└┘┌┐┴┬├┤┼|+=-]{2,}", " ", TIME.sub("TIME", output)).strip()
    output = re.sub(r"\s+", " ", output)
    return NUMBER.sub("N", output), [float(found) for found in NUMBER.findall(output)]


def agree(printed: str, shown: str) -> bool:
    """Whether two outputs have the same words, and numbers that differ by no more than machines do after a training."""
    words, numbers = shape_and_numbers(printed)
    shown_words, shown_numbers = shape_and_numbers(shown)
    return words == shown_words and all(
        math.isclose(a, b, rel_tol=0.1, abs_tol=0.002) for a, b in zip(numbers, shown_numbers, strict=True)
    )


PAGES_WITH_CODE = [page for page in PAGES if any(language == "python" for language, _, _ in blocks(page))]


@pytest.mark.parametrize("page", PAGES_WITH_CODE, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    printed = io.StringIO()
    for language, text, line in blocks(page):
        if language == "python":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile("\n" * line + text, str(page), "exec"), namespace)
        elif language == "sh":
            for command in (line for line in text.splitlines() if line.startswith("mbdl run") and "--data" in line):
                result = CliRunner().invoke(app, [*shlex.split(command)[1:], "--quick", "--out", "quick"])
                assert result.exit_code == 0, result.output
        else:
            assert agree(printed.getvalue(), text), (
                f"{page.name} shows\n{text}\nand its code prints\n{printed.getvalue()}"
            )


def test_a_wrong_output_is_noticed():
    assert agree("ISTA  -12.31 dB   3.2 ms", "ISTA -12.30 dB 8.9 µs")
    assert not agree("ISTA -12.31 dB", "FISTA -12.31 dB")
    assert not agree("ISTA -12.31 dB", "ISTA -22.31 dB")


def test_the_blocks_of_a_page_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("text\n\n```python\na = 1\n```\n\n```text\n1\n```\n\n```sh\nls\n```\n", encoding="utf-8")
    assert blocks(page) == [("python", "a = 1\n", 3), ("text", "1\n", 7), ("sh", "ls\n", 11)]
