"""Where an iterative solver begins."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from mbdl.core import dtype_of

from .conjugate_gradients import inner
from .functional import AbstractProximable
from .l1 import L1
from .least_squares import AbstractFidelity


class AbstractInitial(eqx.Module):
    """The first iterate of a solver, from the fidelity and the observation."""

    @abc.abstractmethod
    def __call__(self, fidelity: AbstractFidelity, x: Any) -> Any:
        """The first iterate."""


class Zeros(AbstractInitial):
    """Begin at zero: the usual start of sparse recovery, where most of the signal is zero."""

    def __call__(self, fidelity: AbstractFidelity, x: Any) -> Any:
        shapes = jax.eval_shape(fidelity.operator.adjoint, x)
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


class ScaledAdjoint(AbstractInitial):
    r"""Begin at the multiple of the adjoint that explains the observation best, $s_0 = \alpha A^T x$ with
    $\alpha = \|A^T x\|^2 / \|A A^T x\|^2$.

    The bare adjoint of super-resolution is too dark by the square of the factor; the scale sets that right for any
    operator. It is the first step of steepest descent from zero, with exact line search.
    """

    def __call__(self, fidelity: AbstractFidelity, x: Any) -> Any:
        adjoint = fidelity.operator.adjoint(x)
        again = fidelity.operator(adjoint)
        numerator, denominator = inner(adjoint, adjoint), inner(again, again)
        scale = jnp.where(denominator > 0, numerator / jnp.where(denominator > 0, denominator, 1), 1)
        return jax.tree.map(lambda leaf: scale * leaf, adjoint)


def default_initial(prior: Any) -> AbstractInitial:
    """`Zeros` where the prior says that the signal itself is sparse, else `ScaledAdjoint`."""
    return Zeros() if isinstance(prior, L1) and prior.transform is None else ScaledAdjoint()


def first_iterate(initial: AbstractInitial, fidelity: AbstractFidelity, x: Any, *parameters: Any) -> Any:
    """The first iterate in the dtype that the iterations will have."""
    dtype = dtype_of((fidelity, *parameters))
    x = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf, dtype)), x)
    return initial(fidelity, x)


def check_problem(solver: str, fidelity: Any, prior: Any, protocol: type, remedy: str) -> None:
    """Raise unless the fidelity and the prior can do what a solver asks of them."""
    if not isinstance(fidelity, AbstractFidelity):
        raise TypeError(
            f"{solver}: expected a fidelity such as mbdl.inverse.LeastSquares(operator), got {type(fidelity).__name__}"
        )
    if not isinstance(prior, protocol):
        network = "" if isinstance(prior, AbstractProximable) else "; a network stands here as DenoiserPrior(network)"
        raise TypeError(f"{solver}: the prior {type(prior).__name__} is no {protocol.__name__}. {remedy}{network}")
