"""The gain of a filter: the component that weighs an innovation, computed or learned."""

import abc
import math
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .covariance import Factor

_SINGULAR = (
    "The covariance of an innovation is singular, or the filter diverged. Give the observation noise a positive "
    "variance, raise the process noise, or use float64 or "
)
SINGULAR_INNOVATION = f"{_SINGULAR}tracking.SquareRootGain"
SINGULAR_WITHOUT_GAIN = f"{_SINGULAR}a filter with tracking.SquareRootGain: this one takes no gain"


class Features(NamedTuple):
    r"""What a gain may look at, at one time.

    Attributes:
        previous: the estimate before, $\hat s_{t-1}$, `[state]`.
        predicted: $\hat s^-_t$, `[state]`.
        observation: $y_t$, `[observation]`, zero where it is not present.
        expected: $h(\hat s^-_t)$, `[observation]`.
        present: which components are present, or `None` where all are.
        transition: $F_t$, the Jacobian of the transition at the estimate before, `[state state]`.
        observation_map: $H_t$, the Jacobian of the observation, `[observation state]`; its rows are zero where nothing
            is present.
        process_noise: $Q_t$, a matrix or a `Factor`.
        observation_noise: $R_t$, a matrix or a `Factor`; of unit variance where nothing is present.
    """

    previous: Float[Array, " state"]
    predicted: Float[Array, " state"]
    observation: Float[Array, " observation"]
    expected: Float[Array, " observation"]
    present: Bool[Array, " observation"] | None
    transition: Float[Array, "state state"]
    observation_map: Float[Array, "observation state"]
    process_noise: Any
    observation_noise: Any


class Uncertainty(NamedTuple):
    r"""The covariances that go with a gain.

    Attributes:
        covariance: $P_t$ after the observation, `[state state]`.
        predicted: $P^-_t$ before it.
        cross: $\mathrm{Cov}(s_{t-1}, s_t)$ before it.
        innovation: $S_t$, `[observation observation]`.
        whitener: a triangular $W$ with $W^\top W = S_t^{-1}$.
    """

    covariance: Float[Array, "state state"]
    predicted: Float[Array, "state state"]
    cross: Float[Array, "state state"]
    innovation: Float[Array, "observation observation"]
    whitener: Float[Array, "observation observation"]


class AbstractGain(eqx.Module):
    """The gain of a filter, with its own slice of the memory. The model is the filter's, and is passed in.

    Attributes:
        predetermined: whether the model alone determines the gain, where it is linear and all is observed: the gain
            looks at no innovation, no observation and no estimate.
    """

    predetermined: ClassVar[bool] = False

    def check(self, model: Any, what: str) -> None:
        """Raise for a model that the gain cannot be the gain of; called where `what`, a filter, is made of both.

        Raises:
            ValueError: saying which gain would do.
        """
        return

    @abc.abstractmethod
    def init(self, model: Any) -> Any:
        """The gain's memory before the first observation."""

    @abc.abstractmethod
    def __call__(
        self, model: Any, memory: Any, innovation: Float[Array, " observation"], features: Features
    ) -> tuple[Float[Array, "state observation"], Uncertainty | None, Any]:
        """The gain $K_t$, the covariances that go with it (or `None`), and the memory after the observation."""

    def prepared(self) -> "AbstractGain":
        """The same gain, with all that is the same for every observation computed; by default as it is."""
        return self

    def factor(self, memory: Any) -> Float[Array, "state state"] | None:
        """A factor of the covariance of the estimate, where the gain's memory holds one; a smoother goes on from it."""
        return None

    def shared(
        self, model: Any, memory: Any, features: Features
    ) -> tuple[Float[Array, "state observation"], Float[Array, "state state"], Uncertainty | None, Any]:
        r"""The gain of a linear model that all sequences of a batch share; for a gain that is `predetermined`.

        Returns:
            $K_t$, the transition $(I - K_t H_t) F_t$ from the estimate before to this one, the covariances (or `None`),
            and the memory after the observation.
        """
        F, H = features.transition, features.observation_map
        K, uncertainty, kept = self(model, memory, jnp.zeros(len(H), F.dtype), features)
        return K, (jnp.eye(len(F), dtype=F.dtype) - K @ H) @ F, uncertainty, kept

    def settled(self, before: Any, after: Any) -> Bool[Array, ""]:
        """Whether an observation left the gain's memory as it was, to rounding; for a gain that is `predetermined`.

        The memories after all further observations of a time-invariant model are then taken to be that one.
        """
        return nearly_equal(before, after, jax.tree.map(jnp.abs, after))

    def why_not_finite(self, model: Any) -> str:
        """Why estimates with this gain may not be finite although the observations are, in words."""
        return SINGULAR_INNOVATION


def nearly_equal(before: Any, after: Any, scale: Any) -> Bool[Array, ""]:
    """Whether the leaves of two trees, of some scale, differ by no more than the rounding of a matrix product."""

    def near(before: Array, after: Array, scale: Array) -> Array:
        rounding = 0.5 * jnp.finfo(after.dtype).eps * math.sqrt(after.shape[-1] if after.ndim else 1)
        return jnp.all(jnp.abs(after - before) <= rounding * scale)

    return jnp.all(jnp.array(jax.tree.leaves(jax.tree.map(near, before, after, scale))))


def masked_noise(noise: Any, present: Bool[Array, " observation"] | None) -> Any:
    """An observation noise, independent and of unit variance in the components that are not present."""
    if present is None:
        return noise
    absent = jnp.diag(1.0 - present)
    if isinstance(noise, Factor):
        factor = noise.factor
        return Factor(jnp.concatenate([factor * present[:, None], absent.astype(factor.dtype)], axis=1))
    return noise * present[:, None] * present[None, :] + absent.astype(noise.dtype)
