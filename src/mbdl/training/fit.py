"""Training: minimising a risk over what is learned in a rule."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array, PRNGKeyArray

from mbdl.core import partition
from mbdl.training.batches import Orders, source_of
from mbdl.training.checkpoint import Checkpoint
from mbdl.training.fingerprint import digest_of_arrays, digest_of_computation, structure_of
from mbdl.training.history import Fit
from mbdl.training.interrupt import Interrupt
from mbdl.training.optimisers import CLIP, clipped, default_optimiser
from mbdl.training.program import Carry, Inputs, Static, plan, programs
from mbdl.training.progress import Progress
from mbdl.training.run import Callback, Every, Run, Settings, every
from mbdl.training.sharding import replicated
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
    mesh: Mesh | None = None,
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
        mesh: devices that share the examples of each batch equally, `jax.sharding.Mesh(devices, ("examples",))`, those
            of other processes too: each process then calls `fit` with the same arguments. The risk has to be a mean
            over examples, as those of this package are. The result differs from that of one device by rounding alone.
            Where the devices are the cores of a processor, give XLA more threads than cores (`NPROC=16` in the
            environment): in JAX 0.10 batched factorisations that run at once may wait for each other's threads.
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
        ValueError: if nothing is learned, or an argument is out of range, or the checkpoint is another run's, or the
            devices of a mesh cannot share a batch equally.
        TypeError: for a mesh and a risk that is not a mean over examples.
        NonFiniteError: if too many steps were not finite; `error.step` says when, `error.fit` has the last good result,
            and the message what the risk says of it (`AbstractExampleRisk.why_not_finite`).

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
    counts = {"steps": steps, "validate_every": validate_every, "patience": patience}
    counts |= {"checkpoint_every": checkpoint_every, "non_finite_limit": non_finite_limit}
    _check(counts, key, validation, checkpoint, resume, clip, non_finite_fraction)
    key = jnp.asarray(key)
    learned, rest = partition(rule)
    if not jax.tree.leaves(learned):
        raise ValueError(
            "nothing in this rule is learned, so there is nothing to fit. Apply mbdl.learn, mbdl.unfold, "
            "mbdl.substitute or mbdl.augment first, or mbdl.thaw what is frozen."
        )
    steps, limits = int(steps), (int(non_finite_limit), int(non_finite_fraction * steps))
    source = source_of(getattr(risk, "data", None) if data is None else data, batch_size)
    rest_parts, risk_parts = take_apart(rest), take_apart(without_data(risk))
    optimiser = _optimiser(optimiser, clip, steps)
    step_key, order_key, validation_key = jax.random.split(key, 3)

    learned = copied(learned)
    zero = jnp.int32(0)
    carry = replicated(copied(Carry(learned, optimiser.init(learned), zero, zero, jnp.asarray(False))), mesh)
    inputs = Inputs(rest_parts[0], risk_parts[0], source.arrays, step_key, *(jnp.int32(limit) for limit in limits))
    inputs = replicated(inputs, mesh)
    compiled = programs(
        Static(rest_parts[1], risk_parts[1], optimiser, source.kind, source.batch_size, source.steps_per_epoch, mesh)
    )
    chosen = plan(compiled.step, carry, inputs, source.first(), source.kind == "given", steps)
    orders = None
    if source.kind == "drawn":
        orders = Orders(order_key, source.examples, source.batch_size, chosen.steps_per_dispatch)
    check = None if validation is None else validator(validation, risk, rest_parts, batch_size, validation_key, mesh)
    period = max(1, steps // 20) if validate_every is None else int(validate_every)
    settings = Settings(steps, period, None if patience is None else int(patience), *limits)

    state, folder = State(carry), None
    if checkpoint is not None:
        folder = Checkpoint(checkpoint, checkpoint_every)
        stored = folder.read(resume)
        batch = source.first()
        if source.stream is not None:
            if stored is not None:
                source.stream.skip(stored.done, stored.used)
            batch = source.stream.peek()
        traced = source.stream is None or batch is not None
        folder.settings = {
            "batches": source.kind,
            "batch_size": source.batch_size,
            "examples": source.examples,
            **settings._asdict(),
            "key": jax.random.key_data(key).tolist(),
            "jax": jax.__version__,
            "learned arrays": structure_of(learned),
            "optimiser state": structure_of(carry.optimiser_state),
            "learned values at the start": digest_of_arrays(learned),
            "known values": digest_of_arrays(rest_parts[0]),
            "training data": digest_of_arrays((source.arrays, risk_parts[0])),
            "validation data": None if check is None else check.digest(),
            "computation": digest_of_computation(compiled.step.trace(carry, inputs, batch, zero).jaxpr)
            if traced
            else None,
        }
        if stored is not None:
            state = folder.restore(state, stored)
            state.carry = replicated(state.carry, mesh)
    listeners = tuple(c if isinstance(c, Every) else every(1, c) for c in callbacks)
    with Interrupt() as interrupt, Progress(progress, steps, state.done) as bar:
        run = Run(
            state=state,
            rest=rest,
            risk=risk,
            programs=compiled,
            plan=chosen,
            inputs=inputs,
            orders=orders,
            stream=source.stream,
            validator=check,
            callbacks=listeners,
            checkpoint=folder,
            settings=settings,
            interrupt=interrupt,
            progress=bar,
            mesh=mesh,
        )
        return run.to_the_end()


def _optimiser(
    optimiser: optax.GradientTransformation | None, clip: float | None, steps: int
) -> optax.GradientTransformation:
    """The optimiser to use, behind a clip if there is one."""
    if optimiser is None:
        return clipped(default_optimiser(steps), CLIP if clip is None else float(clip))
    if not isinstance(optimiser, optax.GradientTransformation):
        raise TypeError(f"optimiser must be an optax transformation, e.g. optax.adam(1e-3), but got {optimiser!r}.")
    return optimiser if clip is None else clipped(optimiser, float(clip))


def _check(
    counts: dict[str, Any], key: Any, validation: Any, checkpoint: Any, resume: bool, clip: Any, fraction: Any
) -> None:
    for name, value in counts.items():
        if value is None and name in ("validate_every", "patience", "checkpoint_every"):
            continue
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f"{name} must be an integer ≥ 1, but got {value!r}.")
    if validation is None and (counts["patience"] is not None or counts["validate_every"] is not None):
        raise ValueError("patience and validate_every need validation=, data or a risk to validate on.")
    if checkpoint is None and resume:
        raise ValueError("resume needs checkpoint=, the folder of the run to go on with.")
    if clip is not None and not clip > 0:
        raise ValueError(f"clip must be > 0, but got {clip!r}.")
    if not 0 <= fraction <= 1:
        raise ValueError(f"non_finite_fraction must be between 0 and 1, but got {fraction!r}.")
    typed = isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ()
    if not typed and not (isinstance(key, jax.Array | np.ndarray) and key.dtype == jnp.uint32 and key.ndim == 1):
        raise TypeError(f"key must be one JAX random key, e.g. jax.random.key(0), but got {key!r}.")
