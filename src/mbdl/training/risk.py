"""Risks: what a rule is trained to make small.

A risk is a callable `(rule, batch, key) -> scalar`. Those of this file are pytrees that hold their data and average a
value over the examples of a batch; any other callable of that form is a risk too.
"""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from mbdl.training.batches import as_arrays, holds_arrays, leading_axis

HOW_TO_STAY_FINITE = "Try a smaller learning rate, clip=1.0, or look for NaN in the data."


class AbstractExampleRisk(eqx.Module):
    """A risk that is the mean of one value per example: (1/N) Σᵢ value(rule, exampleᵢ).

    `fit` takes the minibatches from `data`, validates in batches of one size, padded, and spreads a batch over the
    devices of a mesh, because it knows that examples do not interact.
    """

    data: eqx.AbstractVar[Any]

    @abc.abstractmethod
    def values(self, rule: Any, batch: Any, key: PRNGKeyArray | None) -> Float[Array, " batch"]:
        """The value of each example of a batch, or of a part of it: all parts get the same key, so that what is random
        of an example is a function of the key and the example."""

    def examples(self) -> Any:
        """All examples, the batch where none is given."""
        if self.data is None:
            raise ValueError(
                f"{type(self).__name__} was made without data and got no batch; give it data, or give data= to fit."
            )
        return as_arrays(self.data)

    def why_not_finite(self, rule: Any, batch: Any, key: PRNGKeyArray | None) -> str:
        """Why a step of training may not be finite and what to do, in words, for the error with which `fit` stops.

        `rule`, `batch` and `key` are those of the step at which it stopped, all concrete; `batch` is None where there
        is no data.
        """
        return HOW_TO_STAY_FINITE

    def __call__(self, rule: Any, batch: Any = None, key: PRNGKeyArray | None = None) -> Float[Array, ""]:
        """The mean over a batch, or over all of `data` if no batch is given."""
        return jnp.mean(self.values(rule, self.examples() if batch is None else batch, key))


class Supervised(AbstractExampleRisk):
    """The mean loss of decisions against their targets; made by `supervised`."""

    data: Any
    loss: Callable[[Any, Any], Array]

    def values(self, rule: Any, batch: Any, key: PRNGKeyArray | None) -> Float[Array, " batch"]:
        xs, targets = pair(batch)
        return jax.vmap(lambda x, target: self.loss(rule(x), target))(xs, targets)


class Unsupervised(AbstractExampleRisk):
    """The mean of an objective of decision and context, without targets; made by `unsupervised`."""

    data: Any
    objective: Callable[[Any, Any], Array]

    def values(self, rule: Any, batch: Any, key: PRNGKeyArray | None) -> Float[Array, " batch"]:
        return jax.vmap(lambda x: self.objective(rule(x), x))(batch)


class DeepSupervision(AbstractExampleRisk):
    """The weighted loss of every iterate of an iterative rule; made by `deep_supervision`."""

    data: Any
    loss: Callable[[Any, Any], Array]
    weights: Any

    def values(self, rule: Any, batch: Any, key: PRNGKeyArray | None) -> Float[Array, " batch"]:
        xs, targets = pair(batch)

        def value(x: Any, target: Any) -> Array:
            iterates = rule(x, trace=True)
            losses = jax.vmap(self.loss, in_axes=(0, None))(iterates, target)
            return jnp.sum(_weights(self.weights, losses.shape[0]).astype(losses.dtype) * losses)

        return jax.vmap(value)(xs, targets)


def supervised(data: Any, loss: Callable[[Any, Any], Array]) -> Supervised:
    """The empirical risk (1/N) Σᵢ loss(rule(xᵢ), sᵢ).

    Args:
        data: `(xs, targets)`, two pytrees of arrays with one leading axis of N examples; or an iterable of such pairs;
            or None if `fit` is given the data.
        loss: a function `(decision, target) -> scalar` of one example, e.g. `mbdl.losses.mse`.

    Returns:
        A risk, a pytree whose leaves are the data.

    Raises:
        ValueError: if the leading axes differ, or if the data is not a pair.
        TypeError: if the loss is not callable.

    >>> import jax.numpy as jnp
    >>> from mbdl.training import losses
    >>> risk = supervised((jnp.ones((4, 2)), jnp.zeros((4, 2))), losses.mse)
    >>> float(risk(lambda x: 2 * x))
    4.0
    """
    checked_function(loss, "supervised", "loss(decision, target)")
    checked_pairs(data, "supervised")
    return Supervised(data, loss)


