"""Checkpoints: one file in a folder, replaced as a whole, from which a run goes on exactly as it would have."""

import json
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mbdl.training.state import State

_FILE = "fit.safetensors"
_TEMPORARY = "fit.safetensors.new"
_FORMAT = 1
_SECONDS_BETWEEN = 10.0
_PLAIN = (
    "best_value", "best_step", "since_best", "done", "reported", "used", "in_row", "bad", "reason",
)  # fmt: skip


class Checkpoint:
    """The checkpoint folder of one run.

    The folder holds one safetensors file: arrays by name, and in its metadata JSON for the rest. It is written beside
    the old one, flushed to the disk and renamed over it, so that a kill at any moment leaves the old or the new one
    whole.
    """

    def __init__(self, folder: str | os.PathLike[str], every: int | None):
        self.folder = Path(folder)
        self.settings: dict[str, Any] = {}
        self.every = every
        self._saved = time.monotonic()
        self._check_folder()

    def due(self, done: int) -> bool:
        """Whether to save after `done` steps: every so many, or ten seconds after the last time."""
        if self.every is not None:
            return done > 0 and done % self.every == 0
        return time.monotonic() - self._saved > _SECONDS_BETWEEN

    def save(self, state: State) -> None:
        """Replaces the checkpoint by one of this state."""
        from safetensors.numpy import save

        self._saved = time.monotonic()
        if jax.process_index():  # All processes of a mesh hold the same state; the first one writes it.
            return
        arrays = {f"history/{name}": column for name, column in state.columns().items()}
        arrays |= _named("carry", state.carry)
        if state.best is not None:
            arrays |= _named("best", state.best)
        plain = {name: getattr(state, name) for name in _PLAIN} | {"seconds": state.elapsed()}
        meta = {"format": _FORMAT, "settings": self.settings, "state": plain}
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / _TEMPORARY
        with temporary.open("wb") as file:
            file.write(save(arrays, metadata={"mbdl.fit": json.dumps(meta)}))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.folder / _FILE)
        _flush_folder(self.folder)

    def read(self, resume: bool) -> "Stored | None":
        """What the folder holds, or None if nothing."""
        if not (self.folder / _FILE).is_file():
            return None
        if not resume:
            raise ValueError(
                f"{self.folder} holds the checkpoint of a run already; pass resume=True to go on with it, or another "
                "folder."
            )
        return Stored(*self._read())

    def restore(self, state: State, stored: "Stored") -> State:
        """The saved state, after checking that it belongs to the same run; `state` gives the structure."""
        arrays, meta = stored.arrays, stored.meta
        self._check_settings(meta["settings"])
        plain: dict[str, Any] = {name: meta["state"][name] for name in _PLAIN} | {"used": stored.used}
        best = None if plain["best_value"] is None else _restored("best", state.carry.learned, arrays)
        history = {name: arrays[f"history/{name}"] for name in state.columns()}
        return State(
            carry=_restored("carry", state.carry, arrays),
            best=best,
            **plain,
            seconds=meta["state"]["seconds"],
            losses=[history["losses"]],
            gradient_norms=[history["gradient_norms"]],
            skipped=[history["skipped"]],
            validation_steps=history["validation_steps"].tolist(),
            validation=history["validation"].tolist(),
        )

    def _read(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        from safetensors import SafetensorError, safe_open

        path = self.folder / _FILE
        try:
            with safe_open(path, framework="numpy") as file:
                meta = json.loads((file.metadata() or {})["mbdl.fit"])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, KeyError, ValueError) as error:
            raise ValueError(f"{path} is no checkpoint of mbdl.fit, or it is damaged: {error}.") from error
        if meta.get("format") != _FORMAT:
            raise ValueError(
                f"{path} has the checkpoint format {meta.get('format')}, and this version of mbdl reads format "
                f"{_FORMAT}; resume it with the version that wrote it, or start again in another folder."
            )
        return arrays, meta

    def _check_settings(self, saved: dict[str, Any]) -> None:
        here = json.loads(json.dumps(self.settings))
        if here["computation"] is None:  # a run over an iterable that has ended: there is no batch to trace it with
            here["computation"] = saved.get("computation")
        names = [name for name in here | saved if here.get(name) != saved.get(name)]
        if saved.get("jax") != here.get("jax"):
            # Programs of another version may be written in other terms; the numbers are then equal to rounding only.
            names = [name for name in names if name not in ("jax", "computation")]
        if names:
            lines = "\n".join(
                f"  {name}: {_short(saved.get(name))} there, {_short(here.get(name))} here" for name in names
            )
            raise ValueError(
                f"cannot resume from {self.folder}: its run is not this one.\n{lines}\nUse the same rule, data, key "
                "and settings, or start again in another folder."
            )

    def _check_folder(self) -> None:
        if not self.folder.exists():
            return
        if not self.folder.is_dir():
            raise ValueError(f"checkpoint={str(self.folder)!r} is a file; give a folder.")
        foreign = sorted(entry.name for entry in self.folder.iterdir() if entry.name not in (_FILE, _TEMPORARY))
        if foreign:
            raise ValueError(
                f"the checkpoint folder {self.folder} holds something else ({', '.join(foreign[:3])}…); give a folder "
                "of its own."
            )


class Stored(NamedTuple):
    """The contents of a checkpoint."""

    arrays: dict[str, np.ndarray]
    meta: dict[str, Any]

    @property
    def done(self) -> int:
        """How many steps had been made."""
        return self.meta["state"]["done"]

    @property
    def used(self) -> tuple[int, int]:
        """The epoch and the number of its batches that had been used, of an iterable."""
        epoch, batches = self.meta["state"]["used"]
        return epoch, batches


def _named(prefix: str, tree: Any) -> dict[str, np.ndarray]:
    """The arrays of a tree by their place in it, as arrays that safetensors can hold."""
    return {f"{prefix}/{i}": _plain(leaf) for i, leaf in enumerate(jax.tree.leaves(tree))}


def _plain(leaf: jax.Array) -> np.ndarray:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    array = np.asarray(leaf)
    if array.dtype.isbuiltin != 1 or array.dtype.kind == "c":
        # bfloat16 and its kin, and complex numbers: as bytes along a last axis.
        array = np.ascontiguousarray(array).reshape((*array.shape, 1)).view(np.uint8)
    return np.array(array, order="C")


def _restored(prefix: str, like: Any, arrays: dict[str, np.ndarray]) -> Any:
    leaves, treedef = jax.tree.flatten(like)
    return jax.tree.unflatten(
        treedef, [_as(leaf, arrays.get(f"{prefix}/{i}"), f"{prefix}/{i}") for i, leaf in enumerate(leaves)]
    )


def _as(leaf: jax.Array, array: np.ndarray | None, name: str) -> jax.Array:
    if array is None or array.shape != _plain(leaf).shape or array.dtype != _plain(leaf).dtype:
        raise ValueError(
            f"the checkpoint's array {name} does not fit the rule and the optimiser; start again in another folder."
        )
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.array(array), impl=jax.random.key_impl(leaf))
    dtype = np.dtype(leaf.dtype)
    if dtype != array.dtype:
        array = array.view(dtype).reshape(leaf.shape)
    return jnp.array(array)


def _flush_folder(folder: Path) -> None:
    """Makes the rename last through a power cut, where the system can do that for folders."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "…"
