"""A training step of KalmanNet's second architecture: the canonical linear system, and the Lorenz system.

Thirty trajectories of 100 observations, mean squared error of the states, Adam. The Lorenz system is observed in a
frame that is turned by a degree, which the filter does not know. The same network around the same nominal gain in plain
JAX, a scan over time mapped over trajectories, and in plain PyTorch, batched over trajectories, with a loop over time
and a recurrent module a unit, as the public implementation has it; from the same weights, which are moved from the
initial ones so that the correction of the gain is not zero.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import jax
import numpy as np

from mbdl import core, tracking

from . import kalmannet_scan, peers, training_step
from .kalmannet_peer import NetworkOfUnits
from .timing import Contender, Tables, measure

System = Literal["linear 2×2", "Lorenz 3×3"]
SYSTEMS: tuple[System, ...] = ("linear 2×2", "Lorenz 3×3")
TOLERANCE = 1e-2
"""Of what the network changes in the estimates: single precision through a recursion of states up to a thousand times
as large."""


def run(*, rounds: int = 10, steps: int = 100, batch: int = 30, systems: tuple[System, ...] = SYSTEMS) -> Tables:
    """Measures a training step and the filtering of the batch.

    Args:
        rounds: repetitions.
        steps: observations of a trajectory.
        batch: trajectories in a batch.
        systems: which state-space models.

    Yields:
        The title of each table with its measurements, once it is measured.
    """
    for system in systems:
        rule, ys, states = problem(system, steps=steps, batch=batch)
        size = f"KalmanNet, {system}, {core.count(core.partition(rule)[0]):,} numbers, batch {batch}, T = {steps}"
        step = Contender("mbdl", lambda r=rule, y=ys, s=states: training_step.step(r, y, s, loss=tracking.state_error))
        yield f"Training step, {size}", measure([step, *_plain(rule, ys, states)], rounds=rounds)
        forward = Contender("mbdl", lambda r=rule, y=ys: _forward(r, y))
        yield f"Forward, {size}", measure([forward, *_plain(rule, ys, None)], rounds=rounds)


def problem(system: System, *, steps: int, batch: int) -> tuple[Any, jax.Array, jax.Array]:
    """The filter with its learned gain, observations and states."""
    if system == "linear 2×2":
        true = model = tracking.canonical(2, q2=0.1, r2=1.0)
    else:
        true = tracking.lorenz(q2=1e-3, r2=0.1, rotate_observation=1.0)
        model = tracking.lorenz(q2=1e-3, r2=0.1)
    learned, rest = core.partition(tracking.KalmanNet(model, key=jax.random.key(0)))
    leaves, structure = jax.tree.flatten(learned)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [leaf + 0.02 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    ys, states = tracking.simulate(true, jax.random.key(2), steps=steps, runs=batch)
    return core.combine(structure.unflatten(moved), rest), ys, states


def nominal(rule: Any) -> tuple[np.ndarray, np.ndarray]:
    """The gain that is corrected, and the units of the correction, `[state observation]` each."""
    plain = core.resolve(rule)
    steady = plain.gain.nominal.init(plain.model)
    of_state, of_innovation = (
        np.sqrt(np.diagonal(covariance)) for covariance in (steady.uncertainty.predicted, steady.uncertainty.innovation)
    )
    return np.array(steady.gain), of_state[:, None] / of_innovation[None, :]


def without_network(rule: Any) -> Any:
    """The filter with the nominal gain alone."""
    plain = core.resolve(rule)
    return type(plain)(plain.model, plain.gain.nominal)


def _forward(rule: Any, ys: jax.Array) -> Any:
    compiled = jax.jit(jax.vmap(lambda y: rule(y).mean))
    return lambda: compiled(ys)


def _plain(rule: Any, ys: jax.Array, states: jax.Array | None) -> list[Contender]:
    """The same in plain JAX and in PyTorch: a training step, or without states the filtering."""
    expected, uncorrected = (np.asarray(_forward(r, ys)()) for r in (rule, without_network(rule)))
    plain, known = core.resolve(rule), nominal(rule)

    def scan(states: jax.Array | None) -> Callable[[], Any]:
        filtered = kalmannet_scan.filtering(plain.model, *known)
        parameters = kalmannet_scan.parameters_of(plain.gain.network)
        if states is None:
            compiled = jax.jit(filtered)
            return lambda: compiled(parameters, ys)
        return kalmannet_scan.train(filtered, parameters, ys, states, training_step.LEARNING_RATE)

    def looped(states: jax.Array | None, *, cell: bool) -> Callable[[], Any]:
        library = peers.torch()
        model = NetworkOfUnits(plain.gain.network, plain.model, *known, cell=cell).module()
        inputs = library.from_numpy(np.array(ys))

        def filtered() -> np.ndarray:
            with library.no_grad():
                return model(inputs).numpy()

        if states is None:
            return filtered
        return peers.train(model, inputs, library.from_numpy(np.array(states)), training_step.LEARNING_RATE)

    def agree(name: str, build: Callable[[None], Callable[[], Any]]) -> str:
        # Relative to the estimates themselves a network that does nothing would pass.
        error, scale = (np.max(np.abs(other - expected)) for other in (np.asarray(build(None)()), uncorrected))
        if not error / scale < TOLERANCE:
            raise AssertionError(f"{name} computes something else: its estimates differ by {error / scale:.1e}")
        return f"first estimates differ by {error / scale:.0e}"

    sides = {
        "JAX, a plain scan": scan,
        "PyTorch, nn.GRU": partial(looped, cell=False),
        "PyTorch, nn.GRUCell": partial(looped, cell=True),
    }
    return [Contender(name, partial(build, states), check=partial(agree, name, build)) for name, build in sides.items()]
