"""The algebraic Riccati equation of the Kalman filter, by doubling, with exact derivatives."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from mbdl.core import all_finite, as_leaf
from mbdl.core.checks import concrete, floating

from .covariance import as_covariance, dense, symmetric
from .model import as_map

NOT_STABILISABLE = (
    "the Riccati equation has no stabilising solution. Every mode of the transition that does not decay must be seen "
    "through the observation (detectability) and be moved by the process noise (stabilisability), and the observation "
    "noise must be positive definite"
)

# Doubling goes through 2^k steps of the Riccati recursion in k iterations: these suffice for a closed loop whose
# slowest mode decays by one part in 10^13 a step, below which float64 cannot tell it from one that does not decay.
_DOUBLINGS = 50


def riccati(
    transition: Any, observation: Any, process_noise: Any, observation_noise: Any
) -> Float[Array, "state state"]:
    r"""The stabilising solution of the discrete algebraic Riccati equation,
    $$P^- = F P^- F^\top - F P^- H^\top (H P^- H^\top + R)^{-1} H P^- F^\top + Q,$$
    the covariance of the prediction of a Kalman filter that has run for long.

    Solved by the structure-preserving doubling algorithm, which converges quadratically. $Q$ may be singular.

    Args:
        transition: $F$, `[state state]`.
        observation: $H$, `[observation state]`.
        process_noise: $Q$, `[state state]`, or a `Factor`.
        observation_noise: $R$, `[observation observation]`, or a `Factor`; positive definite.

    Returns:
        $P^-$, `[state state]`; NaN under a transformation where there is no stabilising solution.

    Raises:
        ValueError: for shapes that do not agree, what is no covariance, or where a mode that does not decay is not
            seen or not moved by noise.

    Differentiable in: all four, by the equation that the solution fulfils and not through the iteration.

    Source: T. Kailath, A. H. Sayed and B. Hassibi, "Linear estimation", Prentice Hall, 2000.

    >>> import jax.numpy as jnp
    >>> from mbdl import tracking
    >>> float(tracking.riccati(jnp.eye(1), jnp.eye(1), jnp.eye(1), 2 * jnp.eye(1))[0, 0])
    2.0
    """
    transition = floating(as_leaf(transition))
    size = jnp.shape(transition)[0] if jnp.ndim(transition) == 2 else None
    F = as_map(transition, size, size, "riccati: transition")
    H = as_map(observation, None, size, "riccati: observation")
    Q = dense(as_covariance(process_noise, size, "riccati: process_noise"))
    R = dense(as_covariance(observation_noise, H.shape[0], "riccati: observation_noise"))
    predicted = stabilising_solution(F, H, Q, R)
    known = concrete(predicted)
    if known is not None and not jnp.all(jnp.isfinite(known)):
        raise ValueError(f"riccati: {NOT_STABILISABLE}")
    return predicted


@jax.custom_jvp
def stabilising_solution(F: Array, H: Array, Q: Array, R: Array) -> Float[Array, "state state"]:
    """The solution for matrices; NaN where there is none."""
    whitened = solve_triangular(jnp.linalg.cholesky(R), H, lower=True)
    identity = jnp.eye(len(F), dtype=F.dtype)

    def going(carry: tuple[Array, Array, Array, Array]) -> Array:
        k, A, _, _ = carry
        # NaN ends the loop too: no comparison with it holds.
        return (k < _DOUBLINGS) & jnp.any(jnp.abs(A) > jnp.finfo(F.dtype).eps)

    def double(carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        k, A, information, covariance = carry
        both = jnp.concatenate([A, information], axis=1)
        solved = jnp.linalg.solve(identity + information @ covariance, both)
        moved, gathered = solved[:, : len(A)], solved[:, len(A) :]
        return (
            k + 1,
            A @ moved,
            symmetric(information + A @ gathered @ A.T),
            symmetric(covariance + A.T @ covariance @ moved),
        )

    first = (jnp.zeros((), jnp.int32), F.T, whitened.T @ whitened, symmetric(Q))
    _, A, _, predicted = jax.lax.while_loop(going, double, first)
    # The closed loop's powers vanish for the stabilising solution, and only for it. Entry by entry: XLA's maximum over
    # a batch, on a processor, may leave NaN out.
    vanished = jnp.all(jnp.abs(A) <= jnp.finfo(F.dtype).eps)
    return jnp.where(vanished & all_finite((F, H, Q, R)), predicted, jnp.nan)


@stabilising_solution.defjvp
def _(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    predicted = stabilising_solution(*primals)
    F, H, _, R = primals
    K = predictor_gain(F, H, R, predicted)
    # The gain is optimal, so that the equation does not change with it to first order.
    moved = jax.jvp(lambda F, H, Q, R: _image(F, H, Q, R, K, predicted), primals, tangents)[1]
    return predicted, lyapunov(F - K @ H, symmetric(moved))


def predictor_gain(F: Array, H: Array, R: Array, predicted: Array) -> Float[Array, "state observation"]:
    r"""$F P^- H^\top (H P^- H^\top + R)^{-1}$."""
    seen = predicted @ H.T
    return F @ jnp.linalg.solve(symmetric(H @ seen + R), seen.T).T


def _image(F: Array, H: Array, Q: Array, R: Array, K: Array, predicted: Array) -> Array:
    closed = F - K @ H
    return closed @ predicted @ closed.T + K @ R @ K.T + Q


def lyapunov(
    transition: Float[Array, "state state"], noise: Float[Array, "state state"]
) -> Float[Array, "state state"]:
    r"""The solution of $X = \Phi X \Phi^\top + M$ for a $\Phi$ whose powers vanish."""

    def rest(X: Array) -> Array:
        return X - transition @ X @ transition.T

    return jax.lax.custom_linear_solve(
        rest,
        noise,
        solve=lambda _, M: _summed(transition, M),
        transpose_solve=lambda _, M: _summed(transition.T, M),
    )


def _summed(transition: Array, noise: Array) -> Array:
    r"""$\sum_k \Phi^k M \Phi^{k\top}$, with twice as many terms in each iteration."""

    def going(carry: tuple[Array, Array, Array]) -> Array:
        k, power, _ = carry
        return (k < _DOUBLINGS) & jnp.any(jnp.abs(power) > jnp.finfo(power.dtype).eps)

    def double(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        k, power, total = carry
        return k + 1, power @ power, total + power @ total @ power.T

    total = jax.lax.while_loop(going, double, (jnp.zeros((), jnp.int32), transition, noise))[2]
    return jnp.where(all_finite(transition), total, jnp.nan)
