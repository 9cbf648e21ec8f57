"""Simulation of closed loops: many runs of a system under a policy, and what they cost."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mbdl.core import RecursiveRule, all_finite, resolve, settle
from mbdl.core.checks import concrete

from .constraints import Constraints
from .cost import AbstractCost
from .counts import check_counts
from .rollout import Noise, Rollout, noise_at, rollout
from .system import as_system


class MeanCost(NamedTuple):
    """A mean over runs and its standard error."""

    mean: float
    standard_error: float

    def __str__(self) -> str:
        return f"{self.mean:.4g} ± {self.standard_error:.2g}"


class Trajectories(eqx.Module):
    r"""Runs of a closed loop; made by `simulate`.

    Attributes:
        states: $x_0, \dots, x_T$, `[runs time+1 state]`.
        controls: `[runs time control]`.
        observations: what the policy saw, `[runs time observation]`.
        costs: of each stage, `[runs time]`.
        terminal: the cost of the last state, `[runs]`.
        violations: the largest amount by which each stage breaks the constraints, `[runs time]`; zero without any.
        diverged_at: the first stage whose state, control or cost is not finite; -1 where all are, `[runs]`.
    """

    states: Float[Array, "runs times state"]
    controls: Float[Array, "runs time control"]
    observations: Float[Array, "runs time observation"]
    costs: Float[Array, "runs time"]
    terminal: Float[Array, " runs"]
    violations: Float[Array, "runs time"]
    diverged_at: Int[Array, " runs"]

    @property
    def run_costs(self) -> Float[Array, " runs"]:
        """The cost of each run: the sum of its stages and its terminal cost, by the number of stages."""
        return (jnp.sum(self.costs, axis=-1) + self.terminal) / self.costs.shape[-1]

    def cost(self) -> MeanCost:
        """The mean cost of a run, with the standard error over runs."""
        return _mean(self.run_costs)

    def difference(self, other: "Trajectories") -> MeanCost:
        """By how much these runs cost more than those of another policy on the same noise, run by run.

        Args:
            other: runs of the same system by the same key, as many and as long.

        Raises:
            ValueError: for runs of another number or length.
        """
        if self.costs.shape != other.costs.shape:
            raise ValueError(
                f"difference: a paired difference needs runs of the same noise, got {self.costs.shape} and "
                f"{other.costs.shape} runs and stages. Simulate both with the same key, steps and runs"
            )
        return _mean(self.run_costs - other.run_costs)


def simulate(
    system: Any,
    policy: RecursiveRule,
    key: PRNGKeyArray,
    steps: int,
    runs: int,
    *,
    cost: AbstractCost,
    constraints: Constraints | None = None,
    throw: bool = True,
) -> Trajectories:
    """Runs a system under a policy, all runs at a time, compiled once.

    At each time the policy sees the observation and chooses the control that leads to the next state. The noise of a
    run at a time depends on the key, the run and the time alone: two policies of one key meet the same noise, and the
    first steps of a longer simulation are those of a shorter one.

    Args:
        system: a system, or a model of `mbdl.tracking` with a control input.
        policy: a recursive rule from observations to controls.
        key: a JAX random key.
        steps: the number of stages of each run.
        runs: the number of runs.
        cost: what a stage and a last state cost.
        constraints: what is to be kept; it is measured here, not enforced.
        throw: raise for a run that is not finite; otherwise `diverged_at` says where. Under a transformation nothing
            raises.

    Returns:
        `Trajectories`.

    Raises:
        ValueError: for fewer than one step or run, a decision that is no control of the system, or (with `throw`) a
            closed loop that diverges, or in which the policy has no finite control (an infeasible problem): the first
            run and stage, and why.

    Differentiable in: the policy, the system and the cost.

    >>> import jax, jax.numpy as jnp
    >>> from mbdl import control
    >>> system = control.LinearSystem(jnp.eye(2), jnp.eye(2), process_noise=0.01 * jnp.eye(2))
    >>> cost = control.QuadraticCost(jnp.eye(2), jnp.eye(2))
    >>> runs = control.simulate(system, control.LQR(system, cost), jax.random.key(0), steps=50, runs=8, cost=cost)
    >>> runs.states.shape, runs.controls.shape
    ((8, 51, 2), (8, 50, 2))
    """
    plant = as_system(system, "simulate")
    check_counts({"steps": steps, "runs": runs}, "simulate")
    check_policy(policy, "simulate")
    limits = Constraints() if constraints is None else constraints
    plant = _held(plant)
    noise = noise_of_runs(plant, key, steps, jnp.arange(runs))
    found = trajectories(plant, _held(policy), _held(cost), _held(limits), noise)
    if throw and concrete(found.costs) is not None and (why := why_not_finite(found, policy, jnp.arange(runs))):
        raise ValueError(f"simulate: {why}; throw=False returns the runs and where they ended")
    return found


def _held(part: Any) -> Any:
    return settle(resolve(part))


@eqx.filter_jit
def noise_of_runs(system: Any, key: Any, steps: int, runs: Int[Array, " runs"]) -> Noise:
    """The noise of some numbers of runs, each by a key of its own: a program that all policies share."""
    keys = jax.vmap(lambda run: jax.random.split(jax.random.fold_in(key, run)))(runs)
    times = jnp.arange(steps + 1)
    # Time after time: on arrays of runs, times and components together a generator of random bits compiles for seconds.
    drawn = jax.lax.map(lambda time: jax.vmap(lambda key: noise_at(system, key, time))(keys[:, 1]), times)
    process, observation = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), drawn)
    state = jax.vmap(system.initial)(keys[:, 0], jax.tree.map(lambda leaf: leaf[:, 0], process))
    return Noise(jnp.broadcast_to(times, (len(runs), steps + 1)), state, process, observation)


def runs_of(
    system: Any, policy: Any, cost: Any, constraints: Any, noise: Noise, *, rematerialise: bool = False
) -> Rollout:
    """The runs of a resolved policy on the noise of each."""
    memory = policy.init()
    return jax.vmap(lambda noise: rollout(system, policy, cost, constraints, memory, noise, rematerialise))(noise)


@eqx.filter_jit
def trajectories(system: Any, policy: Any, cost: Any, constraints: Any, noise: Noise) -> Trajectories:
    """The runs of a resolved policy on the noise of each, and where they are not finite."""
    found = runs_of(system, policy, cost, constraints, noise)
    finite = jnp.isfinite(found.costs) & jnp.all(jnp.isfinite(found.controls), axis=-1)
    finite &= jnp.all(jnp.isfinite(found.states[:, 1:]), axis=-1)
    diverged_at = jnp.where(jnp.all(finite, axis=1), -1, jnp.argmin(finite, axis=1))
    return Trajectories(*found, diverged_at)


def check_policy(policy: Any, what: str) -> None:
    """Raise for what is no recursive rule."""
    if not isinstance(policy, RecursiveRule):
        raise TypeError(
            f"{what}: expected a policy, a recursive rule from observations to controls, got {type(policy).__name__}. "
            "control.StateFeedback(rule) makes a policy of a map from states to controls"
        )


def why_not_finite(
    found: Trajectories, policy: RecursiveRule, runs: Int[Array, " runs"], against_divergence: str = ""
) -> str:
    """Which of the numbered runs is the first that is not finite, and why, in words; nothing where all are finite.

    What helps `against_divergence` is said where a run diverged; where the policy has no control, it says what helps.
    """
    at = np.asarray(found.diverged_at)
    bad = np.flatnonzero(at >= 0)
    if not bad.size:
        return ""
    first = bad[np.argmin(at[bad])]
    seen, control = found.observations[first, at[first]], found.controls[first, at[first]]
    if all_finite(seen) and not all_finite(control):
        how, why = "broke off", f"the policy's control is not finite. {policy.why_not_finite(seen, None)}"
    else:
        how = "diverged"
        why = f"the policy does not stabilise this system, or its noise or cost is not finite{against_divergence}"
    return (
        f"the closed loop of {type(policy).__name__} {how} in {bad.size} of {at.size} runs, first at stage {at[first]} "
        f"of run {runs[first]}: {why}"
    )


def _mean(values: Float[Array, " runs"]) -> MeanCost:
    known = np.asarray(values, np.float64)
    error = float(np.std(known, ddof=1) / np.sqrt(len(known))) if len(known) > 1 else float("nan")
    return MeanCost(float(np.mean(known)), error)