def unsupervised(data: Any, objective: Callable[[Any, Any], Array]) -> Unsupervised:
    """The empirical risk (1/N) Σᵢ objective(rule(xᵢ), xᵢ), which needs no targets.

    With the objective that the rule itself minimises (an unfolded solver's, a policy's cost) this is learning to
    optimise.

    Args:
        data: `xs`, a pytree of arrays with one leading axis of N contexts; or an iterable of batches; or None if `fit`
            is given the data.
        objective: a function `(decision, x) -> scalar` of one example.

    Returns:
        A risk, a pytree whose leaves are the data.

    Raises:
        ValueError: if the leading axes of the arrays differ.
        TypeError: if the objective is not callable.

    >>> import jax.numpy as jnp
    >>> risk = unsupervised(jnp.ones((4, 2)), lambda s, x: jnp.sum((s - x) ** 2))
    >>> float(risk(lambda x: 2 * x))
    2.0
    """
    checked_function(objective, "unsupervised", "objective(decision, x)")
    if holds_arrays(data):
        leading_axis(data)
    return Unsupervised(data, objective)


def deep_supervision(data: Any, loss: Callable[[Any, Any], Array], weights: Any) -> DeepSupervision:
    """The empirical risk (1/N) Σᵢ Σₖ wₖ loss(s⁽ᵏ⁾(xᵢ), sᵢ) over the iterates k = 0 … K−1 of a rule.

    The iterates are what `rule(x, trace=True)` returns. The weights are used as they are, not normalised.

    Args:
        data: as for `supervised`.
        loss: a function `(decision, target) -> scalar` of one example.
        weights: an array of K weights ≥ 0, or a function of k that gives one, e.g. `lambda k: math.log(k + 1)`, which
            leaves the first iterate free.

    Returns:
        A risk, a pytree whose leaves are the data and the weights.

    Raises:
        ValueError: if a weight is negative or not finite, if all are zero, or (when it is used) if there are not as
            many weights as iterates.
        TypeError: if the loss is not callable, or (when it is used) if the rule does not iterate.

    Source: logarithmic weights are those of N. Samuel, T. Diskin and A. Wiesel, "Learning to detect", IEEE Transactions
    on Signal Processing 67(10), 2019.
    """
    checked_function(loss, "deep_supervision", "loss(decision, target)")
    checked_pairs(data, "deep_supervision")
    if not callable(weights):
        weights = jnp.asarray(_checked_weights(np.asarray(weights)))
    return DeepSupervision(data, loss, weights)


def _weights(weights: Any, iterations: int) -> Float[Array, " iterations"]:
    if callable(weights):
        weight: Any = weights
        return jnp.asarray(_checked_weights(np.asarray([float(weight(k)) for k in range(iterations)])))
    if weights.shape[0] != iterations:
        raise ValueError(
            f"deep_supervision was given {weights.shape[0]} weights, but the rule's trace has {iterations} iterates; "
            "give one weight for each, or a function of the iterate's index."
        )
    return weights


def _checked_weights(weights: np.ndarray) -> np.ndarray:
    if weights.ndim != 1 or not np.issubdtype(weights.dtype, np.number):
        raise ValueError(f"deep_supervision wants a vector of weights, one an iterate, but got {weights!r}.")
    weights = weights.astype(np.result_type(weights, np.float32))
    if not np.all(np.isfinite(weights)) or np.any(weights < 0) or not np.any(weights > 0):
        raise ValueError(
            f"deep_supervision wants finite weights ≥ 0 that are not all zero, but got {weights.tolist()}."
        )
    return weights


def pair(batch: Any) -> tuple[Any, Any]:
    """A batch of contexts and targets.

    Raises:
        ValueError: for what is no pair.
    """
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise ValueError(
            f"a batch of this risk is a pair (xs, targets), but got {type(batch).__name__}. Give arrays as a tuple; a "
            "list is read as a list of batches."
        )
    return batch[0], batch[1]


def checked_pairs(data: Any, name: str) -> None:
    """Raise for arrays that are no pair of contexts and targets with one leading axis."""
    if holds_arrays(data):
        if not isinstance(data, tuple) or len(data) != 2:
            raise ValueError(f"{name} wants data = (xs, targets), but got {type(data).__name__}.")
        leading_axis(data)


def checked_function(function: Any, name: str, form: str) -> None:
    """Raise for what cannot be called."""
    if not callable(function):
        raise TypeError(f"{name} wants a function {form} -> scalar, but got {function!r}.")
