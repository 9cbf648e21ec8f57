"""A training step of LISTA and of LISTA-CP, each as `unfold` of a solver that is written here as a user would.

A 250×500 dictionary, 16 layers, batch 64, mean squared error, Adam; the same in plain PyTorch from the same weights.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mbdl import core, inverse

from . import peers, training_step
from .timing import Contender, Tables, measure

FIT_STEPS = 10


class Lista(core.IterativeSolver):
    """ISTA with free matrices: ``s ← T_θ(gain x + recurrence s)``."""

    gain: Float[Array, "signal observed"]
    recurrence: Float[Array, "signal signal"]
    threshold: Float[Array, ""]

    def init(self, x: Float[Array, " observed"]) -> Float[Array, " signal"]:
        return jnp.zeros(self.gain.shape[0], self.gain.dtype)

    def step(self, state: Float[Array, " signal"], x: Float[Array, " observed"]) -> Float[Array, " signal"]:
        return inverse.soft_threshold(self.gain @ x + self.recurrence @ state, self.threshold)

    def decision(self, state: Float[Array, " signal"]) -> Float[Array, " signal"]:
        return state


class ListaCP(core.IterativeSolver):
    """ISTA whose backward matrix is free while the forward one is the model: ``s ← T_θ(s + gain (x − A s))``."""

    dictionary: Float[Array, "observed signal"]
    gain: Float[Array, "signal observed"]
    threshold: Float[Array, ""]

    def init(self, x: Float[Array, " observed"]) -> Float[Array, " signal"]:
        return jnp.zeros(self.gain.shape[0], self.gain.dtype)

    def step(self, state: Float[Array, " signal"], x: Float[Array, " observed"]) -> Float[Array, " signal"]:
        return inverse.soft_threshold(state + self.gain @ (x - self.dictionary @ state), self.threshold)

    def decision(self, state: Float[Array, " signal"]) -> Float[Array, " signal"]:
        return state


def run(*, rounds: int = 15, observed: int = 250, signal: int = 500, layers: int = 16, batch: int = 64) -> Tables:
    """Measures a training step of both networks.

    Args:
        rounds: repetitions.
        observed: rows of the dictionary.
        signal: columns of the dictionary.
        layers: depth.
        batch: examples in a batch.

    Yields:
        The title of each table with its measurements, once it is measured.
    """
    for name in ("LISTA", "LISTA-CP"):
        rule, xs, targets = problem(name, observed=observed, signal=signal, layers=layers, batch=batch)
        learned = core.count(core.partition(rule)[0])
        title = f"Training step, {name} {observed}×{signal}, {layers} layers, {learned:,} numbers, batch {batch}"
        yield (
            title,
            measure(
                [
                    Contender("mbdl", lambda r=rule, x=xs, t=targets: training_step.step(r, x, t)),
                    _plain("PyTorch", rule, xs, targets),
                    _plain("PyTorch, fused Adam", rule, xs, targets, fused=True),
                ],
                rounds=rounds,
            ),
        )
        yield (
            f"{FIT_STEPS} steps of {title.removeprefix('Training step, ')}",
            measure(
                [
                    Contender("mbdl.fit", lambda r=rule, x=xs, t=targets: training_step.fit(r, x, t, FIT_STEPS)),
                    _plain("PyTorch", rule, xs, targets, repeats=FIT_STEPS),
                ],
                rounds=rounds // 3 + 1,
            ),
        )


def problem(
    name: str, *, observed: int, signal: int, layers: int, batch: int
) -> tuple[core.IterativeSolver, jax.Array, jax.Array]:
    """The unfolded rule, observations and signals."""
    rng = np.random.default_rng(0)
    dictionary = rng.standard_normal((observed, signal)).astype(np.float32)
    dictionary /= np.linalg.norm(dictionary, axis=0)
    targets = (rng.standard_normal((batch, signal)) * (rng.random((batch, signal)) < 0.1)).astype(np.float32)
    step = np.float32(1 / np.linalg.norm(dictionary, 2) ** 2)
    gain, threshold = step * dictionary.T, 0.1 * step
    if name == "LISTA":
        solver: Any = Lista(
            jnp.asarray(gain),
            jnp.asarray(np.eye(signal, dtype=np.float32) - gain @ dictionary),
            threshold,
            iterations=layers,
        )
        rule = core.unfold(solver, layers, untie=lambda r: (r.gain, r.recurrence, r.threshold))
    else:
        solver = ListaCP(jnp.asarray(dictionary), jnp.asarray(gain), threshold, iterations=layers)
        rule = core.unfold(solver, layers, untie=lambda r: (r.gain, r.threshold))
    return rule, jnp.asarray(targets @ dictionary.T), jnp.asarray(targets)


def _plain(name: str, rule: Any, xs: jax.Array, targets: jax.Array, *, repeats: int = 1, **options: Any) -> Contender:
    def build() -> Any:
        library = peers.torch()
        plain = core.resolve(rule)
        names = ("gain", "recurrence", "threshold") if isinstance(plain, Lista) else ("gain", "threshold")
        parameters = {n: np.asarray(getattr(plain, n).value) for n in names}
        model = peers.lista(parameters, None if isinstance(plain, Lista) else np.asarray(plain.dictionary))
        inputs, outputs = (library.from_numpy(np.array(a)) for a in (xs, targets))
        with library.no_grad():
            difference = float(np.max(np.abs(model(inputs).numpy() - np.asarray(jax.vmap(rule)(xs)))))
        if not difference < 1e-3:
            raise AssertionError(f"{name} computes something else: its decisions differ by {difference:.1e}")
        contender.note = f"first decisions differ by {difference:.0e}"
        once = peers.train(model, inputs, outputs, training_step.LEARNING_RATE, **options)
        return once if repeats == 1 else lambda: [once() for _ in range(repeats)]

    contender = Contender(name, build)
    return contender
