"""Policies compared in closed loop, on the same noise."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import PRNGKeyArray

from mbdl.core import RecursiveRule, spectrum
from mbdl.training import Comparison, Row

from .constraints import Constraints
from .cost import AbstractCost
from .simulate import simulate


def compare_policies(
    policies: Mapping[str, RecursiveRule],
    system: Any,
    cost: AbstractCost,
    key: PRNGKeyArray,
    *,
    steps: int,
    runs: int,
    constraints: Constraints | None = None,
    reference: str | None = None,
) -> Comparison:
    """Compares policies in closed loop: the mean cost ± standard error, the difference to a reference on the same
    noise, what is learned, the place on the spectrum.

    Args:
        policies: policies by name.
        system: a system, or a model of `mbdl.tracking` with a control input.
        cost: what a stage and a last state cost.
        key: a JAX random key, for the noise that all policies meet.
        steps: the number of stages of each run.
        runs: the number of runs.
        constraints: what is to be kept; with it, the largest violation of a run is a second metric.
        reference: the name of the policy that paired differences are taken to.

    Returns:
        a `mbdl.Comparison`, whose instances are the runs. A run that diverges is bad.

    Raises:
        ValueError: as `simulate`, for no policies, or a reference that is not among them.

    >>> import jax, jax.numpy as jnp
    >>> from mbdl import control
    >>> system = control.LinearSystem(jnp.eye(1), jnp.eye(1), process_noise=jnp.eye(1))
    >>> cost = control.QuadraticCost(jnp.eye(1), jnp.eye(1))
    >>> policies = {"half": control.LinearFeedback(0.5 * jnp.eye(1)), "LQR": control.LQR(system, cost)}
    >>> table = control.compare_policies(policies, system, cost, jax.random.key(0), steps=100, runs=20, reference="LQR")
    >>> table.difference("half")[0] > 0
    True
    """
    if not policies:
        raise ValueError("compare_policies: expected a dictionary of at least one policy by name")
    if reference is not None and reference not in policies:
        raise ValueError(f"compare_policies: the reference {reference!r} is not among the policies {list(policies)}")
    rows = []
    for name, policy in policies.items():
        found = simulate(system, policy, key, steps=steps, runs=runs, cost=cost, constraints=constraints, throw=False)
        values = {"cost": np.asarray(found.run_costs, np.float64)}
        if constraints is not None:
            values["violation"] = np.max(np.asarray(found.violations, np.float64), axis=1)
        place = spectrum(policy)
        bad = np.asarray(found.diverged_at) >= 0
        counts = place.known, place.learned, place.frozen, place.tuned
        rows.append(Row(name, values, bad, place.strategy, *counts, float("nan")))
    return Comparison(tuple(rows), tuple(rows[0].values), reference, runs)
