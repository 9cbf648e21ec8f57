"""Online adaptation: a rule decides block by block, and is trained again where what it sees has drifted."""

import collections
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from mbdl.core import RecursiveRule, all_finite
from mbdl.training.batches import as_arrays
from mbdl.training.drift import AbstractDetector
from mbdl.training.fit import fit
from mbdl.training.history import NonFiniteError
from mbdl.training.interrupt import Interrupt
from mbdl.training.resumed import Resumed
from mbdl.training.validation import without_data


class Block(NamedTuple):
    """One block of a deployment.

    Attributes:
        context: what the rule decides on; for a recursive rule a part of its sequence, `[time ...]`.
        target: what the decision ought to be where that is known, as of a pilot; otherwise None.
    """

    context: Any
    target: Any = None


class Online(NamedTuple):
    """How a deployment went; made by `online`. Arrays have one entry a block.

    Attributes:
        decisions: the decision on each block, by the rule as it was then.
        scores: the score of each block, NaN where there was none.
        finite: whether the decision and the score were finite.
        alarms: where drift was found.
        accepted: which blocks may be trained on: those with an example, whose decision and score are finite.
        retrained: after which blocks the rule changed.
        failed: after which blocks training was not finite, so that the rule stayed as it was.
        rule: the rule after the last block.
        memory: its memory, for `rule.run` and `online` to go on from; None for a rule without one.
        interrupted: whether Ctrl-C ended it.
    """

    decisions: list[Any]
    scores: Float[np.ndarray, " blocks"]
    finite: Bool[np.ndarray, " blocks"]
    alarms: Bool[np.ndarray, " blocks"]
    accepted: Bool[np.ndarray, " blocks"]
    retrained: Bool[np.ndarray, " blocks"]
    failed: Bool[np.ndarray, " blocks"]
    rule: Any
    memory: Any
    interrupted: bool


def online(
    rule: Any,
    blocks: Iterable[Any],
    risk: Any,
    optimiser: optax.GradientTransformation | None = None,
    *,
    steps: int,
    key: PRNGKeyArray,
    detector: AbstractDetector | None = None,
    label: Callable[[Any, Any], Any] | None = None,
    score: Callable[[Any, Any], Any] | None = None,
    keep: int = 1,
    memory: Any = None,
    **options: Any,
) -> Online:
    """Deploys a rule block by block and adapts it: decides on each block with the present rule, observes it, tests its
    score for drift, and after an alarm trains the rule on the last blocks, from its present parameters.

    The memory of a recursive rule is carried from block to block; training on a block begins at the memory that the
    rule had there, which is held fixed. Blocks of equal shapes cost no compilation after the first ones.

    A block whose decision or score is not finite is an alarm, and a memory that is not finite begins anew. Training
    that is not finite leaves the rule as it was. Ctrl-C ends the deployment after the current step of training, and
    what there is until then is returned; a second one raises.

    Args:
        rule: a rule in which something is learned. One context is one block: what decides single symbols or images is
            deployed as a rule that maps it over a block.
        blocks: an iterable of contexts, or of `Block(context, target)`.
        risk: a risk of examples, `supervised`, `truncated`, `unsupervised` or any other; its own data are not read. An
            example is `(context, target)` where there is a target, and otherwise what `label` makes of the block.
        optimiser: as for `fit`, begun afresh at each training.
        steps: gradient steps of each training, each on all blocks that are kept.
        key: a JAX random key.
        detector: a test of the scores, such as `drift.PageHinkley()`, begun anew after each training. By default none:
            the rule is trained after every block that is accepted.
        label: a function `(context, decision) -> example` for blocks without a target, or None for a block that is
            rejected, such as one whose code does not check. By default the context itself is the example, as a risk
            without targets wants it. After an alarm, training waits for a block that is accepted.
        score: a function `(context, decision) -> number`, lower is better, that needs no target. By default a block's
            score is the risk of its example before training on it, and blocks that are rejected have none.
        keep: how many of the last accepted blocks are trained on; more than one need equal shapes.
        memory: where a recursive rule goes on; by default it begins at its first memory.
        **options: what else `fit` takes, the same each time.

    Returns:
        an `Online`, with the decisions, the scores, the alarms and the last rule.

    Raises:
        ValueError: if `keep` is below 1, if blocks that are trained on together differ in shape, or as `fit` does.
        TypeError: for a checkpoint, since each training is a run of its own.

    Differentiable in: nothing; it is a loop on the host.

    >>> import jax, jax.numpy as jnp, mbdl, optax
    >>> class Scale(mbdl.DecisionRule):
    ...     factor: jax.Array
    ...     def decide(self, x):
    ...         return self.factor * x
    >>> rule = mbdl.learn(Scale(1.0), lambda r: r.factor)
    >>> xs = jax.random.normal(jax.random.key(0), (12, 50))
    >>> blocks = [mbdl.training.Block(x, (1.0 if i < 6 else 3.0) * x) for i, x in enumerate(xs)]
    >>> risk = mbdl.supervised(None, mbdl.losses.mse)
    >>> course = mbdl.online(
    ...     rule, blocks, risk, optax.adam(0.1), steps=60, key=jax.random.key(1),
    ...     detector=mbdl.training.drift.PageHinkley(),
    ... )
    >>> course.alarms.nonzero()[0].tolist(), round(float(mbdl.resolve(course.rule).factor), 1)
    ([6], 3.0)
    """
    if isinstance(keep, bool) or not isinstance(keep, int) or keep < 1:
        raise ValueError(f"online: expected to keep at least one block, got keep={keep!r}")
    if options.get("checkpoint") is not None:
        raise TypeError("online: each training is a run of its own, so there is no checkpoint of all. Leave it out")
    options = {"progress": False} | options
    if isinstance(rule, RecursiveRule) and memory is None:
        memory = rule.start()
    deployment = _Deployment(risk, label, score, keep)
    state, due, interrupted, course = None if detector is None else detector.init(), detector is None, False, []
    with Interrupt() as interrupt:
        for number, block in enumerate(blocks):
            score_key, fit_key = jax.random.split(jax.random.fold_in(key, number))
            seen = deployment.see(rule, block, memory, score_key)
            alarm = not seen.finite
            if detector is not None and seen.finite and not np.isnan(seen.score):
                state, found = _test(detector, state, jnp.asarray(seen.score))
                alarm = bool(found)
            due, trained, failed = due or alarm, False, False
            if due and seen.accepted and not interrupt.requested:
                try:
                    batch, training = deployment.batch(), deployment.risk
                    result = fit(
                        rule, training, optimiser, steps=steps, key=fit_key, data=batch, batch_size=keep, **options
                    )
                    rule, trained = result.rule, True
                except NonFiniteError:
                    failed = True
                state, due = (None, True) if detector is None else (detector.init(), False)
            memory = seen.memory if seen.memory_finite or seen.memory is None else rule.start()
            course.append((seen.decision, seen.score, seen.finite, alarm, seen.accepted, trained, failed))
            if interrupt.requested:
                interrupted = True
                break
    decisions, scores, finite, alarms, accepted, retrained, failed = zip(*course, strict=True) if course else ((),) * 7
    return Online(
        decisions=list(decisions),
        scores=np.asarray(scores, float),
        finite=np.asarray(finite, bool),
        alarms=np.asarray(alarms, bool),
        accepted=np.asarray(accepted, bool),
        retrained=np.asarray(retrained, bool),
        failed=np.asarray(failed, bool),
        rule=rule,
        memory=memory,
        interrupted=interrupted,
    )


