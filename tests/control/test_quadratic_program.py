"""What a quadratic program refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from control.programs import draw

from mbdl import control

EYE, ONES = np.eye(2), np.ones(2)

BAD = {
    "linear: expected a vector, got shape \\(2, 2\\)": ((EYE, EYE), {}),
    "hessian: expected a matrix \\[2 2\\]": ((np.eye(3), ONES), {}),
    "hessian is symmetric": ((np.array([[1.0, 1.0], [0.0, 1.0]]), ONES), {}),
    "is positive semidefinite .* eigenvalue -1": ((np.diag([1.0, -1.0]), ONES), {}),
    "linear must be finite": ((EYE, np.array([1.0, np.nan])), {}),
    "expected equality=\\(A, b\\), a tuple of 2": ((EYE, ONES), {"equality": EYE}),
    "equality: A: expected a matrix \\[any 2\\]": ((EYE, ONES), {"equality": (np.eye(3), np.ones(3))}),
    "equality: b: expected shape \\(2,\\), got shape \\(3,\\)": ((EYE, ONES), {"equality": (EYE, np.ones(3))}),
    "equality: b must be finite": ((EYE, ONES), {"equality": (EYE, np.array([0.0, np.inf]))}),
    "a tuple of 3": ((EYE, ONES), {"inequality": (EYE, ONES)}),
    "bounds: expected a number or shape \\(2,\\)": ((EYE, ONES), {"bounds": (np.zeros(3), np.ones(3))}),
    "must not be NaN": ((EYE, ONES), {"bounds": (np.nan, 1.0)}),
    "no upper bound is \\+inf": ((EYE, ONES), {"bounds": (0.0, -np.inf)}),
    "at 1 it is 1 > 0.5": ((EYE, ONES), {"bounds": (np.array([0.0, 1.0]), 0.5)}),
}


@pytest.mark.parametrize("message", BAD)
def test_what_is_no_program_raises(message):
    arguments, options = BAD[message]
    with pytest.raises(ValueError, match=message):
        control.QuadraticProgram(*arguments, **options)


def test_sides_may_be_infinite_and_are_valid_only_on_their_own():
    program = control.QuadraticProgram(EYE, ONES, bounds=(-np.inf, np.inf))
    assert bool(program.valid())
    assert program.variables == 2
    flipped = jax.tree.unflatten(jax.tree.structure(program), [*jax.tree.leaves(program)[:2], *program.bounds[::-1]])
    assert not bool(flipped.valid())


def test_the_objective():
    program = control.QuadraticProgram(2 * EYE, ONES)
    np.testing.assert_allclose(program.objective(jnp.array([1.0, 2.0])), 8.0)


def test_a_program_is_made_under_a_transformation():
    program = draw(0)
    assert jax.jit(lambda q: control.QuadraticProgram(program.hessian, q, bounds=program.bounds))(program.linear).bounds
