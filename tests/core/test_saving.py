"""save and load."""

import enum
import functools
import json
import os
import subprocess
import sys
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core import toys
from safetensors.numpy import load as from_bytes
from safetensors.numpy import save as to_bytes

import mbdl
from mbdl import inverse, networks
from mbdl.core import FileFormatError, PerLayer

KEY = jax.random.key(0)
X = toys.vector()


@mbdl.register
class Pair(NamedTuple):
    first: Any
    second: Any


@mbdl.register
class Holder(eqx.Module):
    """Anything, dynamic and static, and a field with a default that a constructor need not set."""

    held: Any
    static: Any = eqx.field(static=True, default=None)
    unset: Any = 3.0

    def __init__(self, held, static=None):
        self.held, self.static = held, static


def bits(leaf):
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return str(jax.random.key_impl(leaf)), np.asarray(jax.random.key_data(leaf)).tobytes()
    if eqx.is_array(leaf):
        return type(leaf).__name__, str(leaf.dtype), leaf.shape, np.asarray(leaf).tobytes()
    return type(leaf), repr(leaf)


def assert_same(one, two):
    assert jax.tree.structure(one) == jax.tree.structure(two)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        assert bits(a) == bits(b)


def round_trip(tmp_path, value):
    mbdl.save(tmp_path / "rule.mbdl", value)
    return mbdl.load(tmp_path / "rule.mbdl")


