"""Laws of all operators: adjointness, norm, the regularised solve and its derivative, dtypes, transformations."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inverse.tools import BLUR, CASES, EXACT, KERNEL, dense, normal, operators

from mbdl import inverse
from mbdl.inverse.conjugate_gradients import conjugate_gradients, inner

every_case = pytest.mark.parametrize(("name", "shape"), CASES.values(), ids=CASES.keys())
one_case_each = pytest.mark.parametrize(
    ("name", "shape"), [(name, shapes[0]) for name, (_, shapes) in operators().items()]
)


def random_like(seed, tree):
    leaves, structure = jax.tree.flatten(tree)
    return structure.unflatten([normal(seed + k, *leaf.shape).astype(leaf.dtype) for k, leaf in enumerate(leaves)])


@every_case
def test_the_adjoint_is_the_adjoint(name, shape, x64):
    A = operators()[name][0]
    apply, adjoint = jax.jit(lambda s: A(s)), jax.jit(lambda x: A.adjoint(x))

    @hypothesis.settings(max_examples=10, deadline=None, database=None)
    @hypothesis.given(st.integers(0, 10**6))
    def law(seed):
        s = normal(seed, *shape)
        predicted = apply(s)
        x = random_like(seed + 1, predicted)
        # Each side sums some hundred products of numbers of order one.
        np.testing.assert_allclose(inner(predicted, x), inner(s, adjoint(x)), rtol=1e-11, atol=1e-11)

    law()


@one_case_each
def test_the_transpose_is_the_adjoint_as_an_operator(name, shape, x64):
    A = operators()[name][0]
    s = normal(1, *shape)
    x = A(s)
    np.testing.assert_array_equal(A.T(x), A.adjoint(x))
    for a, b in zip(jax.tree.leaves(A.T.T(s)), jax.tree.leaves(x), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(A.T.norm(), A.norm())
    assert (A.T.input_shape, A.T.output_shape) == (A.output_shape, A.input_shape)


@every_case
def test_the_norm_is_a_bound_and_exact_where_it_should_be(name, shape, x64):
    A = operators()[name][0]
    largest = np.linalg.norm(dense(A, shape), 2)
    assert A.norm().shape == ()
    assert float(A.norm()) >= largest * (1 - 1e-12)
    if name in EXACT:
        np.testing.assert_allclose(A.norm(), largest, rtol=1e-10)


@every_case
def test_the_regularised_solve_solves(name, shape, x64):
    A = operators()[name][0]
    b, weight = normal(2, *shape), 0.02
    matrix = dense(A, shape)
    expected = np.linalg.solve(matrix.T @ matrix + weight * np.eye(b.size), np.ravel(b)).reshape(shape)
    # Conjugate gradients stop at ten times the precision, and the weight is the smallest eigenvalue.
    np.testing.assert_allclose(A.regularised_solve(b, jnp.asarray(weight)), expected, rtol=1e-9, atol=1e-10)


@one_case_each
def test_the_derivative_of_the_regularised_solve(name, shape, x64):
    A = operators()[name][0]
    A = jax.tree.map(lambda leaf: leaf.astype(float) if jnp.issubdtype(leaf.dtype, jnp.bool_) else leaf, A)
    arrays, structure = jax.tree.flatten(A)
    if isinstance(A, inverse.FactoredMatrix):
        arrays, structure = [A.singular_values], jax.tree.structure(0)
    b, target = normal(2, *shape), normal(3, *shape)

    def value(arguments):
        b, weight, arrays = arguments
        operator = structure.unflatten(arrays)
        if isinstance(A, inverse.FactoredMatrix):
            operator = inverse.FactoredMatrix(A.U, operator, A.Vt)
        return jnp.vdot(target, operator.regularised_solve(b, weight))

    at = (b, jnp.asarray(0.3), arrays)
    slope = jax.jit(jax.grad(value))(at)
    direction = random_like(11, at)
    step = 1e-6

    def along(t):
        return value(jax.tree.map(lambda a, d: a + t * d, at, direction))

    numeric = (along(step) - along(-step)) / (2 * step)
    # Central differences err by the square of the step and by the precision over the step.
    np.testing.assert_allclose(inner(slope, direction), numeric, rtol=1e-6, atol=1e-7)


@one_case_each
def test_vmap_and_jit_agree_with_the_plain_call(name, shape):
    A = operators()[name][0]
    batch = normal(4, 3, *shape)
    many = jax.jit(jax.vmap(lambda s: A(s)))(batch)
    back = jax.jit(jax.vmap(lambda x: A.adjoint(x)))(many)
    for k in range(3):
        one = A(batch[k])
        for a, b in zip(jax.tree.leaves(many), jax.tree.leaves(one), strict=True):
            np.testing.assert_allclose(a[k], b, atol=1e-5)
        np.testing.assert_allclose(back[k], A.adjoint(one), atol=2e-5)


@one_case_each
def test_single_precision_stays_single_under_x64(name, shape, x64):
    A = operators()[name][0]
    A = jax.tree.map(lambda leaf: leaf.astype(jnp.float32) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, A)
    s = normal(5, *shape).astype(jnp.float32)
    outcomes = [A(s), A.adjoint(A(s)), A.regularised_solve(s, jnp.asarray(0.5, jnp.float32))]
    assert {leaf.dtype for leaf in jax.tree.leaves(outcomes)} == {np.dtype("float32")}
    assert A.norm().dtype == np.dtype("float32") or A.norm().weak_type


def test_the_norms_of_large_images_stay_below_those_of_the_operator(x64):
    for A in (
        inverse.Downsample(3) @ inverse.Convolution(KERNEL),
        inverse.Downsample(2) @ inverse.Convolution(KERNEL, "zero"),
        inverse.Convolution(KERNEL, "zero"),
        inverse.Gradient(),
    ):
        s = normal(3, 60, 60)
        for _ in range(300):
            s = A.gram(s)
            s = s / jnp.linalg.norm(s)
        power = float(jnp.sqrt(jnp.linalg.norm(A.gram(s))))
        assert power <= float(A.norm())
        assert power >= 0.9 * float(A.norm()) or not isinstance(A, inverse.Gradient)


def test_compositions_are_flat_and_say_their_shapes():
    A, B = inverse.Matrix(normal(0, 3, 4)), inverse.Matrix(normal(1, 4, 5))
    C = inverse.Matrix(normal(2, 2, 3)) @ (A @ B)
    assert len(C.operators) == 3
    assert (C.input_shape, C.output_shape, C.dtype) == ((5,), (2,), np.dtype("float32"))
    assert (2.0 * A).output_shape == (3,)
    assert inverse.Gradient().input_shape is None
    assert inverse.Gradient().dtype is None
    assert inverse.Stack(inverse.Identity(), A).input_shape == (4,)
    np.testing.assert_allclose((-A)(jnp.ones(4)), -A(jnp.ones(4)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: inverse.Matrix(np.ones(3)), r"expected an array \[observed signal\].*got shape \(3,\)"),
        (
            lambda: inverse.Matrix(np.array([[1.0, np.inf], [np.nan, 0.0]])),
            "must be finite, but 2 of its 4 values are not",
        ),
        (lambda: inverse.Convolution(np.ones((3, 4))), r"odd sizes.*got shape \(3, 4\)"),
        (lambda: inverse.Convolution(np.ones((3, 3)), "mirror"), "unknown boundary 'mirror'"),
        (lambda: inverse.Convolution(np.array([[np.nan]])), "kernel must be finite"),
        (lambda: inverse.Downsample(0), "factor of at least 1, got 0"),
        (lambda: inverse.Downsample(1.5), "factor of at least 1, got 1.5"),
        (lambda: inverse.Wavelet("nonsense", 1), "unknown wavelet 'nonsense'"),
        (lambda: inverse.Wavelet("haar", 0), "at least one level, got levels=0"),
        (lambda: inverse.Mask(np.array([1.0, np.nan])), "weights must be finite"),
        (lambda: inverse.Mask(2.0), r"got one number; scale with 2.0 \* A"),
        (lambda: 0.0 * inverse.Identity(), "one number that is not zero"),
        (lambda: inverse.Stack(), "one or more operators"),
        (lambda: inverse.Composition(), "at least one operator"),
        (
            lambda: inverse.Matrix(np.ones((2, 3))) @ inverse.Matrix(np.ones((2, 3))),
            r"gives shape \(2,\).*takes \(3,\)",
        ),
        (lambda: inverse.gaussian_kernel(0.0), "expected a positive width in pixels, got 0"),
        (lambda: inverse.gaussian_kernel(1.0, -1), "radius of at least 0"),
    ],
)
def test_constructors_say_what_is_wrong(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("apply", "message"),
    [
        (lambda: inverse.Matrix(np.ones((2, 3)))(jnp.ones(2)), r"expected shape \(3,\), got \(2,\)"),
        (lambda: inverse.Matrix(np.ones((2, 3))).adjoint(jnp.ones((5, 2))), r"expected shape \(2,\), got \(5, 2\)"),
        (lambda: inverse.Convolution(BLUR)(jnp.ones(3)), r"expected an image \[height width\].*got shape \(3,\)"),
        (lambda: inverse.Downsample(2)(jnp.ones((5, 4))), r"not multiples of the factor 2; crop it to s\[:4, :4\]"),
        (lambda: inverse.Mask(np.ones(3))(jnp.ones(4)), r"has shape \(4,\), the mask \(3,\)"),
        (lambda: inverse.Gradient().adjoint(jnp.ones((3, 4, 4))), r"expected differences.*got \(3, 4, 4\)"),
        (lambda: inverse.Wavelet("haar", 1)(jnp.ones(3)), r"Wavelet: expected an image"),
        (lambda: inverse.Stack(inverse.Identity()).adjoint(jnp.ones(3)), "expected a tuple of 1 observations"),
    ],
)
def test_signals_of_the_wrong_shape_raise_while_tracing(apply, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(apply)


def test_what_is_no_operator_does_not_compose():
    with pytest.raises(TypeError, match="an operator composes with an operator, got ArrayImpl"):
        inverse.Identity() @ jnp.ones(3)


def test_conjugate_gradients_are_used_through_vmap_with_a_right_hand_side_of_zero():
    A = inverse.Convolution(BLUR, "zero")
    rhs = jnp.stack([jnp.zeros((4, 4)), jnp.ones((4, 4))])
    both = jax.vmap(lambda b: A.regularised_solve(b, jnp.asarray(0.1)))(rhs)
    np.testing.assert_array_equal(both[0], jnp.zeros((4, 4)))
    np.testing.assert_allclose(A.gram(both[1]) + 0.1 * both[1], rhs[1], atol=1e-5)


def test_conjugate_gradients_solve_a_badly_conditioned_system_or_say_that_they_did_not():
    blur = inverse.Convolution(7 * inverse.gaussian_kernel(1.0), boundary="zero")
    weight = jnp.asarray(1e-3)  # a condition of 49,000
    s = jax.random.normal(jax.random.key(0), (48, 48))
    rhs = blur.gram(s) + weight * s
    solution = blur.regularised_solve(rhs, weight)
    # The error is the machine precision times the condition, at most.
    assert float(jnp.linalg.norm(solution - s) / jnp.linalg.norm(s)) < 5e4 * jnp.finfo(jnp.float32).eps
    unfinished = conjugate_gradients(blur.regularised_gram(weight), rhs, maximum=3)
    assert bool(jnp.all(jnp.isnan(unfinished)))
