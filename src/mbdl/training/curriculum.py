"""A curriculum over length: short beginnings of the sequences first, whole ones last."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from jaxtyping import PRNGKeyArray

from mbdl.training.batches import as_arrays, holds_arrays
from mbdl.training.fit import fit
from mbdl.training.history import Fit, History, NonFiniteError
from mbdl.training.interrupt import Interrupt


def curriculum(
    rule: Any,
    risk: Any,
    optimiser: optax.GradientTransformation | Sequence[optax.GradientTransformation] | None = None,
    *,
    lengths: Sequence[int],
    steps: int | Sequence[int],
    key: PRNGKeyArray,
    data: Any = None,
    checkpoint: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Fit:
    """Trains a rule on the first steps of its sequences, and then on more of them: one `fit` a length, each from the
    rule that the one before returned.

    The gradient through a long sequence says little while the rule is bad. What ends a stage early (patience, a
    callback, batches) ends that stage alone; Ctrl-C ends the curriculum, and the best rule so far is returned.

    Args:
        rule: as for `fit`; a rule on sequences, such as a filter.
        risk: a risk whose examples are sequences, `supervised` or `truncated` or any other.
        optimiser: as for `fit`, begun afresh at each stage, its schedule too; or one for each stage. By default each
            stage has `fit`'s, a cosine schedule over its steps.
        lengths: how many steps of each sequence a stage sees, growing.
        steps: gradient steps of each stage, or of all of them if it is one number.
        key: a JAX random key; each stage has one of its own.
        data: a tree of arrays `[example time ...]`, if it is not the `data` of the risk.
        checkpoint: a folder, in which each stage has a checkpoint folder of its own.
        **options: what else `fit` takes, the same for each stage; `resume=True` goes on exactly where the run stood.
            A `validation` is of whole sequences at every stage, so that its values compare.

    Returns:
        `Fit(rule, history)`, the history that of all stages, its steps numbered through. `history.plan` and
        `history.reason` are those of the last stage that was begun.

    Raises:
        ValueError: for lengths that do not grow or are longer than the sequences, for another number of steps or
            optimisers than of stages, or data that are no arrays; and as `fit` does.
        NonFiniteError: as `fit` does; `error.step` counts from the first stage, `error.fit` has the history until then.

    Differentiable in: nothing; it is a loop on the host.

    >>> import jax, jax.numpy as jnp, mbdl, optax
    >>> class Average(mbdl.RecursiveRule):
    ...     forgetting: jax.Array
    ...     def init(self):
    ...         return jnp.zeros(())
    ...     def step(self, memory, x):
    ...         memory = self.forgetting * memory + (1 - self.forgetting) * x
    ...         return memory, memory
    >>> xs = jax.random.normal(jax.random.key(0), (8, 20))
    >>> risk = mbdl.supervised((xs, jax.vmap(Average(0.5))(xs)), mbdl.losses.mse)
    >>> rule = mbdl.learn(Average(0.9), lambda r: r.forgetting)
    >>> trained, history = mbdl.curriculum(
    ...     rule, risk, optax.adam(0.05), lengths=[5, 20], steps=40, key=jax.random.key(1), progress=False
    ... )
    >>> round(float(mbdl.resolve(trained).forgetting), 1), len(history.steps)
    (0.5, 80)
    """
    data = getattr(risk, "data", None) if data is None else data
    lengths = _checked_lengths(lengths, data)
    steps = _each(steps, len(lengths), "steps")
    optimisers = _each(optimiser, len(lengths), "optimisers")
    data, histories = as_arrays(data), []
    with Interrupt() as interrupt:
        for stage, length in enumerate(lengths):
            try:
                rule, history = fit(
                    rule,
                    risk,
                    optimisers[stage],
                    steps=steps[stage],
                    key=jax.random.fold_in(key, stage),
                    data=jax.tree.map(lambda leaf, length=length: leaf[:, :length], data),
                    checkpoint=None if checkpoint is None else Path(checkpoint) / f"stage-{stage + 1}",
                    **options,
                )
            except NonFiniteError as error:
                history = _joined([*histories, error.fit.history])
                raise NonFiniteError(
                    f"stage {stage + 1} of {len(lengths)}, of length {length}: {error}",
                    len(history.steps),
                    Fit(error.fit.rule, history),
                ) from error
            histories.append(history)
            if interrupt.requested or history.interrupted:
                break
    history = _joined(histories)
    if len(histories) < len(lengths):
        history = dataclasses.replace(history, interrupted=True, reason="interrupted")
    return Fit(rule, history)


def _joined(histories: Sequence[History]) -> History:
    """The history of fits that each began with the rule that the one before returned."""
    done, best, validations = 0, 0, []
    for history in histories:
        # The first validation of a later stage is of the rule that the best one before was of.
        again = int(done > 0 and 0 in history.validation_steps[:1])
        validations.append((history.validation_steps[again:] + done, history.validation[again:]))
        if history.best_step > 0:
            best = done + history.best_step
        done += len(history.steps)
    columns = {
        name: np.concatenate([getattr(history, name) for history in histories])
        for name in ("losses", "gradient_norms", "skipped")
    }
    return dataclasses.replace(
        histories[-1],
        steps=np.arange(1, done + 1),
        **columns,
        validation_steps=np.concatenate([steps for steps, _ in validations]),
        validation=np.concatenate([values for _, values in validations]),
        best_step=best,
        seconds=sum(history.seconds for history in histories),
    )


def _checked_lengths(lengths: Sequence[int], data: Any) -> list[int]:
    if not holds_arrays(data):
        raise ValueError(
            "curriculum: expected data that are arrays [example time ...], of which it takes the first steps, got "
            f"{type(data).__name__}. Give them to the risk, or as data="
        )
    shapes = {jax.tree_util.keystr(path): np.shape(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(data)}
    times = {shape[1] if len(shape) > 1 else 0 for shape in shapes.values()}
    if len(times) != 1 or 0 in times:
        raise ValueError(
            "curriculum: expected data whose arrays share the axes [example time ...], of which it takes the first "
            f"steps, got the shapes {shapes}"
        )
    longest = times.pop()
    whole = all(isinstance(length, int | np.integer) and not isinstance(length, bool) for length in lengths)
    growing = whole and all(a < b for a, b in zip([0, *lengths], lengths, strict=False))
    if not len(lengths) or not growing or lengths[-1] > longest:
        raise ValueError(
            f"curriculum: expected lengths that grow, from at least 1 to at most the {longest} steps of the sequences, "
            f"got lengths={list(lengths)!r}"
        )
    return [int(length) for length in lengths]


def _each(value: Any, stages: int, what: str) -> list[Any]:
    """One value for each stage."""
    if not isinstance(value, Sequence) or isinstance(value, optax.GradientTransformation):
        return [value] * stages
    if len(value) != stages:
        raise ValueError(f"curriculum: got {len(value)} {what} for {stages} lengths; give one for each, or one for all")
    return list(value)
