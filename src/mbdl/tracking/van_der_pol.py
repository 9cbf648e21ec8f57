"""The Van der Pol oscillator, in discrete time."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mbdl.core import as_leaf
from mbdl.core.checks import finite, positive

from .building import diagonal, elapsed, initial, rows_of
from .inputs import Moment
from .linear_observation import LinearObservation
from .model import Starts
from .nonlinear import Function, NonlinearGaussian
from .taylor import taylor_order, taylor_transition


class VanDerPol(eqx.Module):
    r"""The transition of the Van der Pol oscillator $\ddot x = \mu (1 - x^2) \dot x - x$, with the state
    $s = (x, \dot x)$, as that of `Lorenz`: $s^+ = F(s) s$ with
    $$F(s) = \sum_{j=0}^{J} \frac{(A(s) \Delta)^j}{j!}, \qquad
    A(s) = \begin{bmatrix} 0 & 1 \\ -1 & \mu (1 - s_1^2) \end{bmatrix}.$$

    Args:
        step: $\Delta$ where a moment has no duration.
        order: the Taylor order $J$.
        mu: the damping $\mu$.

    Raises:
        ValueError: for a step that is not positive, a negative order, or a damping that is not finite.

    Differentiable in: the state, the duration and every parameter.

    >>> import jax.numpy as jnp
    >>> from mbdl import tracking
    >>> print(tracking.VanDerPol(0.1, order=1)(jnp.array([2.0, 0.0]), tracking.Moment(0)).round(3))
    [ 2. -0.2]
    """

    step: Float[Array, ""]
    mu: Float[Array, ""]
    order: int = eqx.field(static=True)

    def __init__(self, step: Any, *, order: int = 5, mu: Any = 1.0):
        self.step = positive(as_leaf(step), "VanDerPol: step")
        self.mu = finite(as_leaf(mu), "VanDerPol: mu")
        self.order = taylor_order(order, "VanDerPol")

    def __call__(self, state: Float[Array, "2"], moment: Moment) -> Float[Array, "2"]:
        damping = self.mu * (1 - state[0] ** 2)
        rate = jnp.array([[0.0, 1.0], [-1.0, 0.0]], state.dtype).at[1, 1].set(damping)
        return taylor_transition(rate, state, elapsed(moment, self.step), self.order)


def van_der_pol(
    step: Any = 0.1,
    *,
    q2: Any,
    r2: Any,
    order: int = 5,
    mu: Any = 1.0,
    observation: Function | None = None,
    difference: Any = None,
    initial_mean: Any = None,
    initial_covariance: Any = None,
    starts: Starts = "before",
) -> NonlinearGaussian:
    r"""The Van der Pol oscillator with noise, $Q = q^2 I$, $R = r^2 I$; its position is observed by default.

    Args:
        step: the time between samples, where the inputs give no durations.
        q2: $q^2$, one variance or one a component.
        r2: $r^2$, likewise.
        order: the Taylor order of the transition.
        mu: the damping.
        observation: $h$, `(state, moment) -> [observation]`; by default the position.
        difference: as in `NonlinearGaussian`.
        initial_mean: `[2]`, ones by default.
        initial_covariance: `[2 2]` or a `Factor`; by default zero, for a known initial state.
        starts: as in `LinearGaussian`.

    Returns:
        a `NonlinearGaussian` with a `VanDerPol` transition.

    Raises:
        ValueError: for a step that is not positive, negative variances, or shapes that do not agree.

    >>> import jax
    >>> from mbdl import tracking
    >>> model = tracking.van_der_pol(q2=1e-3, r2=0.1)
    >>> observations, states = tracking.simulate(model, jax.random.key(0), steps=20, runs=2)
    >>> observations.shape, states.shape
    ((2, 20, 1), (2, 20, 2))
    """
    mean, covariance = initial(initial_mean, initial_covariance, np.ones(2), "van_der_pol")
    if observation is None:
        observation = LinearObservation(jnp.eye(1, 2, dtype=mean.dtype))
    return NonlinearGaussian(
        transition=VanDerPol(step, order=order, mu=mu),
        observation=observation,
        process_noise=diagonal(q2, 2, mean.dtype, "van_der_pol: q2"),
        observation_noise=diagonal(r2, rows_of(observation, mean), mean.dtype, "van_der_pol: r2"),
        initial_mean=mean,
        initial_covariance=covariance,
        difference=difference,
        starts=starts,
    )
