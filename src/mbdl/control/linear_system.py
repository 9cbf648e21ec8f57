"""Linear systems with Gaussian noise."""

from typing import Any

import jax.numpy as jnp

from mbdl import tracking
from mbdl.core import as_leaf
from mbdl.core.checks import floating

from .system import StateSpace


def LinearSystem(
    transition: Any,
    control: Any,
    *,
    process_noise: Any,
    initial_mean: Any = None,
    initial_covariance: Any = None,
    observation: Any = None,
    observation_noise: Any = None,
) -> StateSpace:
    r"""The linear system $x_{t+1} = A x_t + B u_t + w_{t+1}$, $y_t = H x_t + v_t$ with Gaussian noise.

    It is a `tracking.LinearGaussian` that starts `"at"` the first observation, with defaults for a state that is fully
    seen; `system.model` is what a filter takes.

    Args:
        transition: $A$, `[state state]`.
        control: $B$, `[state control]`.
        process_noise: the covariance of $w$, `[state state]` or a `tracking.Factor`.
        initial_mean: the mean of $x_0$, `[state]`; zero by default.
        initial_covariance: its covariance, `[state state]` or a `tracking.Factor`; zero by default.
        observation: $H$, `[observation state]`; the identity by default.
        observation_noise: the covariance of $v$, `[observation observation]`; zero by default.

    Returns:
        a `StateSpace`.

    Raises:
        ValueError: for shapes that do not agree, values that are not finite, or what is no covariance.

    >>> import jax.numpy as jnp
    >>> from mbdl import control
    >>> system = control.LinearSystem(jnp.eye(3), jnp.ones((3, 1)), process_noise=0.1 * jnp.eye(3))
    >>> system.control_size, system.model.state_size
    (1, 3)
    """
    matrix = floating(as_leaf(transition))
    size, dtype = matrix.shape[0], matrix.dtype
    seen = jnp.eye(size, dtype=dtype) if observation is None else floating(as_leaf(observation))

    def or_none(covariance: Any, size: int) -> Any:
        """A covariance, or one of rank zero, for which nothing is drawn."""
        return tracking.Factor(jnp.zeros((size, 0), dtype)) if covariance is None else covariance

    return StateSpace(
        tracking.LinearGaussian(
            transition=matrix,
            observation=seen,
            control=control,
            process_noise=process_noise,
            observation_noise=or_none(observation_noise, seen.shape[0]),
            initial_mean=jnp.zeros(size, dtype) if initial_mean is None else initial_mean,
            initial_covariance=or_none(initial_covariance, size),
            starts="at",
        )
    )
