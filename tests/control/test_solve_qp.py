"""Solving quadratic programs, against Clarabel, the exact active-set solution and central differences."""

import jax.numpy as jnp
import numpy as np

from mbdl import control


def test_a_clipped_minimum_is_found(x64):
    program = control.QuadraticProgram(np.diag([1.0, 4.0, 2.0]), np.array([-1.0, 2.0, 8.0]), bounds=(-2.0, 0.7))
    solution = control.solve_qp(program)
    np.testing.assert_allclose(solution.x, [0.7, -0.5, -2.0], atol=1e-12)
    np.testing.assert_allclose(solution.bound_multipliers, [0.3, 0.0, -4.0], atol=1e-12)
    assert bool(solution.solved)
    assert jnp.asarray(solution.x).dtype == jnp.float64
