"""Names for classes and functions, so that a saved rule refers to them without holding code."""

import enum
import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

Registered = TypeVar("Registered", bound=Callable[..., Any])

_by_name: dict[str, Any] = {}
_by_object: dict[Any, str] = {}

# What `import mbdl` does not load; a saved rule must not need it.
_PROGRAMS = ("data", "studies", "report", "cli", "__main__")
_JAX_FUNCTIONS = (
    *("relu", "relu6", "sigmoid", "softplus", "silu", "log_sigmoid", "leaky_relu", "elu", "celu", "selu", "gelu"),
    *("glu", "softmax", "log_softmax", "hard_tanh", "hard_sigmoid", "hard_silu", "soft_sign", "squareplus", "mish"),
    "identity",
)


def register(thing: Registered, *, name: str | None = None) -> Registered:
    """Give a class or a function of one's own a name, so that rules that hold it can be saved and loaded.

    Used as a decorator. The same registration must have run where the rule is loaded.

    Args:
        thing: a class (an `equinox.Module`) or a function.
        name: its name in files; by default `module.qualname`.

    Raises:
        ValueError: for a name that another class or function has, or that begins with `mbdl.` or `jax.`.

    ```python
    @mbdl.register
    class Shrink(mbdl.DecisionRule): ...
    ```
    """
    name = name or f"{thing.__module__}.{thing.__qualname__}"
    if name.split(".")[0] in ("mbdl", "jax", "equinox"):
        raise ValueError(f"register: {name!r} begins with the name of a library. Give it a name of your own")
    if "<lambda>" in name or "<locals>" in name:
        raise ValueError(f"register: {name!r} has no name of its own. Define it at module level, or pass name=")
    if name in _by_name and _by_name[name] is not thing and _qualified(_by_name[name]) != _qualified(thing):
        raise ValueError(f"register: {name!r} is the name of {_by_name[name]!r} already. Pass another name=")
    _by_name[name] = thing
    _by_object[thing] = name
    return thing


def name_of(thing: Any) -> str | None:
    """The registered name of a class or function, or `None`."""
    known = _by_object.get(thing)
    return known if known is not None else _library().get(thing)


def named(name: str) -> Any | None:
    """The class or function of a registered name, or `None`."""
    if name in _by_name:
        return _by_name[name]
    return next((thing for thing, known in _library().items() if known == name), None)


def _qualified(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def _library() -> dict[Any, str]:
    """The library's own classes and functions by public name, with the functions and layers that networks use."""
    return _collect(sum(name.startswith("mbdl.") for name in list(sys.modules)))


@functools.lru_cache(maxsize=1)
def _collect(modules: int) -> dict[Any, str]:
    """As `_library`, once for each number of modules that are loaded."""
    found: dict[Any, str] = {}
    for function in _JAX_FUNCTIONS:
        if hasattr(jax.nn, function):
            found[getattr(jax.nn, function)] = f"jax.nn.{function}"
    for function in ("tanh", "abs", "square", "exp", "sin", "cos"):
        found[getattr(jnp, function)] = f"jax.numpy.{function}"
    for name in dir(eqx.nn):
        thing = getattr(eqx.nn, name)
        if isinstance(thing, type) and issubclass(thing, eqx.Module):
            found[thing] = f"equinox.nn.{name}"
    for module_name, module in list(sys.modules.items()):
        parts = module_name.split(".")
        if parts[0] != "mbdl" or module is None or len(parts) < 2 or parts[1] in _PROGRAMS:
            continue
        for thing in list(vars(module).values()):
            if getattr(thing, "__module__", None) != module_name or not hasattr(thing, "__qualname__"):
                continue
            if "<" in thing.__qualname__ or thing.__name__.startswith("_"):
                continue
            if (isinstance(thing, type) and not issubclass(thing, enum.Enum)) or callable(thing):
                # The package, not the file, is part of the name: files may be split.
                found[thing] = ".".join([*parts[:2], thing.__qualname__])
    return found
