"""A state-space model with a learned residual: what the equations say, and a network for what they leave out."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mbdl import networks
from mbdl.core import Learned, unconstrained

from .inputs import Moment
from .model import AbstractModel, Starts


class ResidualModel(AbstractModel):
    r"""A model whose transition is that of another one and a learned residual,
    $$s_t = f_t(s_{t-1}) + r_\theta(s_{t-1}, u_t) + v_t.$$

    Filters and planners take it in the place of the model. The residual is zero at first, so that the untrained rule is
    the model-based one. It is trained by the likelihood or the error of a filter, by prediction
    (`mbdl.control.Prediction`), or with a policy by what the closed loop costs.

    Args:
        model: the model, linear or not.
        network: $r$, from state and control in one vector `[state+control]`, or from the state where there is no
            control, to `[state]`. The last layer of an `MLP` that is not yet learned is set to zero; another network is
            taken as it is, so that it should return zero at first.

    Raises:
        TypeError: for what is no model or no network.
        ValueError: when it is used, for a network that returns no state.

    Differentiable in: state, control, and the parameters of model and network.

    Source: a nominal model and a learned residual as in L. Hewing, J. Kabzan and M. N. Zeilinger, "Cautious model
    predictive control using Gaussian process regression", IEEE Transactions on Control Systems Technology 28, 2020,
    with a network in the place of the process.

    >>> import jax, jax.numpy as jnp
    >>> from mbdl import networks, tracking
    >>> pendulum = tracking.NonlinearGaussian(
    ...     transition=lambda s, moment: s + 0.1 * jnp.stack([s[1], -jnp.sin(s[0])]),
    ...     observation=lambda s, moment: s[:1],
    ...     process_noise=0.01 * jnp.eye(2), observation_noise=jnp.eye(1),
    ...     initial_mean=jnp.ones(2), initial_covariance=jnp.eye(2),
    ... )
    >>> aided = tracking.ResidualModel(pendulum, networks.MLP(2, 2, width=8, depth=1, key=jax.random.key(0)))
    >>> tracking.ExtendedKalmanFilter(aided)(jnp.ones((5, 1))).mean.shape
    (5, 2)
    """

    model: AbstractModel
    network: Any

    def __init__(self, model: AbstractModel, network: Any):
        if not isinstance(model, AbstractModel):
            raise TypeError(
                f"ResidualModel: expected a model of mbdl.tracking, got {type(model).__name__}. "
                "control.ResidualSystem takes a system"
            )
        self.model, self.network = model, residual_network(network, "ResidualModel")

    @property
    def initial_mean(self) -> Float[Array, " state"]:
        return self.model.initial_mean

    @property
    def initial_covariance(self) -> Any:
        return self.model.initial_covariance

    @property
    def starts(self) -> Starts:
        return self.model.starts

    def transit(self, state: Float[Array, " state"], moment: Moment) -> Float[Array, " state"]:
        return self.model.transit(state, moment) + self._residual(state, moment)

    def transit_jacobian(self, state: Float[Array, " state"], moment: Moment) -> Float[Array, "state state"]:
        return self.model.transit_jacobian(state, moment) + jax.jacfwd(self._residual)(state, moment)

    def observe(self, state: Float[Array, " state"], moment: Moment) -> Float[Array, " observation"]:
        return self.model.observe(state, moment)

    def observe_jacobian(self, state: Float[Array, " state"], moment: Moment) -> Float[Array, "observation state"]:
        return self.model.observe_jacobian(state, moment)

    def process_noise_at(self, moment: Moment) -> Any:
        return self.model.process_noise_at(moment)

    def observation_noise_at(self, moment: Moment) -> Any:
        return self.model.observation_noise_at(moment)

    def innovation(self, observed: Array, expected: Array) -> Float[Array, " observation"]:
        return self.model.innovation(observed, expected)

    def _residual(self, state: Float[Array, " state"], moment: Moment) -> Float[Array, " state"]:
        return residual(self.network, state, moment.control, "ResidualModel")


def residual_network(network: Any, what: str) -> Any:
    """A learned network for a residual, zero at first where it is an `MLP` that is not yet learned.

    Raises:
        TypeError: for what is no network.
    """
    if isinstance(network, networks.MLP):
        last = network.layers[-1]
        network = eqx.tree_at(lambda n: n.layers[-1], network, jax.tree.map(jnp.zeros_like, last))
    if not callable(network) and not isinstance(network, Learned):
        raise TypeError(
            f"{what}: expected a network, got {network!r}. Give one from [state+control] to [state], such as "
            "networks.MLP"
        )
    return network if isinstance(network, Learned) else Learned(network, unconstrained, ("substitute",))


def residual(network: Any, state: Array, control: Array | None, what: str) -> Float[Array, " state"]:
    """What a network adds to the state that a model predicts.

    Raises:
        ValueError: for a network that returns no state.
    """
    found = network(state if control is None else jnp.concatenate([state, control]))
    if found.shape != state.shape:
        raise ValueError(
            f"{what}: the network returns an array of shape {found.shape} for a state of {state.shape}. Give it one "
            "output for each component of the state"
        )
    return found