SPECIAL = [0.0, -0.0, np.nan, np.inf, -np.inf, 1e-45, 1 / 3]
VALUES = {
    **{d: np.asarray([0, 1, 2]).astype(d) for d in ("bool", "int8", "uint8", "int16", "uint32", "float16")},
    "float32": np.asarray(SPECIAL, np.float32),
    "numpy float64": np.asarray(SPECIAL),
    "complex64": jnp.asarray([complex(a, b) for a in SPECIAL for b in SPECIAL], jnp.complex64),
    "bfloat16": jnp.asarray([1.0, -0.0, np.nan, 1e30], jnp.bfloat16),
    "empty": jnp.zeros((0, 3)),
    "scalar": jnp.asarray(2.5, jnp.float32),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "key": jax.random.key(3),
    "keys": jax.random.split(jax.random.key(3, impl="rbg"), 2),
    "numbers": (1, 2**80, 0.1, -0.0, float("inf"), 1e-310, 3 + 0.1j, True, None, "text"),
    "nested": {"a": [1.0, (jnp.ones(2), {})], "b": Pair(jnp.zeros(1), (None,)), "]['x": ()},
    "functions": [jax.nn.relu, jnp.tanh, jax.nn.gelu],
    "dtypes": Holder(None, static=(np.dtype("float32"), np.float64, "static", (1, 2.5))),
    "layers": PerLayer(mbdl.Learned(jnp.ones(2), mbdl.interval(0.0, 1.0), ("learn",), True), level=2),
    "unset": Holder(1),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_come_back_bit_by_bit(name, tmp_path):
    value = Holder(jax.tree.map(lambda leaf: leaf, VALUES[name]))
    assert_same(round_trip(tmp_path, value), value)
    assert_same(round_trip(tmp_path, VALUES[name]), VALUES[name])


def test_double_precision(tmp_path, x64):
    value = {"f": jnp.asarray(SPECIAL), "c": jnp.asarray([complex(-0.0, np.inf)]), "i": jnp.arange(2)}
    assert {leaf.dtype.itemsize for leaf in jax.tree.leaves(value)} == {8, 16}
    back = round_trip(tmp_path, value)
    assert_same(back, value)
    with jax.enable_x64(False), pytest.raises(FileFormatError, match="which JAX holds as .*Enable 64-bit types"):
        mbdl.load(tmp_path / "rule.mbdl")


def descent():
    return toys.Descent(toys.matrix())


def hyper(r):
    return (r.step_size, r.ridge)


RULES = {
    "known": descent(),
    "learned": mbdl.learn(descent(), hyper, constraint=mbdl.interval(0.0, 1.0)),
    "unfolded": mbdl.unfold(descent(), 3, untie=hyper, constraint=mbdl.positive, rematerialise=True),
    "augmented": mbdl.freeze(mbdl.augment(descent(), toys.Dense.make(KEY)), lambda r: r.correction.correction),
    "substituted": mbdl.substitute(
        toys.Proximal(toys.matrix(), toys.Shrink(0.1)), lambda r: r.prox, toys.Dense.make(KEY)
    ),
    "tuned": mbdl.tuned(toys.Outer(mbdl.unfold(descent(), 2, untie=hyper)), lambda r: r.inner.A),
    "numbers": toys.Shrink(0.1),
}


@pytest.mark.parametrize("name", RULES)
def test_rules_come_back(name, tmp_path):
    rule = RULES[name]
    back = round_trip(tmp_path, rule)
    assert_same(back, rule)
    assert type(back) is type(rule)
    assert mbdl.spectrum(back) == mbdl.spectrum(rule)
    rule(X)
    size = mbdl.core.rule._run._cache_size()
    np.testing.assert_array_equal(back(X), rule(X))
    if name != "numbers":  # its number was weakly typed
        assert mbdl.core.rule._run._cache_size() == size
    mbdl.save(tmp_path / "again.mbdl", back)
    assert (tmp_path / "again.mbdl").read_bytes() == (tmp_path / "rule.mbdl").read_bytes()


@pytest.mark.parametrize(
    "network",
    [
        networks.MLP(3, 2, 4, 2, key=KEY),
        networks.Linear(3, 2, bias=False, key=KEY),
        networks.Conv(1, 2, boundary="reflect", key=KEY),
        networks.DnCNN(width=3, depth=2, noise_conditioned=True, bias=False, key=KEY),
        networks.UNet(width=2, scales=2, key=KEY),
        networks.UpsampleCNN(2, width=4, depth=2, key=KEY),
        networks.NetworkRule(networks.DnCNN(width=3, depth=2, activation=jax.nn.gelu, key=KEY)),
        eqx.nn.MLP(3, 2, 4, 1, activation=jax.nn.relu, final_activation=jax.nn.identity, key=KEY),
        eqx.nn.GRUCell(2, 3, key=KEY),
        eqx.nn.Dropout(0.3),
    ],
    ids=lambda network: type(network).__name__,
)
def test_networks_come_back(network, tmp_path):
    assert_same(round_trip(tmp_path, network), network)


@pytest.mark.parametrize("solver", ["ISTA", "FISTA", "ADMM", "GradientDescent"])
def test_solvers_with_all_verbs_come_back(solver, tmp_path):
    step = "penalty" if solver == "ADMM" else "step_size"
    prior = inverse.SquaredL2(0.1) if solver == "GradientDescent" else inverse.L1(0.1)
    rule = getattr(inverse, solver)(inverse.LeastSquares(inverse.Matrix(toys.matrix())), prior, iterations=4)
    rule = mbdl.learn(rule, lambda r: r.prior.weight, constraint=mbdl.positive)
    rule = mbdl.unfold(rule, 3, untie=lambda r: getattr(r, step), constraint=mbdl.positive)
    rule = mbdl.freeze(mbdl.augment(rule, toys.Dense.make(KEY)), lambda r: r.correction.correction.first)
    back = round_trip(tmp_path, rule)
    assert_same(back, rule)
    np.testing.assert_array_equal(back(X), rule(X))


class Colour(enum.IntEnum):
    red = 1


class MyTuple(tuple):
    pass


class Unregistered(eqx.Module):
    weight: Any


def plain_function(x):
    return x


class TestWhatHasNoForm:
    @pytest.mark.parametrize(
        ("value", "where"),
        [
            (lambda x: x, "Holder.held"),
            (plain_function, "'plain_function'"),
            (functools.partial(jax.nn.leaky_relu, negative_slope=0.1), "Holder.held"),
            (Unregistered(1.0), "'Unregistered'"),
            ({"a": [Unregistered(1.0)]}, r"Holder.held\['a'\]\[0\]"),
            (object(), "Holder.held is a object"),
            (Colour.red, "Holder.held is a Colour"),
            (MyTuple((1, 2)), "Holder.held is a MyTuple"),
            ({1: 2.0}, "keys are not all strings"),
            (np.asarray(["text"]), "NumPy array of <U4"),
            (np.asarray([None]), "NumPy array of object"),
            (b"bytes", "Holder.held is a bytes"),
        ],
    )
    def test_it_is_named_and_nothing_is_written(self, value, where, tmp_path):
        with pytest.raises(TypeError, match=f"save: .*{where}"):
            mbdl.save(tmp_path / "rule.mbdl", Holder(value))
        if isinstance(value, np.ndarray):
            return  # no static field
        with pytest.raises(TypeError, match="save: "):
            mbdl.save(tmp_path / "rule.mbdl", Holder(None, static=value))
        assert list(tmp_path.iterdir()) == []

    def test_the_default_activation_of_equinox(self, tmp_path):
        with pytest.raises(TypeError, match=r"save: .*activation.*mbdl\.register, or use a named function"):
            mbdl.save(tmp_path / "rule.mbdl", eqx.nn.MLP(1, 1, 1, 1, activation=lambda x: x, key=KEY))


def rewritten(path, change=None, version=1):
    """The file again with its structure (as a JSON tree) or its version changed."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    described = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["mbdl-rule"])
    structure = described["structure"]
    if change is not None:
        structure = change(structure) or structure
    return with_text(path, json.dumps({"version": version, "structure": structure}))


def with_text(path, text):
    path.write_bytes(to_bytes(from_bytes(path.read_bytes()), {"mbdl-rule": text}))
    return path


class TestDamage:
    @pytest.fixture
    def path(self, tmp_path):
        mbdl.save(tmp_path / "rule.mbdl", RULES["unfolded"])
        return tmp_path / "rule.mbdl"

    def test_truncated_anywhere(self, path):
        content = path.read_bytes()
        header = 8 + int.from_bytes(content[:8], "little")
        lengths = {0, 1, 7, 8, 9, header // 2, header - 1, header, header + 1, len(content) // 2, len(content) - 1}
        for length in sorted(lengths | set(range(0, len(content), 97))):
            path.write_bytes(content[:length])
            with pytest.raises(FileFormatError, match="is not a saved rule, or it is damaged"):
                mbdl.load(path)
        path.write_bytes(content + b"more")
        with pytest.raises(FileFormatError, match="damaged"):
            mbdl.load(path)

    @pytest.mark.parametrize("content", [b"PNG and so on" * 20, b"{}", b"\xff" * 64, b"\x80\x04\x95pickle." * 9])
    def test_foreign(self, path, content):
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match="is not a saved rule, or it is damaged"):
            mbdl.load(path)

    def test_another_safetensors_file(self, path):
        for metadata in (None, {"format": "pt"}):
            path.write_bytes(to_bytes({"weight": np.ones(2)}, metadata))
            with pytest.raises(FileFormatError, match="is a safetensors file, but not one that mbdl.save wrote"):
                mbdl.load(path)

    @pytest.mark.parametrize("version", [2, 99, "1", None, -1, 0, 1.5, True])
    def test_newer(self, path, version):
        with pytest.raises(FileFormatError, match="has version .* of the format and this mbdl reads up to 1. Update"):
            mbdl.load(rewritten(path, version=version))

    def test_fields(self, path):
        def without(structure):
            del structure["fields"]["A"]

        def more(structure):
            structure["fields"]["other"] = None

        for change in (without, more):
            original = path.read_bytes()
            with pytest.raises(FileFormatError, match="has the fields .* and the file has .* different version"):
                mbdl.load(rewritten(path, change))
            path.write_bytes(original)

    @pytest.mark.parametrize(
        "name", ["os.system", "builtins.eval", "my.Class", "mbdl.core.saving.os", "subprocess.Popen", "", "__main__"]
    )
    @pytest.mark.parametrize("kind", ["class", "function", "namedtuple"])
    def test_names_that_are_not_registered_run_nothing(self, path, name, kind, monkeypatch):
        monkeypatch.setattr(os, "system", lambda *_: pytest.fail("code was run"))
        structure = {kind: name, "fields": {"weight": {"number": ["int", "1"]}}}
        with pytest.raises(FileFormatError, match=r"is '.*', which is not registered here. Import the module"):
            mbdl.load(rewritten(path, lambda _: structure))

    @pytest.mark.parametrize(
        ("structure", "message"),
        [
            ({"class": "jax.nn.relu", "fields": {}}, "'jax.nn.relu' is not a class with fields"),
            ({"class": "mbdl.core.save", "fields": {"path": "x", "rule": None}}, "is not a class with fields"),
            ({"namedtuple": "mbdl.core.save", "fields": {"path": "x", "rule": "y"}}, "is not a named tuple"),
            ({"namedtuple": "mbdl.core.Learned", "fields": {"raw": None}}, "is not a named tuple"),
            ({"class": "mbdl.core.DecisionRule", "fields": {}}, "damaged"),
            ({"class": "mbdl.core.Learned"}, "damaged"),
            ({"strange": 1}, "unknown form"),
            ({"array": "missing", "kind": "jax"}, "damaged"),
            ({"number": ["eval", "1"]}, "damaged"),
            ({"number": ["int", "__import__('os')"]}, "damaged"),
            ({"dtype": "no such dtype"}, "damaged"),
            ([1, 2], "unknown form"),
            (7, "damaged"),
        ],
    )
    def test_strange_structures(self, path, structure, message):
        with pytest.raises(FileFormatError, match=message):
            mbdl.load(rewritten(path, lambda _: structure))
        assert not (path.parent / "x").exists()

    def test_structures_that_are_no_json(self, path):
        for text in ("{", "[" * 100_000, '{"tuple": [' * 3000 + "null" + "]}" * 3000, "7", "null", "{}"):
            original = path.read_bytes()
            with pytest.raises(FileFormatError, match="damaged"):
                mbdl.load(with_text(path, text))
            path.write_bytes(original)

    def test_no_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="there is no file"):
            mbdl.load(tmp_path / "nothing.mbdl")


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "rule.mbdl"
    mbdl.save(path, descent())
    before = path.read_bytes()
    with pytest.raises(TypeError):
        mbdl.save(path, Holder(lambda x: x))
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("the disk is full")))
    with pytest.raises(OSError, match="the disk is full"):
        mbdl.save(path, toys.Shrink(0.1))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_files_permissions_are_the_usual_ones(tmp_path):
    mbdl.save(tmp_path / "rule.mbdl", descent())
    (tmp_path / "plain").touch()
    assert (tmp_path / "rule.mbdl").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_loading_in_a_fresh_process(tmp_path):
    mbdl.save(tmp_path / "rule.mbdl", RULES["augmented"])
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "s.npy", RULES["augmented"](X))
    script = (
        "import sys, numpy as np, mbdl\n"
        "try:\n    mbdl.load('rule.mbdl')\nexcept mbdl.core.FileFormatError as error:\n"
        "    assert 'core.toys.Descent' in str(error) and 'not registered' in str(error), error\n"
        "else:\n    raise AssertionError('loaded an unregistered class')\n"
        "from core import toys\n"
        "rule = mbdl.load('rule.mbdl')\n"
        "np.testing.assert_allclose(rule(np.load('x.npy')), np.load('s.npy'), rtol=1e-6)\n"
        "assert mbdl.spectrum(rule).learned == 1\n"
    )
    path = os.pathsep.join(sys.path)
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, check=True)
