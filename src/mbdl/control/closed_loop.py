"""The closed loop as a risk: what a policy's parameters are trained to make small."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mbdl.core import resolve, settle
from mbdl.training import AbstractExampleRisk

from .constraints import Constraints
from .cost import AbstractCost
from .counts import check_counts
from .rollout import Noise, mean_cost
from .simulate import check_policy, noise_of_runs, runs_of, trajectories, why_not_finite
from .system import AbstractSystem, as_system


class ClosedLoop(AbstractExampleRisk):
    """The mean cost of a policy over runs of a system; made by `closed_loop`. Its examples are the numbers of runs."""

    data: None
    system: AbstractSystem
    cost: AbstractCost
    key: PRNGKeyArray | None
    horizon: int = eqx.field(static=True)
    runs: int = eqx.field(static=True)
    rematerialise: bool = eqx.field(static=True)

    def examples(self) -> Int[Array, " runs"]:
        """The numbers of the runs."""
        return jnp.arange(self.runs)

    def values(self, rule: Any, batch: Int[Array, " runs"], key: PRNGKeyArray | None) -> Float[Array, " runs"]:
        """The cost of each run of a batch, on the noise of a key: the risk's own one, where it has one."""
        check_policy(rule, "closed_loop")
        noise, held = self._noise(batch, key), settle(resolve(rule))
        found = runs_of(self.system, held, self.cost, Constraints(), noise, rematerialise=self.rematerialise)
        return mean_cost(found)

    def why_not_finite(self, rule: Any, batch: Int[Array, " runs"] | None, key: PRNGKeyArray | None) -> str:
        """Which run of the step ended first, at which stage and why; or which costs the most, where all are finite."""
        runs = self.examples() if batch is None else batch
        held, noise = settle(resolve(rule)), self._noise(runs, key)
        found = trajectories(self.system, held, self.cost, Constraints(), noise)
        helps = ". Take a smaller learning rate or clip=1.0, or begin with a policy whose runs are finite"
        if why := why_not_finite(found, rule, runs, helps):
            return f"At this step {why}."
        most = jnp.argmax(found.run_costs)
        return (
            f"At this step all stages of the closed loop of {type(rule).__name__} are finite, and its gradient or "
            f"result is not: run {runs[most]} costs the most, {found.run_costs[most]:.3g}. Take a smaller learning "
            "rate or a shorter horizon."
        )

    def _noise(self, runs: Int[Array, " runs"], key: PRNGKeyArray | None) -> Noise:
        key = key if self.key is None else self.key
        if key is None:
            raise ValueError("closed_loop: the noise needs a key: closed_loop(..., key=key), or risk(policy, key=key)")
        return noise_of_runs(self.system, key, self.horizon, runs)


def closed_loop(
    system: Any,
    cost: AbstractCost,
    *,
    horizon: int,
    runs: int,
    key: PRNGKeyArray | None = None,
    rematerialise: bool = False,
) -> ClosedLoop:
    r"""The mean cost of a policy over runs of a system, as a risk,
    $$\frac1{NT} \sum_{i=1}^N \Bigl( \sum_{t=0}^{T-1} \ell(x_t^i, u_t^i, x_{t+1}^i) + \ell_T(x_T^i) \Bigr).$$

    Its gradient goes through the whole closed loop: the policy, the cost and the system. Each step of `fit` draws new
    noise; the noise of a run at a time is a function of the key, the run and the time alone. Its examples are the
    numbers of runs: `fit(..., data=jnp.arange(64), batch_size=16)` with a key of the risk's own trains on 64 runs.

    Args:
        system: a system, or a model of `mbdl.tracking` with a control input.
        cost: what a stage and a last state cost.
        horizon: $T$, the number of stages.
        runs: $N$, the number of runs at a step.
        key: the noise of all steps, where they shall meet the same; for a validation, `closed_loop(..., key=key)`.
        rematerialise: compute each stage again in the backward pass: less memory for more time.

    Returns:
        a risk without data, a pytree.

    Raises:
        ValueError: for a horizon or a number of runs below one; when it is used, for a decision that is no control.
        TypeError: for what is no system; when it is used, for what is no policy.
        mbdl.training.NonFiniteError: by `fit`, where a training stops because the loop diverges or the policy has no
            finite control: the policy, the first run and stage, and why; `error.fit` has the best rule until then.

    Source: A. Agrawal, S. Barratt, S. Boyd and B. Stellato, "Learning convex optimization control policies", L4DC 2020.

    >>> import jax, jax.numpy as jnp, mbdl, optax
    >>> from mbdl import control
    >>> system = control.LinearSystem(jnp.eye(1), jnp.eye(1), process_noise=jnp.eye(1))
    >>> cost = control.QuadraticCost(jnp.eye(1), jnp.eye(1))
    >>> policy = mbdl.learn(control.LinearFeedback(jnp.zeros((1, 1))), lambda p: p.gain)
    >>> risk = control.closed_loop(system, cost, horizon=20, runs=16)
    >>> fit = mbdl.fit(policy, risk, optax.adam(0.1), steps=100, key=jax.random.key(0))
    >>> 0.5 < float(mbdl.resolve(fit.rule).gain[0, 0]) < 0.75  # the optimum of the infinite horizon is 0.618
    True
    """
    check_counts({"horizon": horizon, "runs": runs}, "closed_loop")
    plant = settle(as_system(system, "closed_loop"))
    return ClosedLoop(None, plant, settle(cost), key, horizon, runs, bool(rematerialise))
