"""What of a quadratic program's solution depends on its matrices alone."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .active_set import inverse_root
from .equilibration import Scaling, equilibrate
from .quadratic_program import QuadraticProgram
from .splitting import Penalties, system, weights
from .standard_form import StandardForm, standard_form

FIRST_PENALTY = 0.3


class Prepared(eqx.Module):
    """The equilibration of a program, and the inverse of the linear system of its splitting; made by `prepare`."""

    scaling: Scaling
    penalties: Penalties
    inverse: Float[Array, "variables variables"]


def prepare(program: QuadraticProgram) -> Prepared:
    """Factor what does not change between programs that share their matrices.

    Pass the result to `solve_qp` for programs with other linear terms, sides and bounds. Programs with other matrices
    are solved too, more slowly. The solution does not depend on it, and no derivative goes through it.

    Args:
        program: one of the programs.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from mbdl import control
    >>> program = control.QuadraticProgram(jnp.eye(2), jnp.zeros(2), bounds=(0.0, 0.5))
    >>> prepared = control.prepare(program)
    >>> def decide(q):
    ...     changed = control.QuadraticProgram(program.hessian, q, bounds=program.bounds)
    ...     return control.solve_qp(changed, prepared=prepared).x
    >>> jax.vmap(decide)(jnp.array([[-1.0, 2.0], [-0.25, -3.0]])).tolist()
    [[0.5, 0.0], [0.25, 0.5]]
    """
    form = jax.lax.stop_gradient(standard_form(program))
    scaling = equilibrate(form.hessian, form.matrix)
    scaled = scaling.form(form)
    penalties = weights(scaled).times(jnp.asarray(FIRST_PENALTY, form.linear.dtype))
    return Prepared(scaling, penalties, inverse(scaled, penalties))


def inverse(form: StandardForm, penalties: Penalties) -> Float[Array, "variables variables"]:
    """The inverse of the linear system of the splitting."""
    root = inverse_root(system(form, penalties))
    return root.T @ root
