"""Tables show their numbers as they are, and mark the best."""

import pytest
from report.example import write_run

from mbdl import report
from mbdl.report.tables import best_rows, cells


@pytest.fixture
def table(tmp_path):
    results = write_run(tmp_path / "run")
    return results["tables"][0], results["timings"]


def test_cells(table):
    assert cells(*table) == [
        ["TV <model>", "28.12", "—", "0", "search", "2.00"],
        ["network", "28.50", "\u22120.38 ± 0.12", "123\u202f456", "steps", "0.25"],
    ]


def test_signs():
    from mbdl.report.tables import _number

    column = {"digits": 2, "signed": True}
    assert [_number(column, value) for value in (0.126, -0.126, -0.001, float("nan"))] == [
        "+0.13",
        "\u22120.13",
        "0.00",
        "—",
    ]


def test_the_best_are_marked(table):
    assert best_rows(*table) == {(1, 0), (1, 4)}
    text = report.markdown(*table)
    assert "**28.50**" in text
    assert "**28.12**" not in text
    plain = report.plain(*table).splitlines()
    assert "28.50*" in plain[3]
    assert "28.12*" not in plain[2]


def test_equal_numbers_as_shown_are_all_best(table):
    shown, timings = table
    shown["rows"][0]["cells"]["psnr"] = 28.5001
    assert {(0, 0), (1, 0)} <= best_rows(shown, timings)


def test_markdown_is_a_table(table):
    lines = report.markdown(*table).splitlines()
    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1
    assert lines[0].startswith("| rule")
    assert "PSNR [dB]" in lines[0]
    assert lines[1].split("|")[2].endswith(":")
    assert not lines[1].split("|")[5].endswith(":")


def test_the_terminal_table_holds_every_row(table):
    from rich.console import Console

    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    with console.file:
        console.print(report.rich_table(*table))
        text = console.export_text()
    assert "123\u202f456" in text
    assert "TV <model>" in text
