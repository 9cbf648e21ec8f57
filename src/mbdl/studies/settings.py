"""Settings of a study: a frozen dataclass, whose fields can be given as `name=value` text."""

import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeVar

S = TypeVar("S")


class AbstractSettings(Protocol):
    """A frozen dataclass of numbers, booleans, words and tuples of them, each field with a default.

    A field is described by `setting(default, "what it means")`.
    """

    __dataclass_fields__: typing.ClassVar[dict[str, Any]]


def setting(default: Any, help: str) -> Any:
    """A field of a settings class with its default and what it means."""
    return dataclasses.field(default=default, metadata={"help": help})


def parse(settings: type, assignments: Iterable[str]) -> dict[str, Any]:
    """Reads `name=value` texts as values of a settings class.

    A number is written as in Python, a truth value as `true` or `false`, a tuple as `1,2,3`.

    Args:
        settings: the dataclass that says which names there are and of what type.
        assignments: texts such as `"scale=3"`.

    Returns:
        The values by name.

    Raises:
        ValueError: if a text is no assignment, a name is unknown or given twice, or a value is not of the field's
            type; the message lists what there is.

    Example:
        >>> import dataclasses
        >>> @dataclasses.dataclass(frozen=True)
        ... class Settings:
        ...     scale: int = 2
        ...     weights: tuple[float, ...] = (0.1, 1.0)
        >>> parse(Settings, ["scale=3", "weights=0.5,2"])
        {'scale': 3, 'weights': (0.5, 2.0)}
    """
    hints = typing.get_type_hints(settings)
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        name = name.strip()
        if not equals:
            raise ValueError(f"a setting is given as name=value, got {assignment!r}")
        if name not in hints:
            raise ValueError(f"there is no setting {name!r}. The settings, with their defaults:\n{describe(settings)}")
        if name in values:
            raise ValueError(f"the setting {name!r} is given twice")
        try:
            values[name] = _read(text.strip(), hints[name])
        except ValueError:
            raise ValueError(
                f"the setting {name!r} is {_type_name(hints[name])}, got {text.strip()!r}; "
                f"its default is {_show(settings.__dataclass_fields__[name].default)}"
            ) from None
    return values


def describe(settings: type) -> str:
    """The settings of a class, one a line: name, default, and what it means."""
    rows = [
        (f"{field.name}={_show(field.default)}", field.metadata.get("help", ""))
        for field in dataclasses.fields(settings)
    ]
    width = max((len(assignment) for assignment, _ in rows), default=0)
    return "\n".join(f"  {assignment.ljust(width)}  {meaning}".rstrip() for assignment, meaning in rows)


def plain(settings: Any) -> dict[str, Any]:
    """Settings as plain values that JSON can hold."""
    return {name: _plain(value) for name, value in dataclasses.asdict(settings).items()}


def restore(settings: type[S], stored: Mapping[str, Any]) -> S:
    """Settings from the plain values that `plain` made of them.

    Raises:
        ValueError: if the stored names are not those of the class, as in a run of another version.
    """
    names = {field.name for field in dataclasses.fields(settings)}  # pyright: ignore[reportArgumentType]
    if set(stored) != names:
        different = ", ".join(sorted(set(stored) ^ names))
        raise ValueError(f"the stored settings are of another version of the study; they differ in {different}")
    return settings(**{name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()})


def _read(text: str, hint: Any) -> Any:
    origin = typing.get_origin(hint)
    if origin is tuple:
        (item, *_) = typing.get_args(hint)
        return tuple(_read(part.strip(), item) for part in text.split(",") if part.strip())
    if origin is typing.Literal:
        options = typing.get_args(hint)
        if text not in options:
            raise ValueError(text)
        return text
    if origin in (typing.Union, types.UnionType):
        options = [option for option in typing.get_args(hint) if option is not type(None)]
        return None if text.lower() == "none" else _read(text, options[0])
    if hint is bool:
        truth = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if text.lower() not in truth:
            raise ValueError(text)
        return truth[text.lower()]
    if hint is int:
        return int(text)
    if hint is float:
        value = float(text)
        if value != value or value in (float("inf"), float("-inf")):
            raise ValueError(text)
        return value
    return text


def _type_name(hint: Any) -> str:
    origin = typing.get_origin(hint)
    if origin is tuple:
        (item, *_) = typing.get_args(hint)
        names = {int: "whole numbers", float: "numbers"}
        return f"a list of {names.get(item, 'words')} with commas between"
    if origin is typing.Literal:
        return "one of " + ", ".join(typing.get_args(hint))
    return {bool: "true or false", int: "a whole number", float: "a number"}.get(hint, "a text")


def _show(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(_show(item) for item in value)
    return str(value)


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value
