"""A small strictly convex quadratic function in a box: its minimiser, and which components are free there."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

CANDIDATES = 12
"""Step sizes 1, 1/2, 1/4, ... that are tried at once."""


def box_minimiser(
    hessian: Float[Array, "size size"],
    slope: Float[Array, " size"],
    lower: Float[Array, " size"],
    upper: Float[Array, " size"],
) -> tuple[Float[Array, " size"], Bool[Array, " size"]]:
    r"""The minimiser of $\tfrac12 z^\top H z + g^\top z$ over $l \le z \le u$, and which components are free.

    The clamped components are found by projected Newton steps; then the free ones solve their equations exactly.

    Args:
        hessian: $H$, positive definite.
        slope: $g$.
        lower: $l$, may be infinite.
        upper: $u$, may be infinite.

    Differentiable in: everything, with the clamped components held; they have no derivative.

    Source: the subproblem of Y. Tassa, N. Mansard and E. Todorov, "Control-limited differential dynamic programming",
    ICRA 2014; projected Newton as in D. P. Bertsekas, "Projected Newton methods for optimization problems with simple
    constraints", SIAM J. Control Optim. 20, 1982. Here the step size is the best of a fixed grid.
    """
    z = _projected_newton(*map(jax.lax.stop_gradient, (hessian, slope, lower, upper)))
    free = ~_clamped(z, jax.lax.stop_gradient(slope + hessian @ z), lower, upper)
    held = jnp.where(free, 0.0, jnp.where(z >= upper, upper, lower))
    solved = jnp.linalg.solve(among(hessian, free), jnp.where(free, slope + hessian @ held, 0.0))
    return jnp.where(free, -solved, held), free


def among(hessian: Float[Array, "size size"], free: Bool[Array, " size"]) -> Float[Array, "size size"]:
    """The matrix of the free components, with the identity for the others."""
    return jnp.where(free[:, None] & free[None, :], hessian, jnp.eye(len(hessian), dtype=hessian.dtype))


def _clamped(z: Array, slope: Array, lower: Array, upper: Array) -> Bool[Array, " size"]:
    """Components at a bound that the slope pushes against."""
    return ((z <= lower) & (slope > 0)) | ((z >= upper) & (slope < 0))


def _projected_newton(hessian: Array, slope: Array, lower: Array, upper: Array) -> Float[Array, " size"]:
    sizes = 0.5 ** jnp.arange(CANDIDATES, dtype=hessian.dtype)

    def value(z: Array) -> Array:
        return 0.5 * z @ hessian @ z + slope @ z

    def body(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        z, k, _ = carry
        steep = slope + hessian @ z
        free = ~_clamped(z, steep, lower, upper)
        newton = -jnp.linalg.solve(among(hessian, free), jnp.where(free, steep, 0.0))
        tried = jnp.clip(z + sizes[:, None] * newton, lower, upper)
        following = tried[jnp.argmin(jax.vmap(value)(tried))]
        return following, k + 1, jnp.any(following != z)

    def going(carry: tuple[Array, Array, Array]) -> Array:
        _, k, moved = carry
        return moved & (k < 4 + 4 * len(slope))

    first = jnp.clip(jnp.zeros_like(slope), lower, upper)
    return jax.lax.while_loop(going, body, (first, jnp.asarray(0), jnp.asarray(True)))[0]
