"""Linear systems in canonical form: the literature's, and random ones."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .building import at_least_one, diagonal, initial, variances
from .covariance import Factor
from .linear import LinearGaussian
from .model import Starts
from .rotation import plane_rotation


def canonical(
    size: int,
    observations: int | None = None,
    *,
    q2: Any,
    r2: Any,
    rotate_transition: Any = None,
    rotate_observation: Any = None,
    initial_mean: Any = None,
    initial_covariance: Any = None,
    starts: Starts = "before",
) -> LinearGaussian:
    r"""The linear system on which learned filters are compared: $F$ is the identity with a first row of ones, and $H$
    the identity for two states and else the exchange matrix with a first row of ones. $Q = q^2 I$, $R = r^2 I$.

    The rotated system has $F \, \mathrm{Rot}(\alpha)$ or $H \, \mathrm{Rot}(\alpha)$: the mismatch of the literature.

    Args:
        size: the number of states $m$.
        observations: the number of observed components, the first rows of $H$; as many as states by default.
        q2: $q^2$, one variance or one a component.
        r2: $r^2$, likewise.
        rotate_transition: an angle, in degrees, in the plane of the first two states.
        rotate_observation: likewise.
        initial_mean: `[state]`, zero by default.
        initial_covariance: `[state state]` or a `Factor`; by default zero, for a known initial state.
        starts: as in `LinearGaussian`.

    Returns:
        a `LinearGaussian`.

    Raises:
        ValueError: for sizes below one, more observations than states, a rotation of one state, or negative variances.

    Source: G. Revach, N. Shlezinger, X. Ni, A. L. Escoriza, R. J. G. van Sloun and Y. C. Eldar, "KalmanNet: Neural
    network aided Kalman filtering for partially known dynamics", IEEE Transactions on Signal Processing 70, 2022.

    >>> from mbdl import tracking
    >>> model = tracking.canonical(3, 2, q2=0.01, r2=1.0)
    >>> model.transition.tolist(), model.observation.tolist()
    ([[1.0, 1.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [[1.0, 1.0, 1.0], [0.0, 1.0, 0.0]])
    """
    what = "canonical"
    rows = _rows(size, observations, what)
    mean, covariance = initial(initial_mean, initial_covariance, np.zeros(size), what)
    F = jnp.eye(size, dtype=mean.dtype).at[0].set(1.0)
    H = jnp.eye(size, dtype=mean.dtype)
    H = (H if size == 2 else H[::-1].at[0].set(1.0))[:rows]
    return LinearGaussian(
        transition=_rotated(F, rotate_transition, f"{what}: rotate_transition"),
        observation=_rotated(H, rotate_observation, f"{what}: rotate_observation"),
        process_noise=diagonal(q2, size, mean.dtype, f"{what}: q2"),
        observation_noise=diagonal(r2, rows, mean.dtype, f"{what}: r2"),
        initial_mean=mean,
        initial_covariance=covariance,
        starts=starts,
    )


def random_canonical(
    size: int,
    observations: int = 1,
    *,
    key: PRNGKeyArray,
    q2: Any,
    r2: Any,
    radius: float = 0.95,
    initial_mean: Any = None,
    initial_covariance: Any = None,
    starts: Starts = "before",
) -> LinearGaussian:
    r"""A random stable system in controllable canonical form,
    $$s_t = \begin{bmatrix} 0 & I \\ -a_0 & -a_1 \cdots -a_{m-1} \end{bmatrix} s_{t-1} + e_m v_t, \qquad
    y_t = C s_t + w_t,$$
    whose characteristic polynomial $z^m + a_{m-1} z^{m-1} + \dots + a_0$ has its roots uniformly in the disc of a
    radius, in conjugate pairs (for an odd size one of them real). $C$ has standard normal entries. $v_t$ has the
    variance $q^2$, $w_t$ the covariance $r^2 I$.

    Args:
        size: the number of states $m$.
        observations: the number of observed components.
        key: a JAX random key.
        q2: $q^2$.
        r2: $r^2$, one variance or one a component.
        radius: of the disc, below one.
        initial_mean: `[state]`, zero by default.
        initial_covariance: `[state state]` or a `Factor`; by default zero, for a known initial state.
        starts: as in `LinearGaussian`.

    Returns:
        a `LinearGaussian`; its process noise, which has rank one, is held by a `Factor`.

    Raises:
        ValueError: for sizes below one, a radius outside (0, 1), or negative variances.

    >>> import jax, jax.numpy as jnp
    >>> from mbdl import tracking
    >>> model = tracking.random_canonical(4, key=jax.random.key(0), q2=1.0, r2=0.1)
    >>> model.transition.shape, bool(jnp.all(jnp.abs(jnp.linalg.eigvals(model.transition)) < 1))
    ((4, 4), True)
    """
    what = "random_canonical"
    at_least_one(size, f"{what}: size")
    at_least_one(observations, f"{what}: observations")
    if not 0 < radius < 1:
        raise ValueError(f"{what}: expected a radius between 0 and 1, for a stable system, got {radius}")
    mean, covariance = initial(initial_mean, initial_covariance, np.zeros(size), what)
    roots_key, observation_key = jax.random.split(key)
    polynomial = _stable_polynomial(roots_key, size, radius, mean.dtype)
    input_vector = jnp.zeros((size, 1), mean.dtype).at[-1].set(1.0)
    return LinearGaussian(
        transition=jnp.eye(size, k=1, dtype=mean.dtype).at[-1].set(-polynomial[:0:-1]),
        observation=jax.random.normal(observation_key, (observations, size), mean.dtype),
        process_noise=Factor(jnp.sqrt(variances(q2, 1, f"{what}: q2")) * input_vector),
        observation_noise=diagonal(r2, observations, mean.dtype, f"{what}: r2"),
        initial_mean=mean,
        initial_covariance=covariance,
        starts=starts,
    )


def _stable_polynomial(key: PRNGKeyArray, size: int, radius: float, dtype: Any) -> Float[Array, " coefficients"]:
    """A monic polynomial with its roots in a disc, the highest power first."""
    modulus_key, angle_key, real_key = jax.random.split(key, 3)
    pairs = size // 2
    modulus = radius * jnp.sqrt(jax.random.uniform(modulus_key, (pairs,), dtype))
    angle = jnp.pi * jax.random.uniform(angle_key, (pairs,), dtype)
    polynomial = jnp.ones(1, dtype)
    for r, a in zip(modulus, angle, strict=True):
        polynomial = jnp.convolve(polynomial, jnp.stack([jnp.ones_like(r), -2 * r * jnp.cos(a), r**2]))
    if size % 2:
        root = jax.random.uniform(real_key, (), dtype, -radius, radius)
        polynomial = jnp.convolve(polynomial, jnp.stack([jnp.ones_like(root), -root]))
    return polynomial


def _rows(size: int, observations: int | None, what: str) -> int:
    at_least_one(size, f"{what}: size")
    rows = size if observations is None else at_least_one(observations, f"{what}: observations")
    if rows > size:
        raise ValueError(f"{what}: expected at most as many observations as states ({size}), got {rows}")
    return rows


def _rotated(matrix: Float[Array, "rows size"], degrees: Any, what: str) -> Float[Array, "rows size"]:
    if degrees is None:
        return matrix
    if matrix.shape[1] < 2:
        raise ValueError(f"{what}: one state cannot be rotated; leave the angle out")
    return matrix @ plane_rotation(matrix.shape[1], degrees).astype(matrix.dtype)
