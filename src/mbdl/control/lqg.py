"""The linear quadratic Gaussian regulator: a filter, and a controller that trusts its estimates."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mbdl import tracking
from mbdl.core import RecursiveRule, all_finite, first_bad_step, resolve

from .simulate import check_policy


class Loop(NamedTuple):
    """The memory of an `LQG`: the filter's, the controller's, and the control before."""

    filter: Any
    controller: Any
    control: Float[Array, " control"]


class LQG(RecursiveRule):
    r"""A filter and a controller in one policy, $u_t = \pi(\hat x_t)$, with the estimate $\hat x_t$ of the state from
    the observations up to $y_t$ and the controls up to $u_{t-1}$.

    With a `KalmanFilter` and an `LQR` of the same linear system it is the optimal policy for Gaussian noise and a
    quadratic cost (the separation principle). Any filter of `mbdl.tracking` and any policy of states may stand in their
    place: an extended filter, `KalmanNet`, predictive control.

    Filter and controller hold a model each, which may differ; a parameter that both have is two leaves. To learn it in
    one of them, select it there.

    Args:
        filter: from observations to estimates with a `mean`; its model has a control input.
        controller: a policy from states to controls.

    Returns:
        from observations `[time observation]`, or `tracking.Inputs` of observations, the controls `[time control]`.

    Raises:
        TypeError: for what is no filter or no policy.

    Differentiable in: the observations, and what filter and controller are differentiable in.

    Source: K. J. Åström, "Introduction to stochastic control theory", Academic Press, 1970; with a learned gain, S.
    Goldenberg, G. Revach and N. Shlezinger, "LQGNet: hybrid model-based and data-driven linear quadratic stochastic
    control", ICASSP 2023.

    >>> import jax, jax.numpy as jnp
    >>> from mbdl import control, tracking
    >>> system = control.LinearSystem(
    ...     jnp.array([[1.0, 1.0], [0.0, 1.0]]), jnp.array([[0.0], [1.0]]), process_noise=0.1 * jnp.eye(2),
    ...     observation=jnp.array([[1.0, 0.0]]), observation_noise=jnp.eye(1),
    ... )
    >>> cost = control.QuadraticCost(jnp.eye(2), jnp.eye(1))
    >>> policy = control.LQG(tracking.KalmanFilter(system.model), control.LQR(system, cost))
    >>> policy(jnp.ones((5, 1))).shape
    (5, 1)
    """

    filter: Any
    controller: RecursiveRule

    def __init__(self, filter: Any, controller: RecursiveRule):
        if not isinstance(filter, tracking.AbstractFilter):
            raise TypeError(f"LQG: expected a filter of mbdl.tracking, got {type(filter).__name__}")
        check_policy(controller, "LQG")
        self.filter, self.controller = filter, controller

    def init(self) -> Loop:
        memory = self.controller.init()
        mean = resolve(self.filter).model.initial_mean
        decided = jax.eval_shape(lambda memory, mean: self.controller.step(memory, mean)[1], memory, mean)
        return Loop(self.filter.init(), memory, jnp.zeros(decided.shape, mean.dtype))

    def step(self, memory: Loop, x: Any) -> tuple[Loop, Float[Array, " control"]]:
        inputs = x if isinstance(x, tracking.Inputs) else tracking.Inputs(x)
        inputs = tracking.Inputs(inputs.observation, memory.control, inputs.present, inputs.duration)
        filter_memory, estimates = self.filter.step(memory.filter, inputs)
        controller_memory, control = self.controller.step(memory.controller, estimates.mean)
        return Loop(filter_memory, controller_memory, control.astype(memory.control.dtype)), control

    def valid(self, x: Any) -> Bool[Array, ""]:
        return self.filter.valid(x)

    def valid_part(self, x: Any) -> Bool[Array, ""]:
        return all_finite(x)

    def why_invalid(self, x: Any) -> str:
        return self.filter.why_invalid(x)

    def why_not_finite(self, x: Any, decision: Any) -> str:
        return (
            f"{first_bad_step(decision)}The estimate of the {type(self.filter).__name__} is not finite, or the "
            f"{type(self.controller).__name__} has no control for it; each says why by itself"
        )
