"""Losses: functions of one decision and its target that a risk averages over examples."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, Integer


def _same_shape(decision: Array, target: Array, name: str) -> None:
    """Broadcasting a decision against its target is nearly always a bug, so it is an error."""
    if jnp.shape(decision) != jnp.shape(target):
        raise ValueError(
            f"{name} compares a decision with a target of the same shape, but got decision {jnp.shape(decision)} and "
            f"target {jnp.shape(target)}. Losses and metrics see one example; use jax.vmap for a batch."
        )
    for value in (decision, target):
        if jnp.issubdtype(jnp.result_type(value), jnp.unsignedinteger):
            raise TypeError(
                f"{name} got an array of {jnp.result_type(value)}, whose differences wrap around. Convert it to "
                "floating point first (an 8-bit image: image / 255)."
            )


def absolute_square(value: Inexact[Array, "..."]) -> Float[Array, "..."]:
    """|value|², with a derivative at zero also for complex numbers."""
    if jnp.iscomplexobj(value):
        return jnp.real(value) ** 2 + jnp.imag(value) ** 2
    return value**2


def mse(decision: Inexact[Array, "..."], target: Inexact[Array, "..."]) -> Float[Array, ""]:
    """Mean squared error of one example, mean |s − ŝ|² over its entries.

    Args:
        decision: the decision ŝ, real or complex.
        target: the target s, of the same shape.

    Returns:
        The mean over all entries, in squared units of the target.

    Raises:
        ValueError: if the shapes differ.

    Differentiable in both arguments.

    >>> import jax.numpy as jnp
    >>> float(mse(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0])))
    2.0
    """
    _same_shape(decision, target, "mse")
    return jnp.mean(absolute_square(decision - target))


def mae(decision: Inexact[Array, "..."], target: Inexact[Array, "..."]) -> Float[Array, ""]:
    """Mean absolute error of one example, mean |s − ŝ| over its entries.

    Args:
        decision: the decision ŝ.
        target: the target s, of the same shape.

    Returns:
        The mean over all entries, in units of the target.

    Raises:
        ValueError: if the shapes differ.

    Differentiable in both arguments where no entry is hit exactly (there the subgradient is 0).

    >>> import jax.numpy as jnp
    >>> float(mae(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0])))
    1.0
    """
    _same_shape(decision, target, "mae")
    return jnp.mean(jnp.abs(decision - target))


def huber(
    decision: Float[Array, "..."], target: Float[Array, "..."], *, threshold: float | Array = 1.0
) -> Float[Array, ""]:
    """Huber's loss of one example, the mean of ½e² where |e| ≤ δ and δ(|e| − δ/2) elsewhere, e = ŝ − s.

    Args:
        decision: the decision ŝ.
        target: the target s, of the same shape.
        threshold: δ > 0, in units of the target.

    Returns:
        The mean over all entries.

    Raises:
        ValueError: if the shapes differ.

    Differentiable in all arguments.

    Source: P. J. Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35, 1964.

    >>> import jax.numpy as jnp
    >>> float(huber(jnp.array([0.0, 0.0]), jnp.array([1.0, 3.0])))
    1.5
    """
    _same_shape(decision, target, "huber")
    error = jnp.abs(decision - target)
    inside = jnp.minimum(error, threshold)
    return jnp.mean(inside * (error - 0.5 * inside))


def cross_entropy(
    decision: Float[Array, "... classes"], target: Integer[Array, "..."] | Float[Array, "... classes"]
) -> Float[Array, ""]:
    """Cross-entropy of one example in nats, −mean Σ_c p(c) log softmax(ŝ)(c).

    Args:
        decision: unnormalised log-probabilities (logits) along the last axis; leading axes (time, pixels) are averaged.
        target: integer class labels, shaped like `decision` without its last axis, or probabilities shaped like
            `decision`.

    Returns:
        The mean over the leading axes.

    Raises:
        ValueError: if the shapes do not go together.

    Differentiable in the decision and in target probabilities.

    >>> import jax.numpy as jnp
    >>> round(float(cross_entropy(jnp.array([0.0, 0.0]), jnp.array(1))), 4)
    0.6931
    """
    log_probability = jax.nn.log_softmax(decision, axis=-1)
    if jnp.issubdtype(jnp.result_type(target), jnp.integer):
        if jnp.shape(target) != jnp.shape(decision)[:-1]:
            raise ValueError(
                f"cross_entropy with integer labels wants target of shape {jnp.shape(decision)[:-1]} for a decision of "
                f"shape {jnp.shape(decision)}, but got {jnp.shape(target)}."
            )
        return -jnp.mean(jnp.take_along_axis(log_probability, jnp.asarray(target)[..., None], axis=-1))
    _same_shape(decision, target, "cross_entropy with target probabilities")
    return -jnp.mean(jnp.sum(target * log_probability, axis=-1))


def binary_cross_entropy(
    decision: Float[Array, "..."], target: Integer[Array, "..."] | Float[Array, "..."]
) -> Float[Array, ""]:
    """Binary cross-entropy of one example in nats, −mean [s log σ(ŝ) + (1 − s) log(1 − σ(ŝ))].

    Args:
        decision: log-odds (logits) that the target is one.
        target: zeros and ones, or probabilities, of the same shape.

    Returns:
        The mean over all entries.

    Raises:
        ValueError: if the shapes differ.

    Differentiable in the decision and in target probabilities.

    >>> import jax.numpy as jnp
    >>> round(float(binary_cross_entropy(jnp.array([0.0]), jnp.array([1]))), 4)
    0.6931
    """
    _same_shape(decision, target, "binary_cross_entropy")
    return -jnp.mean(target * jax.nn.log_sigmoid(decision) + (1 - target) * jax.nn.log_sigmoid(-decision))
