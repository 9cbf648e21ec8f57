"""A gain that a recurrent network corrects: the learned component of KalmanNet."""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from mbdl.core import Learned, resolve, unconstrained

from .gain import AbstractGain, Features, Uncertainty
from .gain_network import AbstractGainNetwork
from .input_features import InputFeatures, Past
from .steady_state import SteadyStateGain


class RecurrentMemory(NamedTuple):
    """What a recurrent gain remembers.

    Attributes:
        nominal: the nominal gain's own memory.
        features: what the input features remember.
        hidden: the hidden state of the network.
    """

    nominal: Any
    features: Past
    hidden: Any


class RecurrentGain(AbstractGain):
    r"""A nominal gain and the correction that a recurrent network makes to it,
    $$K_t = K^0_t + D_{P^-} \, \Delta_\theta(F_1, F_2, F_3, F_4) \, D_S^{-1}, \qquad
    D_\Sigma = \mathrm{diag}(\Sigma)^{1/2},$$
    where $\Delta_\theta$ is zero before training: the untrained filter is that of the nominal gain, and training starts
    from there. $P^-$ and $S$ are the covariances that go with the nominal gain. In their units the correction is a
    number without units, whatever those of the states and observations; a nominal gain that knows no covariances is
    corrected by $\Delta_\theta$ itself.

    The nominal gain is known; only the network is learned. With the steady-state gain, the transient of the
    time-varying gain has to be learned; with `KalmanGain()` it is there from the start.

    Args:
        network: from the features to the correction: `CascadeNetwork`, `SingleUnitNetwork`, or another
            `AbstractGainNetwork`.
        nominal: the gain that is corrected, any gain; `SteadyStateGain()` by default, which for a nonlinear model is
            that of its linearisation at the initial mean (`SteadyStateGain(at=...)` for another state).
        features: `InputFeatures()` by default.
        initial: the hidden state before the first observation; the network's own by default. It is known, and may be
            learned.

    Raises:
        TypeError: for a network of another kind.

    It knows no covariances: a learned gain need not be the optimal one of any model. `WithCovariance` adds a readout of
    them.

    Differentiable in: the innovation, the features, and every array of the network, the nominal gain and the initial
    hidden state.
    """

    network: Any
    nominal: AbstractGain
    features: InputFeatures
    initial: Any

    def __init__(
        self,
        network: AbstractGainNetwork,
        *,
        nominal: AbstractGain | None = None,
        features: InputFeatures | None = None,
        initial: Any = None,
    ):
        held = resolve(network)
        if not isinstance(held, AbstractGainNetwork):
            raise TypeError(
                f"RecurrentGain: expected a network that corrects gains, such as CascadeNetwork, got "
                f"{type(held).__name__}"
            )
        self.network = Learned(network, unconstrained, ("substitute",))
        self.nominal = SteadyStateGain() if nominal is None else nominal
        self.features = InputFeatures() if features is None else features
        self.initial = held.init() if initial is None else initial

    def check(self, model: Any, what: str) -> None:
        self.nominal.check(model, what)

    def init(self, model: Any) -> RecurrentMemory:
        return RecurrentMemory(self.nominal.init(model), self.features.init(model), self.initial)

    def __call__(
        self, model: Any, memory: RecurrentMemory, innovation: Float[Array, " observation"], features: Features
    ) -> tuple[Float[Array, "state observation"], None, RecurrentMemory]:
        K, uncertainty, nominal = self.nominal(model, memory.nominal, innovation, features)
        differences, past = self.features(model, memory.features, innovation, features)
        entries, hidden = self.network(memory.hidden, differences)
        correction = in_units_of(uncertainty, entries.reshape(K.shape))
        return K + correction, None, RecurrentMemory(nominal, past, hidden)

    def prepared(self) -> "RecurrentGain":
        parts = self.network.prepared(), self.nominal.prepared()
        return eqx.tree_at(lambda gain: (gain.network, gain.nominal), self, parts)

    def why_not_finite(self, model: Any) -> str:
        return self.nominal.why_not_finite(model)


def in_units_of(
    uncertainty: Uncertainty | None, correction: Float[Array, "state observation"]
) -> Float[Array, "state observation"]:
    """A correction in standard deviations of the predicted state to one of the observation, as a gain."""
    if uncertainty is None:
        return correction
    of_state, of_innovation = deviations(uncertainty.predicted), deviations(uncertainty.innovation)
    return correction * of_state[:, None] / of_innovation[None, :]


def deviations(covariance: Float[Array, "size size"]) -> Float[Array, " size"]:
    """Standard deviations; where one is zero, so is its derivative."""
    variances = jnp.diagonal(covariance)
    positive = variances > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, variances, 1.0)), 0.0)
