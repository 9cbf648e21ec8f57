"""Small quadratic programs of one shape, so that the tests compile few programs."""

import jax
import jax.numpy as jnp
import numpy as np

from mbdl import control

SOLVE = jax.jit(lambda program: control.solve_qp(program, throw=False))


def draw(seed, variables=5, *, equalities=1, rows=3, rank=None, spread=0.0, flat=False, move=0.0):
    """A feasible program.

    Args:
        seed: of the numbers.
        variables: how many.
        equalities: how many.
        rows: of inequalities.
        rank: of the hessian.
        spread: the standard deviation of the logarithms of the scales of variables and rows.
        flat: whether the hessian is zero.
        move: by how much the linear term differs from that of the same seed.
    """
    rng = np.random.default_rng(seed)

    def scales(n):
        return np.exp(spread * rng.standard_normal(n))

    root = rng.standard_normal((variables, rank or variables)) * scales(variables)[:, None]
    inside = 0.3 * rng.standard_normal(variables)
    A, G = rng.standard_normal((equalities, variables)), rng.standard_normal((rows, variables)) * scales(rows)[:, None]
    upper = np.where(np.arange(rows) == 1, np.inf, G @ inside + 0.1)
    linear = rng.standard_normal(variables) * scales(variables)
    parts = (
        0 * root @ root.T if flat else root @ root.T,
        linear + move * rng.standard_normal(variables),
        (A, A @ inside),
        (G, G @ inside - 1.0, upper),
        (inside - 1.0, inside + 0.5),
    )
    hessian, linear, equality, inequality, bounds = jax.tree.map(
        lambda a: jnp.asarray(a, jnp.result_type(float)), parts
    )
    return control.QuadraticProgram(
        hessian,
        linear,
        equality=equality if equalities else None,
        inequality=inequality if rows else None,
        bounds=bounds,
    )


def stack(programs):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *programs)


def batch():
    """Programs of one shape: solved, infeasible by a row and the bounds, crossed sides, unbounded, not finite."""
    good = draw(0)
    (A, b), (G, lower, upper), (low, high) = good.equality, good.inequality, good.bounds

    def changed(
        hessian=good.hessian, linear=good.linear, equality=(A, b), lower=lower, upper=upper, bounds=(low, high)
    ):
        return jax.tree.unflatten(
            jax.tree.structure(good), jax.tree.leaves((hessian, linear, equality, (G, lower, upper), bounds))
        )

    beyond = 0.1 + jnp.sum(jnp.maximum(G[0] * low, G[0] * high))
    free = jnp.full_like(low, jnp.inf)
    direction = jnp.linalg.svd(jnp.concatenate([A, G]))[2][-1]  # moves no row
    bent = jnp.eye(5) - jnp.outer(direction, direction)
    return stack(
        [
            good,
            changed(lower=lower.at[0].set(beyond), upper=upper.at[0].set(beyond + 1)),
            changed(bounds=(low, low - 1e-3)),
            changed(hessian=bent, linear=-direction, bounds=(-free, free)),
            changed(linear=good.linear.at[0].set(jnp.nan)),
            good,
        ]
    )


def tied(seed, *, tie, variables=5, spread=0.5):
    """A program whose second variable meets its upper bound with a multiplier of zero, or has room of one; its first
    one meets its bound with the multiplier one. The hessian's condition is some thousands."""
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((variables, variables)) * np.exp(spread * rng.standard_normal(variables))[:, None]
    x, pressed = 0.5 * rng.standard_normal(variables), np.eye(variables)[0]
    G = rng.standard_normal((3, variables))
    high = x + np.where(np.arange(variables) <= (1 if tie else 0), 0.0, 1.0)
    linear = -(root @ root.T @ x + pressed)
    return control.QuadraticProgram(
        root @ root.T, linear, inequality=(G, G @ x - 1.0, G @ x + 1.0), bounds=(x - 1.0, high)
    )
