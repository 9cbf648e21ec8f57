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

import equinox as eqx
import jax
import numpy as np
import optax

from mbdl import core, tracking, training

from . import kalmannet_scan, peers, training_step
from .kalmannet_peer import NetworkOfUnits
from .timing import Contender, Measured, Tables, measure

System = Literal["linear 2×2", "Lorenz 3×3"]
SYSTEMS: tuple[System, ...] = ("linear 2×2", "Lorenz 3×3")
TOLERANCE = 1e-2
"""Of what the network changes in the estimates: single precision through a recursion of states up to a thousand times
as large."""

STEPS = 300
"""Of the training that is timed with its compilation."""


def run(
    *,
    rounds: int = 10,
    steps: int = 100,
    batch: int = 30,
    systems: tuple[System, ...] = SYSTEMS,
    count: int = STEPS,
    runs: int = 1000,
) -> Tables:
    """Measures a training step and the filtering of the batch; of two states, a smoother's step and a training too.

    Args:
        rounds: repetitions.
        steps: observations of a trajectory.
        batch: trajectories in a batch.
        systems: which state-space models.
        count: steps of the training that is timed from its beginning.
        runs: trajectories that it trains on, and as many others that it is tested on.

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
    if SYSTEMS[0] in systems:
        smoother, ys, states = problem(SYSTEMS[0], steps=steps, batch=batch, kind=tracking.RTSNet)
        size = f"RTSNet, {SYSTEMS[0]}, {core.count(core.partition(smoother)[0]):,} numbers, batch {batch}, T = {steps}"
        step = Contender("mbdl", lambda: training_step.step(smoother, ys, states, loss=tracking.state_error))
        yield f"Training step, {size}", measure([step], rounds=rounds)
        title = f"{count} steps of training, KalmanNet, {SYSTEMS[0]}, q²/r² = -20 dB"
        yield title, learning(count, steps=steps, batch=batch, runs=runs)


def constant(model: Any, *, key: jax.Array) -> Any:
    """KalmanNet around a constant gain, which the peers are given as numbers."""
    return tracking.KalmanNet(model, nominal=tracking.SteadyStateGain(), key=key)


def problem(
    system: System, *, steps: int, batch: int, kind: Callable[..., Any] = constant
) -> tuple[Any, jax.Array, jax.Array]:
    """The filter or smoother with its learned gain, observations and states."""
    if system == "linear 2×2":
        true = model = tracking.canonical(2, q2=0.1, r2=1.0)
    else:
        true = tracking.lorenz(q2=1e-3, r2=0.1, rotate_observation=1.0)
        model = tracking.lorenz(q2=1e-3, r2=0.1)
    learned, rest = core.partition(kind(model, key=jax.random.key(0)))
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


def learning(count: int, *, steps: int, batch: int, runs: int) -> list[Measured]:
    """A training of KalmanNet from its beginning, all that is compiled in it, and the error on other trajectories."""
    model = tracking.canonical(2, q2=0.01, r2=1.0)
    rule = tracking.KalmanNet(model, key=jax.random.key(0))
    data, test = (tracking.simulate(model, jax.random.key(k), steps=steps, runs=runs) for k in (1, 2))
    compared = {"Kalman filter": tracking.KalmanFilter(model), "untrained": rule}

    def run() -> Any:
        risk = training.supervised(tuple(data), tracking.state_error)
        fit = training.fit(
            rule, risk, optax.adam(1e-3), steps=count, batch_size=batch, key=jax.random.key(3), progress=False
        )
        compared["trained"] = fit.rule
        return core.partition(fit.rule)[0]

    measured = measure([Contender("mbdl", lambda: run)], rounds=1)
    measured[0].note = ", ".join(f"{name} {_error_db(r, test):.2f} dB" for name, r in compared.items())
    return measured


def _error_db(rule: Any, test: tuple[jax.Array, jax.Array]) -> float:
    ys, states = test
    return float(10 * np.log10(np.mean((np.asarray(_forward(rule, ys)()) - np.asarray(states)) ** 2)))


def _forward(rule: Any, ys: jax.Array) -> Any:
    # The rule is an argument, as the parameters of the other sides are: none of them is a constant of the program.
    compiled = eqx.filter_jit(lambda rule, ys: jax.vmap(lambda y: rule(y).mean)(ys))
    return lambda: compiled(rule, ys)


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
        model = NetworkOfUnits(plain.gain.network, plain.model, *known, cell=cell).module().to(peers.device())
        inputs = library.from_numpy(np.array(ys)).to(peers.device())

        def filtered() -> np.ndarray:
            with library.no_grad():
                return model(inputs).cpu().numpy()

        if states is None:
            return filtered
        targets = library.from_numpy(np.array(states)).to(peers.device())
        return peers.train(model, inputs, targets, training_step.LEARNING_RATE)

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
