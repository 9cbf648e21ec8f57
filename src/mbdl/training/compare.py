"""Rules compared on the same test data: quality, size, time and place on the spectrum."""

import functools
import time as clock
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mbdl.core import all_finite, spectrum
from mbdl.training.batches import as_arrays, leading_axis
from mbdl.training.comparison import Comparison, Row
from mbdl.training.structure import take_apart

_NUMBERS_AT_ONCE = 2**18
_INSTANCES_AT_ONCE = 64

Metric = Callable[[Any, Any], Array]


def compare(
    rules: Mapping[str, Callable[[Any], Any]],
    data: Any,
    metric: Metric | Mapping[str, Metric] | Sequence[Metric],
    *,
    reference: str | None = None,
    time: bool = True,
) -> Comparison:
    """Compares rules on test data: metric ± standard error, learned count, time per decision, place on the spectrum.

    An instance is *bad* under a rule if the decision or one of its metrics is not finite (a PSNR of an exact decision
    is infinite, so it counts). Bad instances are counted and left out of that rule's means, and of differences to it;
    the table says so.

    Args:
        rules: rules by name, or any functions of one context. A rule or another Equinox module is compiled, and applied
            to several instances at a time where these are arrays; a plain function is called once for each instance as
            it is.
        data: `(xs, targets)`, pytrees of arrays with one leading axis of instances; or, for instances of differing
            sizes, `(list of x, list of targets)` or a list of pairs `(x, target)`.
        metric: a function `(decision, target) -> scalar` of one instance, e.g. `mbdl.metrics.nmse_db`, or several: a
            dictionary of them by name, or a list.
        reference: the name of the rule that paired differences are taken to.
        time: whether to measure the time per decision: the median of repeated calls of `rule(x)` with the first good
            instance, batch size 1, after compilation.

    Returns:
        A `Comparison`.

    Raises:
        ValueError: if there are no rules or instances, the data's lengths differ, or the reference is not among the
            rules.
        TypeError: if a rule or a metric is not callable.

    >>> import jax.numpy as jnp
    >>> from mbdl.training import compare, metrics
    >>> xs = jnp.arange(6.0).reshape(3, 2)
    >>> table = compare({"half": lambda x: x / 2, "double": lambda x: 2 * x}, (xs, xs), metrics.nmse, time=False)
    >>> print(table)
    rule        nmse ± se  learned  strategy
    ────────────────────────────────────────
    half    0.250 ± 0.000        0  –
    double  1.000 ± 0.000        0  –
    Mean ± standard error over 3 instances.
    """
    metrics = _named(metric)
    if not isinstance(rules, Mapping) or not rules:
        raise ValueError(f"compare wants a dictionary of at least one rule by name, but got {rules!r}.")
    for name, rule in rules.items():
        if not callable(rule):
            raise TypeError(f"the rule {name!r} is not callable: {rule!r}.")
    if reference is not None and reference not in rules:
        raise ValueError(f"the reference {reference!r} is not among the rules {list(rules)}.")
    instances = _Instances(data)
    rows = tuple(_row(name, rule, instances, metrics, time) for name, rule in rules.items())
    return Comparison(rows, tuple(metrics), reference, instances.count)


