"""Names of classes and functions."""

import collections
import importlib

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from core import toys

import mbdl
from mbdl.core import registry


class One(eqx.Module):
    pass


def function(x):
    return x


@pytest.fixture
def own(monkeypatch):
    monkeypatch.setattr(registry, "_by_name", dict(registry._by_name))
    monkeypatch.setattr(registry, "_by_object", dict(registry._by_object))


def test_what_is_registered_is_found(own):
    assert registry.name_of(toys.Shrink) == "core.toys.Shrink"
    assert registry.named("core.toys.Shrink") is toys.Shrink
    assert mbdl.register(function) is function
    assert registry.named(f"{__name__}.function") is function
    mbdl.register(One, name="my.One")
    assert (registry.name_of(One), registry.named("my.One")) == ("my.One", One)
    assert registry.name_of(test_components_of_the_library_have_names_of_their_own) is None
    assert registry.named("my.Other") is None


def test_the_librarys_own():
    assert registry.name_of(mbdl.Learned) == "mbdl.core.Learned"
    assert registry.named("mbdl.core.Learned") is mbdl.Learned
    assert registry.name_of(mbdl.networks.DnCNN) == "mbdl.networks.DnCNN"
    assert registry.name_of(jax.nn.relu) == "jax.nn.relu"
    assert registry.name_of(jnp.tanh) == "jax.numpy.tanh"
    assert registry.name_of(eqx.nn.Linear) == "equinox.nn.Linear"
    assert registry.named("os.system") is None
    assert registry.named("mbdl.core.saving.os.system") is None


def test_components_of_the_library_have_names_of_their_own():
    importlib.import_module("mbdl.studies")  # programs are not components
    names = collections.Counter(registry._library().values())
    assert {name for name, count in names.items() if count > 1} == set()


def test_errors(own):
    with pytest.raises(ValueError, match="begins with the name of a library"):
        mbdl.register(One, name="mbdl.core.Learned")
    with pytest.raises(ValueError, match="is the name of .*Shrink.* already. Pass another name="):
        mbdl.register(One, name="core.toys.Shrink")
    with pytest.raises(ValueError, match="no name of its own"):
        mbdl.register(lambda x: x)

    class Local(eqx.Module):
        pass

    with pytest.raises(ValueError, match="Define it at module level, or pass name="):
        mbdl.register(Local)
    mbdl.register(Local, name="my.Local")


def test_a_module_that_is_imported_again(own):
    again = type("Shrink", (eqx.Module,), {"__module__": "core.toys", "__qualname__": "Shrink"})
    mbdl.register(again)
    assert registry.named("core.toys.Shrink") is again
