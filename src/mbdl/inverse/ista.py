"""The iterative shrinkage and thresholding algorithm: proximal gradient descent."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mbdl.core import IterativeSolver, as_leaf, resolve
from mbdl.core.checks import concrete, positive

from .functional import AbstractFunctional, AbstractProximable
from .initial import AbstractInitial, check_problem, default_initial, first_iterate
from .least_squares import AbstractFidelity


class ISTA(IterativeSolver):
    r"""Proximal gradient descent for $\min_s d(s, x) + f(s)$:
    $$s_{k+1} = \mathrm{prox}_{\mu f}(s_k - \mu \nabla d(s_k, x)).$$

    Args:
        fidelity: $d$, such as `LeastSquares(operator)`.
        prior: $f$, or a `DenoiserPrior`.
        step_size: $\mu > 0$; by default $1 / L$ with the Lipschitz constant of the fidelity's gradient as it is when
            the solver is built, safe for images of any size.
        iterations: the depth of `solver(x)`.
        initial: the first iterate; by default `Zeros` where the prior is `L1` of the signal itself, else
            `ScaledAdjoint`.

    Raises:
        TypeError: for a prior without a proximal map.
        ValueError: for a step size that is not positive.

    Differentiable in: everything through a fixed depth; through `solve` in all but the step size, on which the
    minimiser does not depend (it does with a `DenoiserPrior`).

    Source: I. Daubechies, M. Defrise and C. De Mol, "An iterative thresholding algorithm for linear inverse
    problems with a sparsity constraint", Comm. Pure Appl. Math. 57, 2004.

    >>> import jax.numpy as jnp
    >>> from mbdl import inverse
    >>> A = inverse.Matrix(jnp.array([[2.0, 0.0], [0.0, 1.0]]))
    >>> rule = inverse.ISTA(inverse.LeastSquares(A), inverse.L1(0.5), iterations=50)
    >>> bool(jnp.allclose(rule(jnp.array([2.0, 0.1])), jnp.array([0.875, 0.0]), atol=1e-3))
    True
    """

    fidelity: AbstractFidelity
    prior: AbstractProximable
    step_size: Float[Array, ""]
    initial: AbstractInitial

    def __init__(
        self,
        fidelity: AbstractFidelity,
        prior: AbstractProximable,
        *,
        step_size: Any = None,
        iterations: int = 100,
        initial: AbstractInitial | None = None,
    ):
        check_problem("ISTA", fidelity, prior, AbstractProximable, PROXIMAL_REMEDY)
        self.fidelity = fidelity
        self.prior = prior
        self.step_size = inverse_lipschitz(fidelity) if step_size is None else positive(as_leaf(step_size), STEP_SIZE)
        self.initial = default_initial(prior) if initial is None else initial
        self.iterations = iterations

    def init(self, x: Any) -> Any:
        return first_iterate(self.initial, self.fidelity, x, self.step_size)

    def step(self, state: Any, x: Any) -> Any:
        return proximal_gradient(self.fidelity, self.prior, self.step_size, state, x)

    def decision(self, state: Any) -> Any:
        return state

    def shift(self, state: Any, delta: Any) -> Any:
        return jax.tree.map(jnp.add, state, delta)

    def hyperparameters(self) -> tuple[Any, ...]:
        return (self.step_size,) if isinstance(self.prior, AbstractFunctional) else ()


STEP_SIZE = "the step size"
PROXIMAL_REMEDY = "Use a prior with a proximal map, GradientDescent for a smooth one, or ADMM to split"


def proximal_gradient(fidelity: Any, prior: Any, step_size: Array, point: Any, x: Any) -> Any:
    """One proximal gradient step."""
    descended = jax.tree.map(lambda s, g: s - step_size * g, point, fidelity.gradient(point, x))
    return prior.prox(descended, step_size)


def inverse_lipschitz(fidelity: AbstractFidelity, prior: Any = None) -> Array:
    """The reciprocal of the Lipschitz constant of the gradient of a fidelity and a smooth prior."""
    lipschitz = resolve(fidelity).lipschitz()
    if prior is not None:
        lipschitz = lipschitz + resolve(prior).lipschitz()
    known = concrete(lipschitz)
    if known is not None and not known > 0:
        raise ValueError(
            f"the Lipschitz constant of the gradient is {known:g}, so it gives no step size; pass step_size"
        )
    return 1 / lipschitz
