"""The gain of a smoother that a recurrent network corrects: the learned component of RTSNet."""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from mbdl.core import Learned, as_leaf, resolve, unconstrained
from mbdl.core.checks import floating, positive
from mbdl.networks import GRU, Linear

from .cascade_network import phi
from .estimates import Estimates
from .gain_network import last
from .normalisation import AbstractNormalisation, UnitNorm
from .smoother_gain import AbstractSmootherGain, JointFactor, SmootherFeatures, regression
from .steady_state import SteadyStateGain


class FixedSmootherGain(AbstractSmootherGain):
    r"""A constant gain $G$ of a smoother, that is given.

    Args:
        gain: $G$, `[state state]`.

    Differentiable in: the gain.
    """

    predetermined: ClassVar[bool] = True

    gain: Float[Array, "state state"]

    def __init__(self, gain: Any):
        self.gain = floating(as_leaf(gain))

    def init(self, model: Any) -> None:
        return None

    def __call__(
        self, model: Any, memory: None, features: SmootherFeatures
    ) -> tuple[Float[Array, "state state"], None, None]:
        return self.gain, None, None


class SteadyStateSmootherGain(AbstractSmootherGain):
    r"""The constant gain at which the Rauch-Tung-Striebel smoother of a time-invariant model settles,
    $$G = P F^\top (P^-)^{-1},$$
    with the covariances of the settled filter (`SteadyStateGain`). It needs no covariances of the filter ahead of it.

    Args:
        nominal: the steady state: `SteadyStateGain()` by default; for a nonlinear model, of its linearisation at the
            initial mean, or at the state that `SteadyStateGain(at=...)` says.

    Raises:
        ValueError: as `SteadyStateGain` does.

    Differentiable in: the model's matrices and covariances.
    """

    predetermined: ClassVar[bool] = True

    nominal: SteadyStateGain

    def __init__(self, nominal: SteadyStateGain | None = None):
        self.nominal = SteadyStateGain() if nominal is None else nominal

    def init(self, model: Any) -> Float[Array, "state state"]:
        settled = self.nominal.init(model).uncertainty
        return regression(settled.covariance, settled.predicted, settled.cross)[0]

    def __call__(
        self, model: Any, memory: Float[Array, "state state"], features: SmootherFeatures
    ) -> tuple[Float[Array, "state state"], None, Float[Array, "state state"]]:
        return memory, None, memory


class BackwardHidden(NamedTuple):
    """The hidden states of the two units of a `BackwardNetwork`, each `[state * state]`."""

    process: Float[Array, " states"]
    smoothed: Float[Array, " states"]


class BackwardNetwork(eqx.Module):
    r"""RTSNet's network: two recurrent units that follow one another, with $\varphi$ a dense layer and a rectifier,
    $$Q = \mathrm{GRU}(\varphi B_3), \qquad \Sigma = \mathrm{GRU}([Q, \varphi [B_1, B_2]]),$$
    a correction $G$ of the gain from $\Sigma$ through one hidden layer, and the hidden state $\varphi [\Sigma, G]$ of
    the second unit for the next step back.

    Args:
        state_size: $m$.
        expansion: the width of $\varphi B$ in widths of its feature ($a$).
        breadth: the width of the layer before the last in that of its input ($b$).
        dtype: floating-point type of the parameters.
        key: a JAX random key.

    Source: G. Revach et al., "RTSNet: Learning to smooth in partially known state-space models", IEEE Transactions on
    Signal Processing, 2023.
    """

    of_update: Linear
    of_evolution: Linear
    process: GRU
    smoothed: GRU
    wide: Linear
    out: Linear
    back: Linear

    def __init__(
        self,
        state_size: int,
        *,
        expansion: int = 5,
        breadth: int = 40,
        dtype: DTypeLike = jnp.float32,
        key: PRNGKeyArray,
    ):
        m, states = state_size, state_size**2
        keys = jax.random.split(key, 7)
        self.of_update = Linear(m, expansion * m, dtype=dtype, key=keys[0])
        self.of_evolution = Linear(2 * m, 2 * expansion * m, dtype=dtype, key=keys[1])
        self.process = GRU(expansion * m, states, dtype=dtype, key=keys[2])
        self.smoothed = GRU(states + 2 * expansion * m, states, dtype=dtype, key=keys[3])
        self.wide = Linear(states, breadth * states, dtype=dtype, key=keys[4])
        self.out = Linear(breadth * states, states, scale=0.0, dtype=dtype, key=keys[5])
        self.back = Linear(2 * states, states, dtype=dtype, key=keys[6])

    def init(self) -> BackwardHidden:
        """The hidden states at the last observation."""
        states, dtype = self.process.hidden_size, self.process.hidden_weight.dtype
        identity = jnp.eye(round(states**0.5), dtype=dtype).ravel()
        return BackwardHidden(identity, jnp.zeros(states, dtype))

    def __call__(
        self, hidden: BackwardHidden, B1: Array, B2: Array, B3: Array
    ) -> tuple[Float[Array, " states"], BackwardHidden]:
        """The entries of the correction, row by row, and the next hidden states."""
        Q = self.process(hidden.process, phi(self.of_update, B3))
        S = self.smoothed(hidden.smoothed, jnp.concatenate([Q, phi(self.of_evolution, B1, B2)]))
        G = last(self.out, phi(self.wide, S))
        return G, BackwardHidden(Q, phi(self.back, S, G))


