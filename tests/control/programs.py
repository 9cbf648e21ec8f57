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
