"""The risk on data that is not trained on, in batches so that memory is bounded."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, PRNGKeyArray

from mbdl.core import combine, holds_convolution
from mbdl.training.batches import as_arrays, batch_length, checked_batch_size, holds_arrays, leading_axis
from mbdl.training.fingerprint import digest_of_arrays
from mbdl.training.risk import AbstractExampleRisk
from mbdl.training.sharding import replicated, spread
from mbdl.training.structure import Structure, take_apart


class _Static(NamedTuple):
    rest: Structure
    risk: Structure
    per_example: bool
    mesh: Mesh | None


class _Inputs(NamedTuple):
    learned: Any
    rest: list[Any]
    risk: list[Any]
    key: PRNGKeyArray


class Validator:
    """The mean risk over all examples of the validation data.

    The same keys are used each time, so that two rules are compared on the same draws.
    """

    def __init__(
        self,
        risk: Any,
        data: Any,
        rest: tuple[list[Any], Structure],
        batch_size: int | None,
        key: PRNGKeyArray,
        mesh: Mesh | None,
    ):
        arrays, structure = take_apart(risk)
        self._rest, self._risk, self._key = replicated((rest[0], arrays, key), mesh)
        self._static = _Static(rest[1], structure, isinstance(risk, AbstractExampleRisk), mesh)
        self._batch_of, self._batch, self._all = _programs(self._static)
        self._resident = holds_arrays(data)
        self.data = replicated(as_arrays(data), mesh) if self._resident else data
        if self._resident:
            self.examples = leading_axis(self.data)
            self._size = checked_batch_size(
                None if batch_size is None else min(batch_size, self.examples), self.examples
            )
        elif data is not None and not callable(data) and iter(data) is data:
            raise ValueError(
                "validation reads its data many times: give arrays, a list of batches, or a function, no iterator."
            )
        self._scanned: bool | None = None

    def digest(self) -> str:
        """A digest of the data and of the arrays in the risk."""
        return digest_of_arrays((self.data if self._resident else None, self._risk))

    def __call__(self, learned: Any, stop: Callable[[], bool]) -> float | None:
        """The mean risk, or None if `stop` became true meanwhile."""
        inputs = _Inputs(learned, self._rest, self._risk, self._key)
        if self.data is None:
            return float(self._batch(inputs, None, np.int32(0)))
        return self._resident_mean(inputs, stop) if self._resident else self._streamed_mean(inputs, stop)

    def _resident_mean(self, inputs: _Inputs, stop: Callable[[], bool]) -> float | None:
        padded = self._static.per_example
        batches = -(-self.examples // self._size) if padded else self.examples // self._size
        if self._scanned is None:
            self._scanned = jax.default_backend() != "cpu" or not holds_convolution(
                lambda inputs, data: self._batch_of(inputs, data, np.int32(0), self._size), inputs, self.data
            )
        if self._scanned:
            sums = np.asarray(self._all(inputs, self.data, self._size, batches), dtype=np.float64)
        else:
            sums = np.zeros(batches)
            for i in range(batches):
                if stop():
                    return None
                sums[i] = self._batch_of(inputs, self.data, np.int32(i), self._size)
        total, rest = float(np.sum(sums)), self.examples - batches * self._size
        if rest > 0:
            last = jax.tree.map(lambda leaf: leaf[batches * self._size :], self.data)
            total += rest * float(self._batch(inputs, last, np.int32(batches)))
        return total / self.examples

    def _streamed_mean(self, inputs: _Inputs, stop: Callable[[], bool]) -> float | None:
        total, examples = 0.0, 0
        batches: Any = self.data(0) if callable(self.data) else self.data
        for i, batch in enumerate(batches):
            if stop():
                return None
            batch = as_arrays(batch)
            size = batch_length(batch)
            total += size * float(self._batch(inputs, batch, np.int32(i)))
            examples += size
        if examples == 0:
            raise ValueError("the validation data gave no batches.")
        return total / examples


@functools.lru_cache(maxsize=16)
def _programs(static: _Static) -> tuple[Any, Any, Any]:
    def evaluate(inputs: _Inputs, batch: Any, number: Array, per_example: bool) -> Array:
        rule = combine(inputs.learned, static.rest.rebuild(inputs.rest))
        risk = static.risk.rebuild(inputs.risk)
        if static.per_example:
            risk = spread(risk, static.mesh, batch)
        return (risk.values if per_example else risk)(rule, batch, jax.random.fold_in(inputs.key, number))

    def sum_of(inputs: _Inputs, data: Any, number: Array, size: int) -> Array:
        """The sum of the values of batch `number`; in the last one, examples past the end do not count."""
        examples = jax.tree.leaves(data)[0].shape[0]
        place = number * size + jnp.arange(size, dtype=jnp.int32)
        batch = jax.tree.map(lambda leaf: leaf[jnp.minimum(place, examples - 1)], data)
        values = evaluate(inputs, batch, number, static.per_example)
        return jnp.sum(jnp.where(place < examples, values, 0)) if static.per_example else size * values

    def sums(inputs: _Inputs, data: Any, size: int, batches: int) -> Array:
        numbers = jnp.arange(batches, dtype=jnp.int32)
        return jax.lax.map(lambda number: sum_of(inputs, data, number, size), numbers)

    def mean(inputs: _Inputs, batch: Any, number: Array) -> Array:
        return jnp.asarray(evaluate(inputs, batch, number, per_example=False))

    one = jax.jit(sum_of, static_argnums=3)
    return one, jax.jit(mean), jax.jit(sums, static_argnums=(2, 3))


def validator(
    validation: Any,
    risk: Any,
    rest: tuple[list[Any], Structure],
    batch_size: int | None,
    key: PRNGKeyArray,
    mesh: Mesh | None,
) -> Validator:
    """A validator from what a user may give: a risk with its own data, a risk without, or data for the training "
    "risk."""
    if callable(validation):
        data = getattr(validation, "data", None)
        return Validator(without_data(validation), data, rest, batch_size, key, mesh)
    return Validator(without_data(risk), validation, rest, batch_size, key, mesh)


def without_data(risk: Any) -> Any:
    """A risk whose data was taken out, so that only batches reach a compiled step."""
    if isinstance(risk, eqx.Module) and getattr(risk, "data", None) is not None:
        return eqx.tree_at(lambda r: r.data, risk, None, is_leaf=lambda leaf: leaf is None)
    return risk
