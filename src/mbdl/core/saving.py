"""Saving a rule to one safetensors file, and loading it without running any code from it."""

import dataclasses
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .registry import name_of, named

FORMAT = "mbdl-rule"
VERSION = 1


class FileFormatError(ValueError):
    """A file is not a saved rule, is damaged, or needs something that is not here."""


def save(path: str | os.PathLike[str], rule: Any) -> None:
    """Save a rule to one safetensors file: its arrays, and its structure as JSON in the metadata.

    Classes and functions are stored by registered name (`mbdl.register`). The file appears whole or not at all.

    Args:
        path: where to write; `.mbdl` is the usual suffix.
        rule: any rule, or part of one.

    Raises:
        TypeError: naming the field, for a class or function without a registered name (such as a lambda) or a value
            that has no form in a file; nothing is written then.
    """
    from safetensors.numpy import save as to_bytes

    arrays: dict[str, np.ndarray] = {}
    structure = _encode(rule, type(rule).__name__, arrays)
    # One entry: the order of several is not defined, and the same rule shall make the same file.
    write_atomically(path, to_bytes(arrays, {FORMAT: json.dumps({"version": VERSION, "structure": structure})}))


def load(path: str | os.PathLike[str]) -> Any:
    """Load what `save` wrote. Nothing in the file is executed: classes and functions are looked up by name.

    Args:
        path: a file that `save` wrote.

    Returns:
        the rule, equal to what was saved.

    Raises:
        FileFormatError: for a file that is not a saved rule, is damaged, was written by a newer version, names a
            class or function that is not registered, or does not have exactly the fields of its classes.
        FileNotFoundError: when there is no such file.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"load: there is no file {os.fspath(path)!r}")
    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            metadata = (file.metadata() or {}).get(FORMAT)
            if metadata is None:
                raise FileFormatError(
                    f"load: {os.fspath(path)!r} is a safetensors file, but not one that mbdl.save wrote"
                )
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError) as error:
        raise FileFormatError(
            f"load: {os.fspath(path)!r} is not a saved rule, or it is damaged ({error}). Save the rule again with "
            f"mbdl.save"
        ) from error
    try:
        described = json.loads(metadata)
        version = described["version"]
        if type(version) is not int or not 1 <= version <= VERSION:
            raise FileFormatError(
                f"it has version {version!r} of the format and this mbdl reads up to {VERSION}. Update mbdl"
            )
        return _decode(described["structure"], arrays, "rule")
    except FileFormatError as error:
        raise FileFormatError(f"load: {os.fspath(path)!r}: {error}") from None
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise FileFormatError(
            f"load: {os.fspath(path)!r} is damaged: its structure cannot be read ({error!r})"
        ) from error


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file so that whoever looks sees the old one or the new one, whatever happens meanwhile."""
    target = Path(path)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _encode(value: Any, where: str, arrays: dict[str, np.ndarray]) -> Any:
    """The JSON form of a value; arrays go to `arrays`, under the path where they stand."""
    if value is None or type(value) in (bool, str):
        return value
    if type(value) in (int, float, complex):
        # repr and not JSON's number: exact, and infinities are allowed.
        return {"number": [type(value).__name__, repr(value)]}
    if isinstance(value, (jax.Array, np.ndarray, np.generic)):
        return _encode_array(value, where, arrays)
    if isinstance(value, np.dtype):
        return {"dtype": value.name}
    if isinstance(value, type) and issubclass(value, np.generic):
        return {"dtype": np.dtype(value).name, "scalar": True}
    if type(value) is dict:
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"save: {where} is a dict whose keys are not all strings")
        return {"dict": {key: _encode(item, f"{where}[{key!r}]", arrays) for key, item in value.items()}}
    if type(value) is tuple or type(value) is list:
        return {type(value).__name__: [_encode(item, f"{where}[{i}]", arrays) for i, item in enumerate(value)]}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = _name(type(value), where)
        held = vars(value)
        fields = {
            # A field with a default that a constructor has not set is another structure than one that is set to it.
            field: _encode(held[field], f"{where}.{field}", arrays) if field in held else {"unset": True}
            for field in (field.name for field in dataclasses.fields(value))
        }
        return {"class": name, "fields": fields}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        fields = {name: _encode(getattr(value, name), f"{where}.{name}", arrays) for name in value._fields}  # pyright: ignore
        return {"namedtuple": _name(type(value), where), "fields": fields}
    if callable(value):
        return {"function": _name(value, where)}
    raise TypeError(f"save: {where} is a {type(value).__name__}, which has no form in a file")


