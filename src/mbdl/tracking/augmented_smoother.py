"""Neural augmentation: the smoother whose messages a graph network corrects."""

from typing import Any

from jaxtyping import PRNGKeyArray

from mbdl.core import Learned, dtype_of, substitute, unconstrained

from .graph_refinement import GraphRefinement
from .input_features import sizes
from .message_smoother import MessageSmoother
from .model import AbstractModel
from .refinement import ScaledRefinement


def NeuralAugmentedSmoother(
    model: AbstractModel,
    *,
    features: int = 48,
    step_size: Any = None,
    iterations: int = 100,
    scale: Any = None,
    key: PRNGKeyArray,
) -> MessageSmoother:
    r"""The neural-augmented smoother: `MessageSmoother` with a `GraphRefinement` in the place of its refinement.

    Before it is trained it decides as the smoother of the model does. It is trained through all its iterations, with
    weights that grow, $\frac{2}{K} \sum_k \frac{k}{K} \mathrm{loss}(s^{(k)})$:
    `mbdl.deep_supervision((ys, states), tracking.state_error, lambda k: 2 * (k + 1) / K**2)`.

    Args:
        model: as for `MessageSmoother`.
        features: the hidden features of each state.
        step_size: as for `MessageSmoother`.
        iterations: $K$.
        scale: what the corrections of the network are multiplied by, 1 by default; the step size as published. The
            smaller, the longer the training, and the less it overfits.
        key: a JAX random key.

    Returns:
        a `MessageSmoother`; `rule.refinement` is what is learned, with a scale `rule.refinement.refinement`.

    Raises:
        ValueError: as `MessageSmoother` does, and for a scale that is not positive.

    Source: V. Garcia Satorras, Z. Akata and M. Welling, "Combining generative and discriminative models for hybrid
    inference", NeurIPS 2019.

    >>> import jax, jax.numpy as jnp
    >>> from mbdl import tracking
    >>> model = tracking.constant_velocity(1.0, q2=0.1, r2=0.25, axes=2)
    >>> smoother = tracking.NeuralAugmentedSmoother(model, features=8, iterations=3, key=jax.random.key(0))
    >>> ys = jnp.ones((5, 2))
    >>> bool(jnp.all(smoother(ys) == tracking.MessageSmoother(model, iterations=3)(ys)))
    True
    """
    smoother = MessageSmoother(model, step_size=step_size, iterations=iterations)
    network = GraphRefinement(*sizes(model), features=features, dtype=dtype_of(smoother), key=key)
    if scale is not None:
        network = ScaledRefinement(Learned(network, unconstrained, ("substitute",)), scale)
    return substitute(smoother, lambda r: r.refinement, network)
