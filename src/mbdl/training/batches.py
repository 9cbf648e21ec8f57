"""Where minibatches come from: arrays that live on the device, an iterable of batches, or nowhere."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, PRNGKeyArray

DEFAULT_BATCH = 32
_ORDERS_AT_ONCE = 2**22


def holds_arrays(data: Any) -> bool:
    """Whether data is a pytree of arrays (tuple, dict, module, array) rather than a list, iterator or function of "
    "batches."""
    if data is None or isinstance(data, list | Iterator) or (callable(data) and not isinstance(data, eqx.Module)):
        return False
    leaves = jax.tree.leaves(data)
    arrays = [leaf for leaf in leaves if _is_array(leaf)]
    if isinstance(data, tuple | dict) and len(arrays) < len(leaves):
        other = next(leaf for leaf in leaves if not _is_array(leaf))
        raise ValueError(
            f"data that is a {type(data).__name__} holds arrays only, but this one holds {other!r}; give a list for "
            "batches."
        )
    return bool(leaves) and len(arrays) == len(leaves)


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct) or (
        hasattr(leaf, "__array__") and hasattr(leaf, "shape") and hasattr(leaf, "dtype")
    )


def leading_axis(data: Any) -> int:
    """The number of examples in a pytree of arrays, the length of the leading axis that all of them share."""
    shapes = {jax.tree_util.keystr(path): np.shape(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(data)}
    if any(len(shape) == 0 for shape in shapes.values()):
        raise ValueError(f"the arrays of the data need a leading axis of examples, but their shapes are {shapes}.")
    sizes = {shape[0] for shape in shapes.values()}
    if len(sizes) != 1:
        raise ValueError(f"the arrays of the data need one leading axis of examples, but their shapes are {shapes}.")
    size = sizes.pop()
    if size == 0:
        raise ValueError("the data holds no examples: its leading axis has length 0.")
    return size


def as_arrays(data: Any) -> Any:
    """The same data with every array on the device; copied where it was not, so that reused host buffers do no harm."""
    return jax.tree.map(lambda leaf: leaf if isinstance(leaf, jax.Array) else jnp.array(np.asarray(leaf)), data)


def batch_length(batch: Any) -> int:
    """The number of examples in a batch, 1 where its arrays share no leading axis."""
    try:
        return leading_axis(batch)
    except ValueError:
        return 1


def checked_batch_size(batch_size: int | None, examples: int) -> int:
    """The batch size to use: what was asked for, or 32, or all examples if there are fewer."""
    if batch_size is None:
        return min(DEFAULT_BATCH, examples)
    if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise ValueError(f"batch_size must be an integer ≥ 1, but got {batch_size!r}.")
    if batch_size > examples:
        raise ValueError(f"batch_size={batch_size} is more than the {examples} examples of the data.")
    return int(batch_size)


def order_of_epoch(seed: int, epoch: int, examples: int) -> Int[np.ndarray, " examples"]:
    """The order of the examples in an epoch, a permutation that depends on the seed and the epoch alone.

    Made on the host, by sorting the words of a counter-based generator: XLA on CPU takes ten times as long.
    """
    generator = np.random.Philox(key=seed, counter=[0, 0, 0, epoch])
    return np.argsort(generator.random_raw(examples), kind="stable").astype(np.int32)


def seed_of(key: PRNGKeyArray) -> int:
    """A JAX key as a number of up to 128 bits."""
    words = np.asarray(jax.random.key_data(key)).reshape(-1)
    return sum(int(word) << (32 * i) for i, word in enumerate(words)) % 2**128


class Orders:
    """The orders of a window of epochs, on the device, so that one dispatch may run over several epochs."""

    def __init__(self, key: PRNGKeyArray, examples: int, batch_size: int, capacity: int):
        self.seed, self.examples = seed_of(key), examples
        self.steps_per_epoch = examples // batch_size
        wanted = -(-capacity // self.steps_per_epoch) + 1
        self.window = max(1, min(wanted, _ORDERS_AT_ONCE // examples))
        self.first_epoch = -1
        self.table: Any = None

    def cover(self, step: int) -> int:
        """Makes the window hold the epoch of a step; returns how many steps it holds from there."""
        epoch = step // self.steps_per_epoch
        if self.first_epoch < 0 or not self.first_epoch <= epoch < self.first_epoch + self.window:
            orders = [order_of_epoch(self.seed, epoch + i, self.examples) for i in range(self.window)]
            self.table, self.first_epoch = jnp.asarray(np.stack(orders)), epoch
        return (self.first_epoch + self.window) * self.steps_per_epoch - step


class BatchesEnded(Exception):
    """An iterator gave no more batches."""


class Stream:
    """Batches drawn one by one from an iterable, one ahead of the step that is running.

    An iterable is started again when it ends (each time is an epoch); an iterator, e.g. a generator, is used once; a
    function is called with the number of the epoch and returns that epoch's iterable.
    """

    def __init__(self, source: Iterable[Any] | Callable[[int], Iterable[Any]]):
        if not callable(source) and not isinstance(source, Iterable):
            raise TypeError(
                f"data is a pytree of arrays, an iterable of batches or a function of the epoch, but got {source!r}."
            )
        self.source = source
        self.used = (0, 0)  # the epoch of the last batch taken, and how many batches of it were taken
        self._epoch, self._position = -1, 0
        self._iterator: Iterator[Any] | None = None
        self._ahead: Any = _END

    def take(self) -> Any:
        """The next batch, on the device."""
        self.prefetch()
        if self._ahead is _END:
            raise BatchesEnded
        batch, self.used = self._ahead
        self._ahead = _END
        return batch

    def prefetch(self) -> None:
        """Draws the next batch, if there is one, and starts its transfer to the device."""
        if self._ahead is _END:
            batch = self._draw()
            if batch is not _END:
                self._ahead = (as_arrays(batch), (self._epoch, self._position))

    def peek(self) -> Any:
        """The next batch, which stays the next one, or None if there is none."""
        self.prefetch()
        return None if self._ahead is _END else self._ahead[0]

    def skip(self, batches: int, used: tuple[int, int]) -> None:
        """Goes to where another stream of the same batches was after `batches` of them, so that resuming is exact.

        Batches are drawn and thrown away; a function of the epoch is started at the epoch in question.
        """
        if batches and callable(self.source):
            self._epoch = used[0] - 1
            batches = used[1]
        for _ in range(batches):
            self._draw()
        self.used = used

    def _draw(self) -> Any:
        for fresh in (False, True):
            if self._iterator is None:
                self._epoch, self._position = self._epoch + 1, 0
                self._iterator = iter(self.source(self._epoch) if callable(self.source) else self.source)
                fresh = True
            batch = next(self._iterator, _END)
            if batch is not _END:
                self._position += 1
                return batch
            if fresh or isinstance(self.source, Iterator):
                break
            self._iterator = None
        return _END


class Source(NamedTuple):
    """What batches are made from.

    `kind` is `whole` (all examples each step), `drawn` (minibatches of arrays), `given` (an iterable's) or `none`.
    """

    kind: Literal["whole", "drawn", "given", "none"]
    arrays: Any
    stream: Stream | None
    examples: int
    batch_size: int

    @property
    def steps_per_epoch(self) -> int:
        """How many whole batches the arrays hold."""
        return self.examples // self.batch_size if self.batch_size else 0

    def first(self) -> Any:
        """A batch to trace the step with, or None where there is none yet."""
        return jax.tree.map(lambda leaf: leaf[: self.batch_size], self.arrays)


def source_of(data: Any, batch_size: int | None) -> Source:
    """Looks at what the user gave, and puts arrays on the device."""
    if holds_arrays(data):
        arrays = as_arrays(data)
        examples = leading_axis(arrays)
        size = checked_batch_size(batch_size, examples)
        return Source("whole" if size == examples else "drawn", arrays, None, examples, size)
    if batch_size is not None:
        raise ValueError("batch_size is for data that are arrays; an iterable gives batches of its own size.")
    stream = None if data is None else Stream(data)
    return Source("none" if stream is None else "given", None, stream, 0, 0)


_END = object()
