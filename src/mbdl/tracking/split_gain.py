"""A gain that two recurrent networks correct, one for each covariance in it: the gain of Split-KalmanNet."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from mbdl.core import Learned, unconstrained

from .covariance import dense, symmetric
from .gain import AbstractGain, Features, Uncertainty
from .gain_network import AbstractGainNetwork, SingleUnitNetwork
from .input_features import InputFeatures, Past
from .kalman_gain import whitener_of
from .recurrent_gain import deviations
from .steady_state import SteadyStateGain


class SplitMemory(NamedTuple):
    """What a split gain remembers.

    Attributes:
        nominal: the nominal gain's own memory.
        features: what the input features remember.
        hidden: the hidden states of the two networks.
    """

    nominal: Any
    features: Past
    hidden: tuple[Any, Any]


class SplitGain(AbstractGain):
    r"""A gain in its two covariances, $K_t = G_1 H_t^\top G_2$, each corrected by a network of its own,
    $$G_1 = P^- + D_{P^-} \Delta_1(F_3, F_4) D_{P^-}, \qquad G_2 = S^{-1} + D_S^{-1} \Delta_2(F_1, F_2) D_S^{-1},$$
    where $P^-$ goes with a nominal gain, $S = H_t P^- H_t^\top + R_t$, $D_\Sigma = \mathrm{diag}(\Sigma)^{1/2}$, and
    both corrections are zero before training. So what is wrong with the model of the states is corrected apart from
    what is wrong with that of the observations, and $H_t$, which is known, enters as it is.

    Args:
        of_state: the network of $\Delta_1$.
        of_observation: the network of $\Delta_2$.
        nominal: a gain that knows its covariances, `SteadyStateGain()` by default.
        features: `InputFeatures()` by default.

    Raises:
        TypeError: when it is used, for a nominal gain that knows no covariances.

    Differentiable in: the innovation, the features, and every array of the networks and of the nominal gain.

    Source: G. Choi, J. Park, N. Shlezinger, Y. C. Eldar and N. Lee, "Split-KalmanNet: A robust model-based deep
    learning approach for state estimation", IEEE Transactions on Vehicular Technology, 2023; there the networks give
    the whole of $G_1$ and $G_2$, and look at the errors of the linearisation too.
    """

    of_state: Any
    of_observation: Any
    nominal: AbstractGain
    features: InputFeatures

    def __init__(
        self,
        of_state: AbstractGainNetwork,
        of_observation: AbstractGainNetwork,
        *,
        nominal: AbstractGain | None = None,
        features: InputFeatures | None = None,
    ):
        self.of_state = Learned(of_state, unconstrained, ("substitute",))
        self.of_observation = Learned(of_observation, unconstrained, ("substitute",))
        self.nominal = SteadyStateGain() if nominal is None else nominal
        self.features = InputFeatures() if features is None else features

    def check(self, model: Any, what: str) -> None:
        self.nominal.check(model, what)

    def init(self, model: Any) -> SplitMemory:
        hidden = self.of_state.init(), self.of_observation.init()
        return SplitMemory(self.nominal.init(model), self.features.init(model), hidden)

    def __call__(
        self, model: Any, memory: SplitMemory, innovation: Float[Array, " observation"], features: Features
    ) -> tuple[Float[Array, "state observation"], None, SplitMemory]:
        _, uncertainty, nominal = self.nominal(model, memory.nominal, innovation, features)
        P, H = _predicted(uncertainty), features.observation_map
        S = symmetric(H @ P @ H.T + dense(features.observation_noise))
        W = whitener_of(S)
        differences, past = self.features(model, memory.features, innovation, features)
        first, of_state = self.of_state(memory.hidden[0], differences)
        second, of_observation = self.of_observation(memory.hidden[1], differences)
        of_predicted, of_innovation = deviations(P), deviations(S)
        G1 = P + jnp.outer(of_predicted, of_predicted) * first.reshape(P.shape)
        G2 = W.T @ W + second.reshape(S.shape) / jnp.outer(of_innovation, of_innovation)
        K = G1 @ H.T @ G2
        return K, None, SplitMemory(nominal, past, (of_state, of_observation))

    def why_not_finite(self, model: Any) -> str:
        return self.nominal.why_not_finite(model)


def _predicted(uncertainty: Uncertainty | None) -> Float[Array, "state state"]:
    """$P^-$ of a nominal gain."""
    if uncertainty is None:
        raise TypeError(
            "SplitGain: the nominal gain knows no covariances, which are what is corrected. Give SteadyStateGain() or "
            "KalmanGain(), or use RecurrentGain"
        )
    return uncertainty.predicted


def split_networks(m: int, n: int, dtype: Any, keys: Any) -> tuple[SingleUnitNetwork, SingleUnitNetwork]:
    """The networks of the two corrections, for $m$ states and $n$ observations."""
    of_state = SingleUnitNetwork(
        m, n, sees=("evolution", "update"), hidden_size=10 * m**2, outputs=m * m, dtype=dtype, key=keys[0]
    )
    of_observation = SingleUnitNetwork(
        m, n, sees=("observation", "innovation"), hidden_size=10 * n**2, outputs=n * n, dtype=dtype, key=keys[1]
    )
    return of_state, of_observation
