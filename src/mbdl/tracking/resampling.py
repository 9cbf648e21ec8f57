"""Resampling schemes: which particles go on, given their weights."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray


def multinomial_resampling(key: PRNGKeyArray, weights: Float[Array, " particle"]) -> Int[Array, " particle"]:
    r"""Each ancestor drawn independently, $P(a_k = i) = w_i$: the plainest scheme, and the noisiest.

    Like every scheme it is unbiased: particle $i$ of $N$ has $N w_i$ descendants in the mean.

    Args:
        key: a JAX random key.
        weights: nonnegative, with sum one, `[particle]`.

    Returns:
        the indices of the ancestors, `[particle]`. They have no derivative in the weights.

    Source: N. J. Gordon, D. J. Salmond and A. F. M. Smith, "Novel approach to nonlinear/non-Gaussian Bayesian state
    estimation", IEE Proceedings F 140, 1993.

    >>> import jax, jax.numpy as jnp
    >>> from mbdl import tracking
    >>> tracking.multinomial_resampling(jax.random.key(0), jnp.array([0.0, 1.0, 0.0])).tolist()
    [1, 1, 1]
    """
    return _ancestors(weights, jax.random.uniform(key, weights.shape, weights.dtype))


def stratified_resampling(key: PRNGKeyArray, weights: Float[Array, " particle"]) -> Int[Array, " particle"]:
    r"""One ancestor from each of $N$ equal strata of the cumulated weights, at $(k + u_k) / N$.

    Args:
        key: a JAX random key.
        weights: nonnegative, with sum one, `[particle]`.

    Returns:
        the indices of the ancestors, ascending, `[particle]`; without a derivative.

    Source: G. Kitagawa, "Monte Carlo filter and smoother for non-Gaussian nonlinear state space models", Journal of
    Computational and Graphical Statistics 5, 1996.

    >>> import jax, jax.numpy as jnp
    >>> from mbdl import tracking
    >>> tracking.stratified_resampling(jax.random.key(0), jnp.array([0.5, 0.0, 0.0, 0.5])).tolist()
    [0, 0, 3, 3]
    """
    return _ancestors(weights, _strata(weights, jax.random.uniform(key, weights.shape, weights.dtype)))


def systematic_resampling(key: PRNGKeyArray, weights: Float[Array, " particle"]) -> Int[Array, " particle"]:
    r"""As stratified, with one draw for all strata, at $(k + u) / N$: particle $i$ has $\lfloor N w_i \rfloor$ or
    $\lceil N w_i \rceil$ descendants.

    Args:
        key: a JAX random key.
        weights: nonnegative, with sum one, `[particle]`.

    Returns:
        the indices of the ancestors, ascending, `[particle]`; without a derivative.

    Source: G. Kitagawa, "Monte Carlo filter and smoother for non-Gaussian nonlinear state space models", Journal of
    Computational and Graphical Statistics 5, 1996.

    >>> import jax, jax.numpy as jnp
    >>> from mbdl import tracking
    >>> tracking.systematic_resampling(jax.random.key(0), jnp.array([0.25, 0.0, 0.0, 0.75])).tolist()
    [0, 3, 3, 3]
    """
    return _ancestors(weights, _strata(weights, jax.random.uniform(key, (), weights.dtype)))


def residual_resampling(key: PRNGKeyArray, weights: Float[Array, " particle"]) -> Int[Array, " particle"]:
    r"""$\lfloor N w_i \rfloor$ descendants of each particle for certain, and the rest drawn from what remains of the
    weights.

    Args:
        key: a JAX random key.
        weights: nonnegative, with sum one, `[particle]`.

    Returns:
        the indices of the ancestors, `[particle]`; without a derivative.

    Source: J. S. Liu and R. Chen, "Sequential Monte Carlo methods for dynamic systems", Journal of the American
    Statistical Association 93, 1998.

    >>> import jax, jax.numpy as jnp
    >>> from mbdl import tracking
    >>> tracking.residual_resampling(jax.random.key(0), jnp.array([0.25, 0.0, 0.0, 0.75])).tolist()
    [0, 3, 3, 3]
    """
    size = len(weights)
    certain = jnp.floor(size * weights)
    ends = jnp.cumsum(certain)
    places = jnp.arange(size)
    fixed = jnp.searchsorted(ends, places.astype(ends.dtype), side="right")
    drawn = multinomial_resampling(key, size * weights - certain)
    return jnp.where(places < ends[-1], jnp.minimum(fixed, size - 1), drawn)


def _strata(weights: Array, offsets: Array) -> Float[Array, " particle"]:
    return (jnp.arange(len(weights), dtype=weights.dtype) + offsets) / len(weights)


def _ancestors(weights: Array, points: Array) -> Int[Array, " particle"]:
    """The particles in whose share of the cumulated weights the points of the unit interval fall."""
    ends = jnp.cumsum(weights)
    # Below one after rounding, too: then a point falls into a share that is not empty.
    points = jnp.minimum(points, 1 - jnp.finfo(weights.dtype).epsneg)
    found = jnp.searchsorted(ends, points * ends[-1], side="right")
    return jnp.minimum(found, len(weights) - 1)
