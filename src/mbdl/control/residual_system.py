"""A model with a learned residual: what the equations say, and a network for what they leave out."""

from typing import Any

import equinox as eqx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mbdl.core import DecisionRule
from mbdl.tracking.residual_model import residual, residual_network

from .expansion import nominal_move
from .system import AbstractSystem, as_system


class ResidualSystem(AbstractSystem):
    r"""A system whose transition is that of a model and a learned residual,
    $$x_{t+1} = f(x_t, u_t, w_{t+1}) + r_\theta(x_t, u_t).$$

    A planner takes it in the place of the model: predictive control with a learned residual model. The residual is
    zero at first, so that the untrained policy is the model-based one. It is trained by prediction
    (`Prediction`, `transitions`), or with the policy through `closed_loop`, whose own system stays the true one. Where
    a filter estimates the state, it needs the residual too: make both of a `mbdl.tracking.ResidualModel`.

    Args:
        system: the model; a system, or a model of `mbdl.tracking` with a control input.
        network: $r$, from state and control in one vector `[state+control]` to `[state]`. The last layer of an `MLP`
            that is not yet learned is set to zero; another network is taken as it is, so that it should return zero at
            first.

    Raises:
        TypeError: for what is no system or no network.
        ValueError: when it is used, for a network that returns no state.

    Differentiable in: state, control, noise, and the parameters of model and network.

    >>> import jax, jax.numpy as jnp, mbdl
    >>> from mbdl import control, networks
    >>> model = control.LinearSystem(jnp.eye(2), jnp.ones((2, 1)), process_noise=jnp.eye(2))
    >>> aided = control.ResidualSystem(model, networks.MLP(3, 2, width=8, depth=1, key=jax.random.key(0)))
    >>> mbdl.resolve(aided).move(jnp.zeros(2), jnp.ones(1), jnp.zeros(2), 1).tolist()
    [1.0, 1.0]
    """

    system: AbstractSystem
    network: Any
    control_size: int = eqx.field(static=True)

    def __init__(self, system: Any, network: Any):
        self.system = as_system(system, "ResidualSystem")
        self.control_size = self.system.control_size
        self.network = residual_network(network, "ResidualSystem")

    def initial(self, key: PRNGKeyArray, noise: Any) -> Float[Array, " state"]:
        return self.system.initial(key, noise)

    def process_noise(self, key: PRNGKeyArray, time: Int[Array, ""]) -> Any:
        return self.system.process_noise(key, time)

    def observation_noise(self, key: PRNGKeyArray, time: Int[Array, ""]) -> Any:
        return self.system.observation_noise(key, time)

    def nominal_noise(self, time: Int[Array, ""]) -> Any:
        return self.system.nominal_noise(time)

    def move(self, state: Array, control: Array, noise: Any, time: Array) -> Float[Array, " state"]:
        known = self.system.move(state, control, noise, time)
        return known + residual(self.network, state, control, "ResidualSystem")

    def observe(self, state: Array, control: Array, noise: Any, time: Array) -> Float[Array, " observation"]:
        return self.system.observe(state, control, noise, time)


class Prediction(DecisionRule):
    r"""The state that a system predicts one step ahead, $\hat x_{t+1} = f(x_t, u_t, \bar w_{t+1})$, as a rule, so that
    its parameters are learned from transitions by `mbdl.supervised`.

    A context is `(state, control, time)`, with the time of the state.

    Args:
        system: a system, or a model of `mbdl.tracking` with a control input.

    Returns:
        from `(state, control, time)` the state that follows.

    Raises:
        TypeError: for what is no system.

    Differentiable in: state, control and the parameters of the system.

    >>> import jax, jax.numpy as jnp, mbdl, optax
    >>> from mbdl import control, networks
    >>> true = control.LinearSystem(0.8 * jnp.eye(1), jnp.ones((1, 1)), process_noise=0.01 * jnp.eye(1))
    >>> model = control.LinearSystem(jnp.eye(1), jnp.ones((1, 1)), process_noise=0.01 * jnp.eye(1))
    >>> cost = control.QuadraticCost(jnp.eye(1), jnp.eye(1))
    >>> runs = control.simulate(true, control.LQR(model, cost), jax.random.key(0), steps=50, runs=4, cost=cost)
    >>> aided = control.ResidualSystem(model, networks.MLP(2, 1, width=8, depth=1, key=jax.random.key(1)))
    >>> risk = mbdl.supervised(control.transitions(runs), mbdl.losses.mse)
    >>> fit = mbdl.fit(control.Prediction(aided), risk, optax.adam(1e-2), steps=100, key=jax.random.key(2))
    >>> bool(risk(fit.rule) < risk(control.Prediction(aided)))  # fit.rule.system is what a planner takes
    True
    """

    system: AbstractSystem

    def __init__(self, system: Any):
        self.system = as_system(system, "Prediction")

    def decide(self, x: tuple[Array, Array, Array]) -> Float[Array, " state"]:
        state, control, time = x
        return nominal_move(self.system, state, control, time)
