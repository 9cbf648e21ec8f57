"""Settings are read from text by their types, and errors list what there is."""

import dataclasses
from typing import Literal

import pytest

from mbdl.studies.settings import describe, parse, plain, restore


@dataclasses.dataclass(frozen=True)
class Example:
    count: int = dataclasses.field(default=2, metadata={"help": "how many"})
    rate: float = 0.5
    fast: bool = False
    sizes: tuple[int, ...] = (1, 2)
    kind: Literal["a", "b"] = "a"
    word: str = "x"
    limit: float | None = None


def test_values_are_read_by_type():
    given = ["count=3", "rate=1e-3", "fast=true", "sizes=4, 5,6", "kind=b", "word=a=b", "limit=2"]
    assert parse(Example, given) == {
        "count": 3,
        "rate": 1e-3,
        "fast": True,
        "sizes": (4, 5, 6),
        "kind": "b",
        "word": "a=b",
        "limit": 2.0,
    }
    assert parse(Example, ["limit=none"]) == {"limit": None}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("count", "name=value, got 'count'"),
        ("number=3", r"no setting 'number'.*\n  count=2 +how many\n  rate=0.5"),
        ("count=2.5", "'count' is a whole number, got '2.5'; its default is 2"),
        ("rate=fast", "'rate' is a number"),
        ("rate=nan", "'rate' is a number"),
        ("fast=perhaps", "'fast' is true or false"),
        ("sizes=1,b", "'sizes' is a list of whole numbers"),
        ("kind=c", "'kind' is one of a, b"),
    ],
)
def test_errors_say_what_is_expected(text, message):
    with pytest.raises(ValueError, match=message):
        parse(Example, [text])


def test_a_setting_given_twice_is_refused():
    with pytest.raises(ValueError, match="'count' is given twice"):
        parse(Example, ["count=1", "count=2"])


def test_settings_survive_json_and_other_versions_are_refused():
    settings = Example(count=7, sizes=(3,))
    assert restore(Example, plain(settings)) == settings
    stored = plain(settings) | {"new": 1}
    with pytest.raises(ValueError, match="differ in new"):
        restore(Example, stored)


def test_every_setting_of_every_study_is_described(tmp_path):
    from mbdl import studies

    recordings = tmp_path / "recordings.csv"
    recordings.write_text("y1\n" + "1\n2\n" * 5, encoding="utf-8")

    for name in studies.names():
        settings = studies.study(name).settings
        for field in dataclasses.fields(settings):
            assert field.metadata["help"], field.name
            assert f"{field.name}=" in describe(settings)
        needed = {"data": str(recordings)} if "data" in settings.__dataclass_fields__ else {}
        settings(**studies.study(name).quick, **needed)
