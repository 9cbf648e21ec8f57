"""What filters and smoothers return: means and covariances, and what is needed to judge their consistency."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float


class Estimates(eqx.Module):
    r"""The estimates of a filter, one an observation; all arrays have a leading time axis (a stream's have none).

    Attributes:
        mean: $\hat s_t$, the mean of the state given the observations up to and including $y_t$, `[time state]`.
        covariance: its covariance $P_t$, `[time state state]`; `None` from a gain that knows none.
        predicted_mean: $\hat s^-_t$, given the observations before $y_t$, `[time state]`.
        predicted_covariance: $P^-_t$, `[time state state]`, or `None`.
        cross_covariance: $\mathrm{Cov}(s_{t-1}, s_t)$ given the observations before $y_t$, `[time state state]`, or
            `None`; what a smoother needs.
        innovation: $y_t - \hat y_t$, zero where there is no observation, `[time observation]`.
        innovation_covariance: $S_t$, `[time observation observation]`, or `None`.
        normalised_innovation_squared: $\nu_t^\top S_t^{-1} \nu_t$, `[time]`, or `None`. For a consistent filter it is
            $\chi^2$ with as many degrees of freedom as components were observed.
        log_likelihood: $\log p(y_t \mid y_1, \dots, y_{t-1})$ in nats, `[time]`, or `None`; its sum is that of the
            sequence.
    """

    mean: Float[Array, "*time state"]
    covariance: Float[Array, "*time state state"] | None
    predicted_mean: Float[Array, "*time state"]
    predicted_covariance: Float[Array, "*time state state"] | None
    cross_covariance: Float[Array, "*time state state"] | None
    innovation: Float[Array, "*time observation"]
    innovation_covariance: Float[Array, "*time observation observation"] | None
    normalised_innovation_squared: Float[Array, "*time"] | None
    log_likelihood: Float[Array, "*time"] | None


def gaussian_log_density(
    normalised_square: Float[Array, ""], whitener: Float[Array, "n n"], count: Float[Array, ""]
) -> Float[Array, ""]:
    r"""$\log N(\nu; 0, S)$ from $\nu^\top S^{-1} \nu$ and a triangular $W$ with $W^\top W = S^{-1}$, in nats.

    Args:
        normalised_square: $\nu^\top S^{-1} \nu$.
        whitener: $W$.
        count: how many components are observed; the others have unit variance and innovation zero.
    """
    log_determinant = -2 * jnp.sum(jnp.log(jnp.abs(jnp.diagonal(whitener))))
    return -0.5 * (normalised_square + log_determinant + count * jnp.log(2 * jnp.pi))