class _Instances:
    """Test data, as stacked arrays where all instances are of one size, or one by one."""

    def __init__(self, data: Any):
        if isinstance(data, list):
            if not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in data):
                raise ValueError("a list of instances is a list of pairs (x, target).")
            data = ([pair[0] for pair in data], [pair[1] for pair in data])
        if not isinstance(data, tuple) or len(data) != 2:
            raise ValueError(f"compare wants data = (xs, targets) or a list of pairs, but got {type(data).__name__}.")
        xs, targets = data
        self.stacked = not isinstance(xs, list) and not isinstance(targets, list)
        if self.stacked:
            self._data = as_arrays((xs, targets))
            self.count = leading_axis(self._data)
        else:
            if len(xs) != len(targets) or not len(xs):
                raise ValueError(
                    f"compare wants as many targets as contexts, at least one, but got {len(targets)} and {len(xs)}."
                )
            self._data = [as_arrays(pair) for pair in zip(xs, targets, strict=True)]
            self.count = len(self._data)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return jax.tree.map(lambda leaf: leaf[index], self._data) if self.stacked else self._data[index]

    def chunks(self) -> list[tuple[Any, int]]:
        """Stacked instances a bounded number at a time, all chunks of one size, and how many of each count."""
        numbers = sum(leaf.size for leaf in jax.tree.leaves(self._data)) // self.count
        size = max(1, min(self.count, _INSTANCES_AT_ONCE, _NUMBERS_AT_ONCE // max(1, numbers)))
        places = np.arange(-(-self.count // size) * size).reshape(-1, size)
        filled = [np.minimum(place, self.count - 1) for place in places]
        return [
            (jax.tree.map(lambda leaf, place=place: leaf[place], self._data), int(np.sum(whole < self.count)))
            for place, whole in zip(filled, places, strict=True)
        ]


def _row(name: str, rule: Any, instances: _Instances, metrics: dict[str, Metric], time: bool) -> Row:
    compiled = isinstance(rule, eqx.Module)
    table = _compiled(rule, instances, metrics) if compiled else _called(rule, instances, metrics)
    bad = ~np.all(np.isfinite(table), axis=1)
    values = {metric: table[:, i] for i, metric in enumerate(metrics)}
    good = np.flatnonzero(~bad)
    seconds = _seconds(rule, instances[int(good[0])][0]) if time and len(good) else float("nan")
    if not compiled:
        return Row(name, values, bad, "–", 0, 0, 0, 0, seconds)
    place = spectrum(rule)
    return Row(name, values, bad, place.strategy, place.known, place.learned, place.frozen, place.tuned, seconds)


def _measure(decision: Any, target: Any, metrics: dict[str, Metric]) -> Array:
    """All metrics of one instance, NaN where the decision is not finite."""
    values = []
    for name, metric in metrics.items():
        value = jnp.asarray(metric(decision, target))
        if value.shape != ():
            raise ValueError(f"a metric returns a scalar for one instance, but {name!r} returned shape {value.shape}.")
        values.append(value)
    return jnp.where(all_finite(decision), jnp.stack(values), jnp.nan)


def _compiled(rule: Any, instances: _Instances, metrics: dict[str, Metric]) -> np.ndarray:
    arrays, structure = take_apart(rule)

    def one(arrays: list[Any], x: Any, target: Any) -> Array:
        return _measure(structure.rebuild(arrays)(x), target, metrics)

    if not instances.stacked:
        run = jax.jit(one)
        return np.stack([np.asarray(run(arrays, *instances[i]), np.float64) for i in range(instances.count)])
    run = jax.jit(jax.vmap(one, in_axes=(None, 0, 0)))
    return np.concatenate([np.asarray(run(arrays, *chunk), np.float64)[:count] for chunk, count in instances.chunks()])


def _called(rule: Any, instances: _Instances, metrics: dict[str, Metric]) -> np.ndarray:
    measure = jax.jit(lambda decision, target: _measure(decision, target, metrics))
    rows = []
    for i in range(instances.count):
        x, target = instances[i]
        rows.append(np.asarray(measure(as_arrays(rule(x)), target), np.float64))
    return np.stack(rows)


def _seconds(rule: Any, x: Any) -> float:
    """The median time of a call, of at least three and for about a fifth of a second."""
    jax.block_until_ready(rule(x))
    times: list[float] = []
    while len(times) < 3 or (sum(times) < 0.2 and len(times) < 200):
        start = clock.perf_counter()
        jax.block_until_ready(rule(x))
        times.append(clock.perf_counter() - start)
    return float(np.median(times))


def _named(metric: Any) -> dict[str, Metric]:
    if isinstance(metric, Mapping):
        named = dict(metric)
    else:
        functions = metric if isinstance(metric, list | tuple) else [metric]
        named = {_name(function): function for function in functions}
        if len(named) != len(functions):
            raise ValueError("two metrics have the same name; give a dictionary of metrics by name.")
    for name, function in named.items():
        if not callable(function):
            raise TypeError(f"the metric {name!r} is not a function (decision, target) -> scalar: {function!r}.")
    if not named:
        raise ValueError("compare wants at least one metric.")
    return named


def _name(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__name__", type(function).__name__)
