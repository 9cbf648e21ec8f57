"""Gradient descent."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mbdl.core import IterativeSolver, as_leaf
from mbdl.core.checks import positive

from .constraint import Zero
from .functional import AbstractSmooth
from .initial import AbstractInitial, check_problem, default_initial, first_iterate
from .ista import STEP_SIZE, inverse_lipschitz
from .least_squares import AbstractFidelity


class GradientDescent(IterativeSolver):
    r"""Gradient descent for $\min_s d(s, x) + f(s)$ with a smooth prior:
    $$s_{k+1} = s_k - \mu (\nabla d(s_k, x) + \nabla f(s_k)).$$

    Args:
        fidelity: $d$, such as `LeastSquares(operator)`.
        prior: $f$, smooth, such as `SquaredL2`; by default none.
        step_size: $\mu > 0$; by default $1 / L$ with the Lipschitz constant of both gradients together.
        iterations: the depth of `solver(x)`.
        initial: the first iterate; by default `ScaledAdjoint`.

    Raises:
        TypeError: for a prior that is not smooth.
        ValueError: for a step size that is not positive.

    Differentiable in: everything through a fixed depth; through `solve` in all but the step size, and only where the
    minimiser is unique.

    >>> import jax.numpy as jnp
    >>> from mbdl import inverse
    >>> A = inverse.Matrix(jnp.array([[2.0, 0.0], [0.0, 1.0]]))
    >>> rule = inverse.GradientDescent(inverse.LeastSquares(A), iterations=200)
    >>> bool(jnp.allclose(rule(jnp.array([2.0, 3.0])), jnp.array([1.0, 3.0]), atol=1e-3))
    True
    """

    fidelity: AbstractFidelity
    prior: AbstractSmooth
    step_size: Float[Array, ""]
    initial: AbstractInitial

    def __init__(
        self,
        fidelity: AbstractFidelity,
        prior: AbstractSmooth | None = None,
        *,
        step_size: Any = None,
        iterations: int = 100,
        initial: AbstractInitial | None = None,
    ):
        prior = Zero() if prior is None else prior
        check_problem(
            "GradientDescent",
            fidelity,
            prior,
            AbstractSmooth,
            "Use ISTA, FISTA or ADMM for a prior with a proximal map",
        )
        self.fidelity = fidelity
        self.prior = prior
        default = step_size is None
        self.step_size = inverse_lipschitz(fidelity, prior) if default else positive(as_leaf(step_size), STEP_SIZE)
        self.initial = default_initial(prior) if initial is None else initial
        self.iterations = iterations

    def init(self, x: Any) -> Any:
        return first_iterate(self.initial, self.fidelity, x, self.step_size)

    def step(self, state: Any, x: Any) -> Any:
        slopes = self.fidelity.gradient(state, x), self.prior.gradient(state)
        return jax.tree.map(lambda s, g, h: s - self.step_size * (g + h), state, *slopes)

    def decision(self, state: Any) -> Any:
        return state

    def shift(self, state: Any, delta: Any) -> Any:
        return jax.tree.map(jnp.add, state, delta)

    def hyperparameters(self) -> tuple[Any, ...]:
        return (self.step_size,)