class _Seen(NamedTuple):
    """What became of a block."""

    decision: Any
    memory: Any
    memory_finite: bool
    score: float
    finite: bool
    accepted: bool


class _Deployment:
    """What of the blocks is kept for training."""

    def __init__(self, risk: Any, label: Any, score: Any, keep: int):
        self.risk = _OnBlocks(without_data(risk))
        self._label, self._score, self._keep = label, score, keep
        self._kept: collections.deque[tuple[Any, Any]] = collections.deque(maxlen=keep)

    def see(self, rule: Any, block: Any, memory: Any, key: PRNGKeyArray) -> _Seen:
        """Decides on a block, scores it, and keeps it if it is accepted and finite."""
        context, target = as_arrays(tuple(block) if isinstance(block, Block) else (block, None))
        decision, after, *flags = _decide(rule, context, memory)
        decided, memory_finite = map(bool, flags)
        value, example = np.nan, None
        if decided:
            example = (context, target) if target is not None else self._example(context, decision)
            if self._score is not None:
                value = float(self._score(context, decision))
            elif example is not None:
                value = float(_value(self.risk.risk, rule, example, memory, key))
        unscored = self._score is None and example is None
        finite = decided and (unscored or bool(np.isfinite(value)))
        accepted = finite and example is not None
        if accepted:
            self._keep_block(example, memory)
        return _Seen(decision, after, memory_finite, value, finite, accepted)

    def batch(self) -> Any:
        """The kept blocks, always as many: the last one stands in, without weight, for those that are not there yet."""
        kept = list(self._kept)
        weights = jnp.asarray([1.0] * len(kept) + [0.0] * (self._keep - len(kept)))
        kept += [kept[-1]] * (self._keep - len(kept))
        examples, memories = jax.tree.map(lambda *leaves: jnp.stack(leaves), *kept)
        return examples, memories, weights

    def _example(self, context: Any, decision: Any) -> Any:
        example = context if self._label is None else self._label(context, decision)
        return None if example is None else as_arrays(example)

    def _keep_block(self, example: Any, memory: Any) -> None:
        if self._kept and self._keep > 1:
            given, expected = (jax.tree.map(jnp.shape, tree) for tree in (example, self._kept[-1][0]))
            if given != expected:
                raise ValueError(
                    f"online: blocks that are trained on together have equal shapes, but one has {given} and the one "
                    f"before {expected}. Cut blocks of one length, or keep=1"
                )
        self._kept.append((example, memory))


class _OnBlocks(eqx.Module):
    """The weighted mean of a risk over blocks, each from the memory that the rule had there."""

    risk: Any

    def __call__(self, rule: Any, batch: Any, key: PRNGKeyArray) -> Array:
        examples, memories, weights = batch
        keys = jax.random.split(key, weights.shape[0])
        values = jax.vmap(lambda *block: _value_of(self.risk, rule, *block))(examples, memories, keys)
        weights = weights.astype(values.dtype)
        return jnp.sum(weights * values) / jnp.sum(weights)


def _value_of(risk: Any, rule: Any, example: Any, memory: Any, key: PRNGKeyArray) -> Array:
    """The risk of one block."""
    rule = rule if memory is None else Resumed(rule, memory)
    return risk(rule, jax.tree.map(lambda leaf: leaf[None], example), key)


_value = eqx.filter_jit(_value_of)


@eqx.filter_jit
def _decide(rule: Any, context: Any, memory: Any) -> tuple[Any, Any, Array, Array]:
    """The decision, the memory afterwards, and whether they are finite."""
    if memory is None:
        decision = rule(context)
        return decision, None, all_finite(decision), jnp.asarray(True)
    course = rule.run(context, memory)
    return course.output, course.memory, all_finite(course.output), all_finite(course.memory)


@eqx.filter_jit
def _test(detector: AbstractDetector, state: Any, score: Array) -> tuple[Any, Array]:
    return detector.update(state, score)
