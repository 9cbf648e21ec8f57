"""The fast iterative shrinkage and thresholding algorithm: accelerated proximal gradient descent."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mbdl.core import IterativeSolver, as_leaf
from mbdl.core.checks import positive

from .conjugate_gradients import inner
from .functional import AbstractFunctional, AbstractProximable
from .initial import AbstractInitial, check_problem, default_initial, first_iterate
from .ista import PROXIMAL_REMEDY, STEP_SIZE, inverse_lipschitz, proximal_gradient
from .least_squares import AbstractFidelity


class FISTAState(eqx.Module):
    """The iterate $s_k$, the extrapolated point $y_k$ and the momentum's $t_k$."""

    signal: Any
    ahead: Any
    momentum: Float[Array, ""]


class FISTA(IterativeSolver):
    r"""Accelerated proximal gradient descent for $\min_s d(s, x) + f(s)$:
    $$s_{k+1} = \mathrm{prox}_{\mu f}(y_k - \mu \nabla d(y_k, x)), \quad t_{k+1} = \tfrac12 (1 + \sqrt{1 + 4 t_k^2}),
    \quad y_{k+1} = s_{k+1} + \tfrac{t_k - 1}{t_{k+1}} (s_{k+1} - s_k).$$

    With `restart`, the momentum begins again ($t_k = 1$) whenever it points uphill,
    $(y_k - s_{k+1})^T (s_{k+1} - s_k) > 0$; each context of a batch decides for itself.

    Args:
        fidelity: $d$, such as `LeastSquares(operator)`.
        prior: $f$, or a `DenoiserPrior`.
        step_size: $\mu > 0$, by default as for `ISTA`.
        restart: whether to restart the momentum adaptively.
        iterations: the depth of `solver(x)`.
        initial: the first iterate, as for `ISTA`.

    Raises:
        TypeError: for a prior without a proximal map.
        ValueError: for a step size that is not positive.

    Differentiable in: what `ISTA` is; the decision to restart is not differentiated.

    Source: A. Beck and M. Teboulle, "A fast iterative shrinkage-thresholding algorithm for linear inverse
    problems", SIAM J. Imaging Sciences 2, 2009; the restart is the gradient scheme of B. O'Donoghue and E. Candès,
    "Adaptive restart for accelerated gradient schemes", Found. Comput. Math. 15, 2015.

    >>> import jax.numpy as jnp
    >>> from mbdl import inverse
    >>> A = inverse.Matrix(jnp.array([[2.0, 0.0], [0.0, 1.0]]))
    >>> rule = inverse.FISTA(inverse.LeastSquares(A), inverse.L1(0.5), iterations=30)
    >>> bool(jnp.allclose(rule(jnp.array([2.0, 0.1])), jnp.array([0.875, 0.0]), atol=1e-3))
    True
    """

    fidelity: AbstractFidelity
    prior: AbstractProximable
    step_size: Float[Array, ""]
    initial: AbstractInitial
    restart: bool = eqx.field(static=True)

    def __init__(
        self,
        fidelity: AbstractFidelity,
        prior: AbstractProximable,
        *,
        step_size: Any = None,
        restart: bool = True,
        iterations: int = 100,
        initial: AbstractInitial | None = None,
    ):
        check_problem("FISTA", fidelity, prior, AbstractProximable, PROXIMAL_REMEDY)
        self.fidelity = fidelity
        self.prior = prior
        self.step_size = inverse_lipschitz(fidelity) if step_size is None else positive(as_leaf(step_size), STEP_SIZE)
        self.initial = default_initial(prior) if initial is None else initial
        self.restart = restart
        self.iterations = iterations

    def init(self, x: Any) -> FISTAState:
        first = first_iterate(self.initial, self.fidelity, x, self.step_size)
        return FISTAState(first, first, _one(first))

    def step(self, state: FISTAState, x: Any) -> FISTAState:
        signal = proximal_gradient(self.fidelity, self.prior, self.step_size, state.ahead, x)
        change = jax.tree.map(jnp.subtract, signal, state.signal)
        momentum = state.momentum
        if self.restart:
            uphill = inner(jax.tree.map(jnp.subtract, state.ahead, signal), change) > 0
            momentum = jnp.where(uphill, 1, momentum)
        following = (1 + jnp.sqrt(1 + 4 * momentum**2)) / 2
        ahead = jax.tree.map(lambda s, c: s + (momentum - 1) / following * c, signal, change)
        return FISTAState(signal, ahead, following)

    def decision(self, state: FISTAState) -> Any:
        return state.signal

    def shift(self, state: FISTAState, delta: Any) -> FISTAState:
        signal, ahead = (jax.tree.map(jnp.add, part, delta) for part in (state.signal, state.ahead))
        return FISTAState(signal, ahead, state.momentum)

    def hyperparameters(self) -> tuple[Any, ...]:
        return (self.step_size,) if isinstance(self.prior, AbstractFunctional) else ()

    def fixed_point(self, state: FISTAState, x: Any) -> FISTAState:
        """The step without momentum: that of `ISTA`."""
        signal = proximal_gradient(self.fidelity, self.prior, self.step_size, state.signal, x)
        return FISTAState(signal, signal, jnp.ones_like(state.momentum))


def _one(signal: Any) -> Array:
    leaf = jax.tree.leaves(signal)[0]
    return jnp.ones((), jnp.finfo(leaf.dtype).dtype)
