"""Training: minimising a risk over what is learned in a rule."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PRNGKeyArray

from mbdl.core import partition
from mbdl.training.batches import Orders, Stream, as_arrays, checked_batch_size, holds_arrays, leading_axis
from mbdl.training.checkpoint import Checkpoint
from mbdl.training.fingerprint import digest_of_arrays, digest_of_computation, structure_of
from mbdl.training.history import Fit
from mbdl.training.interrupt import Interrupt
from mbdl.training.optimisers import CLIP, clipped, default_optimiser
from mbdl.training.program import Carry, Inputs, Static, plan, programs
from mbdl.training.progress import Progress
from mbdl.training.run import Callback, Every, Run, Settings, every, first_batch
from mbdl.training.state import State, copied
from mbdl.training.structure import take_apart
from mbdl.training.validation import validator, without_data


def fit(
    rule: Any,
    risk: Callable[[Any, Any, PRNGKeyArray], Array],
    optimiser: optax.GradientTransformation | None = None,
    *,
    steps: int,
    key: PRNGKeyArray,
    batch_size: int | None = None,
    data: Any = None,
    validation: Any = None,
    validate_every: int | None = None,
    patience: int | None = None,
    clip: float | None = None,
    callbacks: Sequence[Callback | Every] = (),
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    progress: bool | None = None,
    non_finite_limit: int = 10,
    non_finite_fraction: float = 0.2,
) -> Fit:
    """Trains what is learned in a rule: stochastic gradient steps on θ ↦ risk(rule_θ, batch, key).

    Exactly the arrays inside `Learned` that are not frozen are trained; the optimiser never sees a known leaf. Equal
    arguments give equal results, resumed or not: the order of an epoch depends on the key and the epoch alone, the
    randomness of a step on the key and the step alone. Ctrl-C ends the run and returns the best rule so far
    (`history.interrupted`); a second one raises.

    Args:
        rule: a rule in which something is learned (`mbdl.learn`, `unfold`, `substitute`, `augment`).
        risk: a callable `(rule, batch, key) -> scalar`; `supervised`, `unsupervised`, `deep_supervision`, or any other.
        optimiser: an optax transformation, learning-rate schedule included. By default Adam with a cosine schedule from
            10⁻³ to zero over the run, behind `clip=1.0`.
        steps: how many gradient steps to make.
        key: a JAX random key, of the new or the old style.
        batch_size: examples per step; by default 32, or all if there are fewer. Where it is all of them, there is no
            shuffling; otherwise the remainder of an epoch that fills no batch is left out of that epoch.
        data: what batches are made from, if it is not the `data` of the risk. A tuple, dict or other pytree of arrays
            with one leading axis lives on the device and is batched there. A list, a loader or another iterable gives
            whole batches, and starts again when it ends; a generator is used once; a function of the epoch's number
            gives that epoch's batches. If there is no data at all, the batch is None.
        validation: data for the same risk, or a risk with data of its own (lower is better).
        validate_every: steps between validations, of which one is made before the first step and one after the last; by
            default a twentieth of the run.
        patience: stop after so many validations in a row without a new best.
        clip: greatest global norm of the gradient; what is longer is scaled down. By default only the default optimiser
            clips.
        callbacks: functions `(step, metrics, rule) -> None | True`, called after each step, or as seldom as `every(n,
            callback)` says; True stops. `rule()` gives the rule at that step. A callback after each step costs one
            dispatch a step.
        checkpoint: a folder of its own for a checkpoint, saved every ten seconds or every `checkpoint_every` steps, and
            at the end.
        checkpoint_every: steps between checkpoints.
        resume: go on from the checkpoint in the folder, or start if there is none. Batches of an iterable that were
            used are drawn again and thrown away.
        progress: whether to show a progress bar; by default where standard error is a terminal.
        non_finite_limit: a step whose loss, gradient or result is not finite changes nothing and is counted; so many in
            a row stop the run.
        non_finite_fraction: more of them than this fraction of `steps` stop the run.

    Returns:
        `Fit(rule, history)`: the best rule by validation, or the last one without validation, and a `History`.

    Raises:
        ValueError: if nothing is learned, or an argument is out of range, or the checkpoint is another run's.
        NonFiniteError: if too many steps were not finite; `error.step` says when, `error.fit` has the last good result.

    >>> import jax, jax.numpy as jnp, mbdl, optax
    >>> from mbdl.training import fit, losses, supervised
    >>> class Scale(mbdl.core.DecisionRule):
    ...     factor: jax.Array
    ...     def decide(self, x):
    ...         return self.factor * x
    >>> rule = mbdl.core.learn(Scale(1.0), lambda r: r.factor)
    >>> xs = jnp.linspace(-1.0, 1.0, 64)[:, None]
    >>> risk = supervised((xs, 3 * xs), losses.mse)
    >>> trained, history = fit(rule, risk, optax.adam(0.1), steps=200, key=jax.random.key(0))
    >>> round(float(trained(jnp.ones(1))[0]), 2)
    3.0
    """
    _check(steps, key, validation, validate_every, patience, clip, non_finite_limit, non_finite_fraction)
    learned, rest = partition(rule)
    if not jax.tree.leaves(learned):
        raise ValueError(
            "nothing in this rule is learned, so there is nothing to fit. Apply mbdl.learn, mbdl.unfold, "
            "mbdl.substitute or mbdl.augment first, or mbdl.thaw what is frozen."
        )
    data = getattr(risk, "data", None) if data is None else data
    bare = without_data(risk)
    resident = holds_arrays(data)
    data = as_arrays(data) if resident else data
    examples = leading_axis(data) if resident else 0
    size = checked_batch_size(batch_size, examples) if resident else 0
    if not resident and batch_size is not None:
        raise ValueError("batch_size is for data that are arrays; an iterable gives batches of its own size.")
    stream = None if resident or data is None else Stream(data)
    batches = "none" if data is None else "given" if stream else "whole" if size == examples else "drawn"

    step_key, order_key, validation_key = jax.random.split(key, 3)
    rest_parts, risk_parts = take_apart(rest), take_apart(bare)
    if optimiser is None:
        optimiser, clip = default_optimiser(steps), CLIP if clip is None else clip
    optimiser = optimiser if clip is None else clipped(optimiser, clip)
    learned = copied(learned)
    zero = jnp.int32(0)
    carry = copied(Carry(learned, optimiser.init(learned), zero, zero, jnp.asarray(False)))
    bad_limit = int(non_finite_fraction * steps)
    inputs = Inputs(
        rest_parts[0],
        risk_parts[0],
        data if resident else None,
        step_key,
        jnp.int32(non_finite_limit),
        jnp.int32(bad_limit),
    )
    per_epoch = examples // size if resident else 0
    compiled = programs(Static(rest_parts[1], risk_parts[1], optimiser, batches, size, per_epoch))
    batch = first_batch(data, size) if resident else None
    chosen = plan(compiled.step, carry, inputs, batch, batches == "given", steps)
    orders = Orders(order_key, examples, size, chosen.steps_per_dispatch) if batches == "drawn" else None
    check = None if validation is None else validator(validation, risk, rest_parts, batch_size, validation_key)
    settings = Settings(
        steps, max(1, steps // 20) if validate_every is None else validate_every, patience, non_finite_limit, bad_limit
    )

    state, folder = State(carry), None
    if checkpoint is not None:
        folder = Checkpoint(checkpoint, checkpoint_every)
        stored = folder.read(resume)
        if stored is not None and stream is not None:
            stream.skip(stored.done, stored.used)
        if stream is not None:
            batch = stream.peek()
        folder.settings = {
            "format of the data": batches,
            "batch_size": size,
            "examples": examples,
            **settings._asdict(),
            "key": np.asarray(key if key.dtype == jnp.uint32 else jax.random.key_data(key)).tolist(),
            "jax": jax.__version__,
            "learned arrays": structure_of(learned),
            "optimiser state": structure_of(carry.optimiser_state),
            "learned values at the start": digest_of_arrays(learned),
            "known values": digest_of_arrays(rest_parts[0]),
            "training data": digest_of_arrays((data if resident else None, risk_parts[0])),
            "validation data": None if check is None else check.digest(),
            "computation": digest_of_computation(compiled.step.trace(carry, inputs, batch, zero).jaxpr)
            if stream is None or batch is not None
            else None,
        }
        if stored is not None:
            state = folder.restore(state, stored)
    with Interrupt() as interrupt, Progress(progress, steps, state.done) as bar:
        listeners = tuple(c if isinstance(c, Every) else every(1, c) for c in callbacks)
        return Run(
            state, rest, compiled, chosen, inputs, orders, stream, check, listeners, folder, settings, interrupt, bar
        ).to_the_end()


def _check(
    steps: Any, key: Any, validation: Any, validate_every: Any, patience: Any, clip: Any, limit: Any, fraction: Any
) -> None:
    counts = {"steps": steps, "validate_every": validate_every, "patience": patience, "non_finite_limit": limit}
    for name, value in counts.items():
        if value is None and name in ("validate_every", "patience"):
            continue
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f"{name} must be an integer ≥ 1, but got {value!r}.")
    if validation is None and (patience is not None or validate_every is not None):
        raise ValueError("patience and validate_every need validation=, data or a risk to validate on.")
    if clip is not None and not clip > 0:
        raise ValueError(f"clip must be > 0, but got {clip!r}.")
    if not 0 <= fraction <= 1:
        raise ValueError(f"non_finite_fraction must be between 0 and 1, but got {fraction!r}.")
    typed = isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ()
    if not typed and not (isinstance(key, jax.Array | np.ndarray) and key.dtype == jnp.uint32 and key.ndim == 1):
        raise TypeError(f"key must be one JAX random key, e.g. jax.random.key(0), but got {key!r}.")