class RecurrentSmootherMemory(NamedTuple):
    """What a recurrent smoother gain remembers: the nominal gain's memory, and the hidden state."""

    nominal: Any
    hidden: Any


class RecurrentSmootherGain(AbstractSmootherGain):
    r"""A nominal gain of a smoother and the correction that a recurrent network makes to it,
    $$G_t = G^0_t + D \, \Delta_\theta(B_1, B_2, B_3) \, D^{-1}, \quad
    B_1 = \hat s^s_{t+1} - \hat s_{t+1}, \quad B_2 = \hat s^s_{t+2} - \hat s^s_{t+1}, \quad
    B_3 = \hat s^s_{t+1} - \hat s^-_{t+1},$$
    where $\Delta_\theta$ is zero before training and the features are normalised. The nominal gain is known; only the
    network is learned. It knows no covariances.

    Args:
        network: a `BackwardNetwork`, or another with its calls.
        nominal: `SteadyStateSmootherGain()` by default; `RTSGain()` behind a filter that knows its covariances.
        scale: the units of the state's components, $D = \mathrm{diag}(\mathrm{scale})$, `[state]`; 1 by default.
        normalisation: of the features, `UnitNorm()` by default.
        initial: the hidden state at the last observation; the network's own by default.

    Raises:
        ValueError: for a scale that is not positive.

    Differentiable in: the estimates of the filter, and every array of the network, the nominal gain, the scale and the
    initial hidden state.
    """

    network: Any
    nominal: AbstractSmootherGain
    scale: Float[Array, " state"] | None
    normalisation: AbstractNormalisation
    initial: Any

    def __init__(
        self,
        network: Any,
        *,
        nominal: AbstractSmootherGain | None = None,
        scale: Any = None,
        normalisation: AbstractNormalisation | None = None,
        initial: Any = None,
    ):
        self.network = Learned(network, unconstrained, ("substitute",))
        self.nominal = SteadyStateSmootherGain() if nominal is None else nominal
        self.scale = None if scale is None else positive(floating(as_leaf(scale)), "RecurrentSmootherGain: scale")
        self.normalisation = UnitNorm() if normalisation is None else normalisation
        self.initial = resolve(network).init() if initial is None else initial

    def ahead(
        self, model: Any, mean: Array, covariance: Array | None, following: Estimates, joint: JointFactor | None = None
    ) -> Any:
        return self.nominal.ahead(model, mean, covariance, following, joint)

    def init(self, model: Any) -> RecurrentSmootherMemory:
        return RecurrentSmootherMemory(self.nominal.init(model), self.initial)

    def __call__(
        self, model: Any, memory: RecurrentSmootherMemory, features: SmootherFeatures
    ) -> tuple[Float[Array, "state state"], None, RecurrentSmootherMemory]:
        G, _, nominal = self.nominal(model, memory.nominal, features)
        correction, hidden = self.network(
            memory.hidden,
            self.normalisation(features.smoothed - features.next_filtered),
            self.normalisation(features.later - features.smoothed),
            self.normalisation(features.smoothed - features.predicted),
        )
        correction = correction.reshape(G.shape)
        if self.scale is not None:
            correction = correction * self.scale[:, None] / self.scale[None, :]
        return G + correction, None, RecurrentSmootherMemory(nominal, hidden)
