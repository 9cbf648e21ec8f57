"""The alternating direction method of multipliers."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mbdl.core import IterativeSolver, as_leaf
from mbdl.core.checks import positive

from .conjugate_gradients import inner
from .functional import AbstractFunctional, AbstractProximable
from .initial import AbstractInitial, check_problem, default_initial, first_iterate
from .ista import PROXIMAL_REMEDY, inverse_lipschitz
from .least_squares import AbstractFidelity

ADAPTED = 50
"""Iterations in which an adaptive penalty may change; afterwards it stays, so that the iteration converges."""


class ADMMState(eqx.Module):
    """The split variable $z_k$, the scaled dual $u_k$, with an adaptive penalty its scale and the count of steps."""

    split: Any
    dual: Any
    scale: Float[Array, ""] | None
    number: Int[Array, ""] | None


class ADMM(IterativeSolver):
    r"""The alternating direction method of multipliers, in scaled form, for $\min_s d(s, x) + f(z)$ subject to $s = z$:
    $$s_{k+1} = \mathrm{prox}_{d(\cdot, x) / \rho}(z_k - u_k), \quad z_{k+1} = \mathrm{prox}_{f / \rho}(s_{k+1} + u_k),
    \quad u_{k+1} = u_k + s_{k+1} - z_{k+1}.$$

    The decision is $z$, what the prior returned: exactly sparse or within its bounds where the prior is. With
    `LeastSquares` the first line solves $(A^T A + \rho I) s = A^T x + \rho (z_k - u_k)$, directly where the operator
    can (`Matrix(A).factored()`, `Convolution`, `Downsample @ Convolution`, `Mask`), else by conjugate gradients. With
    a `DenoiserPrior` this is plug-and-play ADMM.

    Args:
        fidelity: $d$, such as `LeastSquares(operator)`.
        prior: $f$, or a `DenoiserPrior`.
        penalty: $\rho > 0$; by default a tenth of the Lipschitz constant of the fidelity's gradient, a middle value:
            the best one depends on the weight of the prior.
        adaptive: whether each context's penalty is balanced in its first 50 iterations, doubled or halved when the
            relative primal and dual residuals differ by more than a factor of ten. The scale is part of the state.
        iterations: the depth of `solver(x)`.
        initial: the first $z$, as for `ISTA`.

    Raises:
        TypeError: for a prior without a proximal map.
        ValueError: for a penalty that is not positive.

    Differentiable in: everything through a fixed depth; through `solve` in all but the penalty (with a `DenoiserPrior`
    also in that).

    Source: S. Boyd et al., "Distributed optimization and statistical learning via the alternating direction method
    of multipliers", Found. Trends Machine Learning 3, 2011, sections 3.1.1 and 3.4.1; relative residuals as in B.
    Wohlberg, "ADMM penalty parameter selection by residual balancing", arXiv 1704.06209.

    >>> import jax.numpy as jnp
    >>> from mbdl import inverse
    >>> A = inverse.Matrix(jnp.array([[2.0, 0.0], [0.0, 1.0]])).factored()
    >>> rule = inverse.ADMM(inverse.LeastSquares(A), inverse.L1(0.5), penalty=1.0, iterations=50)
    >>> bool(jnp.allclose(rule(jnp.array([2.0, 0.1])), jnp.array([0.875, 0.0]), atol=1e-3))
    True
    """

    fidelity: AbstractFidelity
    prior: AbstractProximable
    penalty: Float[Array, ""]
    initial: AbstractInitial
    adaptive: bool = eqx.field(static=True)

    def __init__(
        self,
        fidelity: AbstractFidelity,
        prior: AbstractProximable,
        *,
        penalty: Any = None,
        adaptive: bool = False,
        iterations: int = 100,
        initial: AbstractInitial | None = None,
    ):
        check_problem("ADMM", fidelity, prior, AbstractProximable, PROXIMAL_REMEDY)
        self.fidelity = fidelity
        self.prior = prior
        self.penalty = (
            0.1 / inverse_lipschitz(fidelity) if penalty is None else positive(as_leaf(penalty), "the penalty")
        )
        self.initial = default_initial(prior) if initial is None else initial
        self.adaptive = adaptive
        self.iterations = iterations

    def init(self, x: Any) -> ADMMState:
        first = first_iterate(self.initial, self.fidelity, x, self.penalty)
        one = jnp.ones((), jnp.finfo(jax.tree.leaves(first)[0].dtype).dtype)
        scale, number = (one, jnp.asarray(0)) if self.adaptive else (None, None)
        return ADMMState(first, jax.tree.map(jnp.zeros_like, first), scale, number)

    def step(self, state: ADMMState, x: Any) -> ADMMState:
        signal, split, dual = self._updates(state, x)
        if state.scale is None or state.number is None:
            return ADMMState(split, dual, None, None)
        primal = _distance(signal, split) / _positive(jnp.maximum(_norm(signal), _norm(split)))
        turned = _distance(split, state.split) / _positive(_norm(dual))
        change = jnp.where(primal > 10 * turned, 2.0, jnp.where(turned > 10 * primal, 0.5, 1.0))
        change = jnp.where(state.number < ADAPTED, change, 1.0).astype(state.scale.dtype)
        return ADMMState(split, jax.tree.map(lambda u: u / change, dual), state.scale * change, state.number + 1)

    def _updates(self, state: ADMMState, x: Any) -> tuple[Any, Any, Any]:
        step = 1 / self._penalty(state)
        signal = self.fidelity.prox(jax.tree.map(jnp.subtract, state.split, state.dual), x, step)
        reflected = jax.tree.map(jnp.add, signal, state.dual)
        split = self.prior.prox(reflected, step)
        return signal, split, jax.tree.map(jnp.subtract, reflected, split)

    def _penalty(self, state: ADMMState) -> Array:
        return self.penalty if state.scale is None else self.penalty * state.scale

    def decision(self, state: ADMMState) -> Any:
        return state.split

    def shift(self, state: ADMMState, delta: Any) -> ADMMState:
        return ADMMState(jax.tree.map(jnp.add, state.split, delta), state.dual, state.scale, state.number)

    def hyperparameters(self) -> tuple[Any, ...]:
        return (self.penalty,) if isinstance(self.prior, AbstractFunctional) else ()

    def fixed_point(self, state: ADMMState, x: Any) -> ADMMState:
        """The step with the penalty as it is."""
        _, split, dual = self._updates(state, x)
        scale = None if state.scale is None else jax.lax.stop_gradient(state.scale)
        return ADMMState(split, dual, scale, state.number)

    def residual(self, previous: ADMMState, current: ADMMState, x: Any) -> Float[Array, ""]:
        r"""The larger of the primal residual $\|s - z\|$ and the change of $z$, relative to $\|z\|$."""
        ratio = 1.0 if previous.scale is None or current.scale is None else current.scale / previous.scale
        primal = _distance(jax.tree.map(lambda u: ratio * u, current.dual), previous.dual)
        change = jnp.maximum(primal, _distance(current.split, previous.split))
        return change / _positive(_norm(current.split))


def _norm(a: Any) -> Array:
    return jnp.sqrt(inner(a, a))


def _distance(a: Any, b: Any) -> Array:
    return _norm(jax.tree.map(jnp.subtract, a, b))


def _positive(value: Array) -> Array:
    return jnp.where(value > 0, value, 1)
