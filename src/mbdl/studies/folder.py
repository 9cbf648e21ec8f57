"""The folder of a run: what was asked, what each stage found, and the rules, each written whole or not at all."""

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MANIFEST = "run.json"


class RunFolder:
    """A folder that holds one run of a study.

    `run.json` says what was asked, `stages/NAME.json` what a finished stage found, `rules/` holds saved rules and
    `pictures/` arrays. Every file is written under another name first and then renamed, so that a run that is killed
    at any moment leaves only whole files.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)

    @property
    def exists(self) -> bool:
        """Whether there is anything in the folder."""
        return self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir()))

    @property
    def is_run(self) -> bool:
        """Whether the folder holds a run."""
        return (self.path / MANIFEST).is_file()

    def begin(self, manifest: dict[str, Any]) -> None:
        """Makes the folder and writes what is asked.

        Raises:
            FileExistsError: if there is something in it already.
        """
        if self.exists:
            raise FileExistsError(
                f"{self.path} exists and is not empty; nothing is overwritten. "
                "Continue it with --resume, or choose another folder with --out."
            )
        self.path.mkdir(parents=True, exist_ok=True)
        self.write_json(MANIFEST, manifest)

    def manifest(self) -> dict[str, Any]:
        """What was asked.

        Raises:
            FileNotFoundError: if the folder holds no run.
            ValueError: if what it holds cannot be read.
        """
        if not self.is_run:
            state = "is not a run of a study (it has no run.json)" if self.path.exists() else "does not exist"
            raise FileNotFoundError(f"the folder {self.path} {state}")
        return self.read_json(MANIFEST)

    def read_json(self, name: str) -> Any:
        """Reads a JSON file of the folder."""
        path = self.path / name
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path} is damaged ({error}); delete it and run again with --resume") from error

    def write_json(self, name: str, value: Any) -> None:
        """Writes a JSON file of the folder, whole or not at all."""
        text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        with self.replacing(name) as temporary:
            temporary.write_text(text, encoding="utf-8")

    @contextlib.contextmanager
    def replacing(self, name: str) -> Iterator[Path]:
        """A path to write a file to, which takes its name in the folder once it is whole."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{os.getpid()}-{path.name}")
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def has_stage(self, name: str) -> bool:
        """Whether a stage is finished."""
        return (self.path / "stages" / f"{name}.json").is_file()

    def stage(self, name: str) -> dict[str, Any]:
        """What a finished stage recorded: its `result` and the `seconds` that it took."""
        return self.read_json(f"stages/{name}.json")

    def record_stage(self, name: str, result: Any, seconds: float) -> None:
        """Records that a stage is finished, and what it found."""
        self.write_json(f"stages/{name}.json", {"result": result, "seconds": round(seconds, 3)})

    def clean(self) -> None:
        """Removes what a killed run may have left half written."""
        for temporary in self.path.rglob(".*-*"):
            if re.match(r"\.\d+-", temporary.name) and temporary.is_file():
                temporary.unlink(missing_ok=True)


def fresh(root: Path, stem: str) -> Path:
    """The first of `stem-1`, `stem-2`, … that does not exist in a folder."""
    return root / f"{stem}-{max(_numbers(root, stem), default=0) + 1}"


def latest(root: Path, stem: str) -> Path:
    """The last of `stem-1`, `stem-2`, … in a folder.

    Raises:
        FileNotFoundError: if there is none.
    """
    numbers = _numbers(root, stem)
    if not numbers:
        raise FileNotFoundError(f"there is no run {root / stem}-… to resume; name its folder with --out")
    return root / f"{stem}-{max(numbers)}"


def _numbers(root: Path, stem: str) -> list[int]:
    if not root.is_dir():
        return []
    found = (re.fullmatch(re.escape(stem) + r"-(\d+)", path.name) for path in root.iterdir())
    return [int(match.group(1)) for match in found if match]