def _name(thing: Any, where: str) -> str:
    try:
        name = name_of(thing)
    except TypeError:
        name = None
    if name is None:
        what = getattr(thing, "__qualname__", repr(thing))
        raise TypeError(
            f"save: {where} is or has the class or function {what!r}, which has no registered name. Register it "
            f"with mbdl.register, or "
            "use a named function (such as jax.nn.relu) in place of a lambda"
        )
    return name


def _encode_array(value: Any, where: str, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    kind = "jax" if isinstance(value, jax.Array) else "numpy"
    described: dict[str, Any] = {"array": where, "kind": kind}
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        described["key"] = str(jax.random.key_impl(value))
        value = jax.random.key_data(value)
    array = np.array(value, order="C")
    if array.dtype.kind == "c":
        described["complex"] = array.dtype.name
        array = np.stack([np.real(array), np.imag(array)])
    if array.dtype.kind in "OSUMm":
        raise TypeError(f"save: {where} is a NumPy array of {array.dtype}, which has no form in a file")
    arrays[where] = array
    return described


def _decode(value: Any, arrays: dict[str, np.ndarray], where: str) -> Any:
    if value is None or isinstance(value, (bool, str)):
        return value
    if "number" in value:
        kind, text = value["number"]
        return {"int": int, "float": float, "complex": complex}[kind](text)
    if "array" in value:
        return _decode_array(value, arrays)
    if "dtype" in value:
        return np.dtype(value["dtype"]).type if value.get("scalar") else np.dtype(value["dtype"])
    if "dict" in value:
        return {key: _decode(item, arrays, f"{where}[{key!r}]") for key, item in value["dict"].items()}
    for kind in (tuple, list):
        if kind.__name__ in value:
            return kind(_decode(item, arrays, f"{where}[{i}]") for i, item in enumerate(value[kind.__name__]))
    if "function" in value:
        return _lookup(value["function"], where)
    if "namedtuple" in value:
        cls = _lookup(value["namedtuple"], where)
        if not (isinstance(cls, type) and issubclass(cls, tuple) and hasattr(cls, "_fields")):
            raise FileFormatError(f"{where}: {value['namedtuple']!r} is not a named tuple")
        return cls(**{name: _decode(item, arrays, f"{where}.{name}") for name, item in value["fields"].items()})
    if "class" in value:
        return _decode_class(value, arrays, where)
    raise FileFormatError(f"{where} has an unknown form {sorted(value)}")


def _decode_class(value: dict[str, Any], arrays: dict[str, np.ndarray], where: str) -> Any:
    cls = _lookup(value["class"], where)
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise FileFormatError(f"{where}: {value['class']!r} is not a class with fields")
    expected = {field.name for field in dataclasses.fields(cls)}
    given = set(value["fields"])
    if given != expected:
        raise FileFormatError(
            f"{where}: {value['class']} has the fields {sorted(expected)} and the file has {sorted(given)}. It was "
            f"written by a "
            "different version of the class"
        )
    made = object.__new__(cls)
    for name, item in value["fields"].items():
        if item != {"unset": True}:
            object.__setattr__(made, name, _decode(item, arrays, f"{where}.{name}"))
    return made


def _decode_array(value: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    array = arrays[value["array"]]
    if "complex" in value:
        real, imaginary = array
        array = np.empty(real.shape, value["complex"])
        array.real, array.imag = real, imaginary  # a sum would lose signed zeros and mix infinities
    if value["kind"] == "numpy":
        return array
    if "key" in value:
        return jax.random.wrap_key_data(jnp.asarray(array), impl=value["key"])
    restored = jnp.asarray(array)
    if restored.dtype != array.dtype:
        raise FileFormatError(
            f"{value['array']} is {array.dtype}, which JAX holds as {restored.dtype} now. Enable 64-bit types "
            "(jax.config.update('jax_enable_x64', True)) before loading"
        )
    return restored


def _lookup(name: str, where: str) -> Any:
    thing = named(name)
    if thing is None:
        raise FileFormatError(
            f"{where} is {name!r}, which is not registered here. Import the module that registers it before loading"
        )
    return thing
