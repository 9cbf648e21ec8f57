"""A gain that is given."""

from typing import Any, ClassVar

from jaxtyping import Array, Float

from mbdl.core import as_leaf
from mbdl.core.checks import finite, floating

from .gain import AbstractGain, Features


class FixedGain(AbstractGain):
    r"""A constant gain $K$ that is given: that of an $\alpha$-$\beta$ filter, of an observer with chosen poles, or the
    nominal gain of a learned one. It knows no covariances.

    Args:
        gain: $K$, `[state observation]`.

    Raises:
        ValueError: for what is no matrix or not finite.

    Differentiable in: the gain.

    >>> import jax.numpy as jnp
    >>> from mbdl import tracking
    >>> model = tracking.LinearGaussian(
    ...     transition=jnp.eye(1), observation=jnp.eye(1), process_noise=jnp.eye(1),
    ...     observation_noise=jnp.eye(1), initial_mean=jnp.zeros(1), initial_covariance=jnp.eye(1),
    ... )
    >>> kf = tracking.KalmanFilter(model, tracking.FixedGain(jnp.array([[0.5]])))
    >>> kf(jnp.array([[2.0], [2.0]])).mean.tolist()
    [[1.0], [1.5]]
    """

    predetermined: ClassVar[bool] = True

    gain: Float[Array, "state observation"]

    def __init__(self, gain: Any):
        self.gain = finite(floating(as_leaf(gain)), "FixedGain: the gain")
        shape = getattr(self.gain, "shape", None)
        if shape is not None and len(shape) != 2:
            raise ValueError(f"FixedGain: expected a matrix [state observation], got shape {shape}")

    def init(self, model: Any) -> None:
        return None

    def __call__(
        self, model: Any, memory: None, innovation: Array, features: Features
    ) -> tuple[Float[Array, "state observation"], None, None]:
        return self.gain, None, None
