"""The solvers against scikit-learn, closed forms and each other; implicit gradients; defaults and errors."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inverse.tools import BLUR, KERNEL, normal
from sklearn.linear_model import Lasso

import mbdl
from mbdl import core, inverse, networks

WEIGHT = 0.3


def lasso(seed=0, shape=(20, 30)):
    """A LASSO and its solution by scikit-learn, whose objective is divided by the number of observations."""
    rng = np.random.default_rng(seed)
    A = rng.normal(size=shape) / np.sqrt(shape[0])
    truth = np.where(rng.random(shape[1]) < 0.15, rng.normal(size=shape[1]) * 3, 0)
    x = A @ truth + 0.05 * rng.normal(size=shape[0])
    model = Lasso(alpha=WEIGHT / shape[0], fit_intercept=False, tol=1e-14, max_iter=100_000).fit(A, x)
    return jnp.asarray(A), jnp.asarray(x), model.coef_


def solvers(A, prior):
    fidelity, factored = inverse.LeastSquares(inverse.Matrix(A)), inverse.LeastSquares(inverse.Matrix(A).factored())
    return {
        "ISTA": inverse.ISTA(fidelity, prior),
        "FISTA": inverse.FISTA(fidelity, prior),
        "FISTA without restart": inverse.FISTA(fidelity, prior, restart=False),
        "ADMM": inverse.ADMM(fidelity, prior),
        "ADMM, factored": inverse.ADMM(factored, prior, penalty=0.5),
        "ADMM, adaptive": inverse.ADMM(factored, prior, penalty=50.0, adaptive=True),
    }


NAMES = list(solvers(jnp.eye(2), inverse.Zero()))


@pytest.mark.parametrize("name", NAMES)
def test_the_lasso_is_that_of_scikit_learn(name, x64):
    A, x, expected = lasso()
    solution = solvers(A, inverse.L1(WEIGHT))[name].solve(x, tolerance=1e-12, maximum=100_000)
    assert bool(solution.status == core.Status.converged)
    # Iterates that change by 1e-12 are within that over one less the rate of the minimiser; the rate is below 0.999.
    np.testing.assert_allclose(solution.decision, expected, atol=1e-8)
    # Exactly sparse: the prior's own output is the decision.
    np.testing.assert_array_equal(solution.decision == 0, expected == 0)


def test_restart_and_momentum_save_iterations_and_a_bad_penalty_is_mended(x64):
    A, x, _ = lasso()
    rules = solvers(A, inverse.L1(WEIGHT / 10))
    taken = {name: int(rule.solve(x, tolerance=1e-9).iterations) for name, rule in rules.items()}
    assert taken["FISTA"] < taken["FISTA without restart"]
    assert taken["FISTA"] < taken["ISTA"] / 2
    fixed = inverse.ADMM(rules["ADMM, adaptive"].fidelity, inverse.L1(WEIGHT / 10), penalty=50.0)
    assert taken["ADMM, adaptive"] < int(fixed.solve(x, tolerance=1e-9).iterations) / 3


def test_batches_have_a_penalty_each(x64):
    A, x, _ = lasso()
    rule = solvers(A, inverse.L1(WEIGHT))["ADMM, adaptive"]
    xs = jnp.stack([x, 100 * x])
    rules = [core.resolve(rule)] * 2
    scales = []
    for solver, one in zip(rules, xs, strict=True):
        state = solver.init(one)
        for _ in range(30):
            state = solver.step(state, one)
        scales.append(float(state.scale))
    assert scales[0] != scales[1]
    together = jax.vmap(lambda one: rule.solve(one, tolerance=1e-10).decision)(xs)
    for k in range(2):
        np.testing.assert_allclose(together[k], rule.solve(xs[k], tolerance=1e-10).decision, atol=1e-7)


def test_a_changed_penalty_keeps_the_dual_variable_itself(x64):
    A, x, _ = lasso()
    fidelity = inverse.LeastSquares(inverse.Matrix(A))
    fixed, adaptive = (
        inverse.ADMM(fidelity, inverse.L1(WEIGHT), penalty=50.0, adaptive=adaptive) for adaptive in (False, True)
    )
    expected, found = (rule.step(rule.init(x), x) for rule in (fixed, adaptive))
    assert float(found.scale) != 1
    # The state holds the dual divided by the penalty.
    np.testing.assert_allclose(found.scale * found.dual, expected.dual, rtol=1e-12)


def test_the_fixed_point_map_of_fista_is_the_step_of_ista(x64):
    A, x, _ = lasso()
    rules = solvers(A, inverse.L1(WEIGHT))
    state = rules["FISTA"].step(rules["FISTA"].step(rules["FISTA"].init(x), x), x)
    found = rules["FISTA"].fixed_point(state, x)
    np.testing.assert_array_equal(found.signal, rules["ISTA"].step(state.signal, x))
    np.testing.assert_array_equal(found.ahead, found.signal)


@pytest.mark.parametrize("solver", [inverse.ISTA, inverse.FISTA, inverse.ADMM, inverse.GradientDescent])
def test_ridge_regression_has_its_closed_form(solver, x64):
    A, x, _ = lasso()
    rule = solver(inverse.LeastSquares(inverse.Matrix(A)), inverse.SquaredL2(0.5))
    expected = np.linalg.solve(A.T @ A + 0.5 * np.eye(30), A.T @ x)
    np.testing.assert_allclose(rule.solve(x, tolerance=1e-13).decision, expected, atol=1e-9)


@pytest.mark.parametrize("name", ["ISTA", "FISTA", "ADMM", "ADMM, factored", "ADMM, adaptive"])
def test_implicit_gradients_match_central_differences(name, x64):
    A, x, _ = lasso(1, (8, 6))
    rule = solvers(A, inverse.L1(WEIGHT))[name]
    direction = normal(5, 8)

    def value(weight, x):
        rule_ = mbdl.substitute(rule, lambda r: r.prior, inverse.L1(weight))
        return jnp.sum(rule_.solve(x, tolerance=1e-14, maximum=100_000).decision ** 2)

    slope_weight, slope_x = jax.grad(value, (0, 1))(WEIGHT, x)
    step = 1e-5
    numeric = (value(WEIGHT + step, x) - value(WEIGHT - step, x)) / (2 * step)
    np.testing.assert_allclose(slope_weight, numeric, rtol=1e-6)
    along = (value(WEIGHT, x + step * direction) - value(WEIGHT, x - step * direction)) / (2 * step)
    np.testing.assert_allclose(jnp.vdot(slope_x, direction), along, rtol=1e-6)


def test_the_minimiser_does_not_depend_on_the_step_size_but_a_denoiser_does():
    fidelity = inverse.LeastSquares(inverse.Matrix(normal(0, 3, 4)))
    for solver in (inverse.ISTA, inverse.FISTA, inverse.ADMM):
        assert len(solver(fidelity, inverse.L1(0.1)).hyperparameters()) == 1
        assert solver(fidelity, inverse.DenoiserPrior(jax.nn.relu)).hyperparameters() == ()


def test_super_resolution_by_admm_and_fista_agree(x64):
    A = inverse.Downsample(2) @ inverse.Convolution(BLUR)
    x = A(normal(0, 12, 10).cumsum(0)) + 0.01 * normal(1, 6, 5)
    prior = inverse.L1(0.05, inverse.Wavelet("db2", 2)) + inverse.SquaredL2(0.01)
    fidelity = inverse.LeastSquares(A)
    found = [solver(fidelity, prior).solve(x, tolerance=1e-12).decision for solver in (inverse.FISTA, inverse.ADMM)]
    np.testing.assert_allclose(*found, atol=1e-8)


@pytest.mark.parametrize("boundary", ["periodic", "zero"])
@pytest.mark.parametrize("shape", [(8, 8), (3, 17), (5, 6, 3)])
def test_the_default_step_size_is_safe_for_images_of_any_size(boundary, shape, x64):
    """Proximal gradient descent with a safe step never increases the objective."""
    prior = inverse.L1(0.05)
    rule = inverse.ISTA(inverse.LeastSquares(inverse.Downsample(2) @ inverse.Convolution(KERNEL, boundary)), prior)
    x = normal(2, *shape)
    iterates = rule(x, trace=True)
    values = [float(rule.fidelity(s, x) + prior(s)) for s in iterates[::10]]
    assert all(b <= a + 1e-12 for a, b in itertools.pairwise(values))


def test_initial_points():
    A = inverse.Downsample(2) @ inverse.Convolution(inverse.gaussian_kernel(1.0))
    fidelity, x = inverse.LeastSquares(A), jnp.full((6, 7), 0.6)
    assert isinstance(inverse.ISTA(fidelity, inverse.L1(0.1)).initial, inverse.Zeros)
    assert isinstance(inverse.ISTA(fidelity, inverse.TotalVariation(0.1)).initial, inverse.ScaledAdjoint)
    np.testing.assert_array_equal(inverse.Zeros()(fidelity, x), jnp.zeros((12, 14)))
    start = inverse.ScaledAdjoint()(fidelity, x)
    # Of the right brightness, where the bare adjoint has a quarter of it, and the best multiple.
    np.testing.assert_allclose(jnp.mean(start), 0.6, rtol=0.05)
    best = fidelity(start, x)
    assert all(float(fidelity(c * start, x)) > float(best) for c in (0.95, 1.05))
    np.testing.assert_array_equal(inverse.ScaledAdjoint()(fidelity, jnp.zeros((2, 2))), jnp.zeros((4, 4)))


def test_a_chosen_initial_point_is_where_the_iteration_begins():
    fidelity = inverse.LeastSquares(inverse.Matrix(jnp.eye(2)))
    rule = inverse.ISTA(fidelity, inverse.Zero(), step_size=1e-6, iterations=1, initial=inverse.ScaledAdjoint())
    np.testing.assert_allclose(rule(jnp.ones(2)), 1.0, rtol=1e-5)


def test_plug_and_play_and_a_learned_prox_run_on_grey_and_colour_of_any_size():
    A = inverse.Downsample(2) @ inverse.Convolution(BLUR)
    network = networks.DnCNN(width=4, depth=2, noise_conditioned=True, key=jax.random.key(0))
    rule = inverse.ADMM(inverse.LeastSquares(A), inverse.DenoiserPrior(network, 0.05), iterations=2)
    grey = rule(normal(0, 5, 7))
    assert grey.shape == (10, 14)
    assert rule(normal(0, 4, 3, 3)).shape == (8, 6, 3)
    unfolded = mbdl.unfold(rule, 2, untie=lambda r: (r.penalty, r.prior.noise_level), constraint=mbdl.positive)
    np.testing.assert_allclose(unfolded(normal(0, 5, 7)), grey, atol=1e-6)


def test_observations_of_several_operators():
    A = inverse.Stack(inverse.Identity(), inverse.Gradient())
    s = normal(3, 5, 4)
    rule = inverse.FISTA(inverse.LeastSquares(A), inverse.Zero(), iterations=200)
    np.testing.assert_allclose(rule(A(s)), s, atol=1e-3)
    with pytest.raises(ValueError, match="expected a tuple of 2 observations"):
        rule(s)


def test_integer_observations_are_numbers_too():
    rule = inverse.ISTA(inverse.LeastSquares(inverse.Downsample(2)), inverse.L1(0.1), iterations=3)
    assert rule(jnp.ones((2, 2), jnp.int32)).dtype == np.dtype("float32")


@pytest.mark.parametrize("solver", [inverse.ISTA, inverse.FISTA, inverse.ADMM])
def test_solvers_say_what_is_wrong(solver):
    fidelity = inverse.LeastSquares(inverse.Matrix(np.ones((2, 3))))
    size = "penalty" if solver is inverse.ADMM else "step_size"
    with pytest.raises(ValueError, match=f"the {size.replace('_', ' ')} must be positive, got a smallest value of 0"):
        solver(fidelity, inverse.L1(0.1), **{size: 0.0})
    with pytest.raises(TypeError, match="the prior MLP is no AbstractProximable.*stands here as DenoiserPrior"):
        solver(fidelity, networks.MLP(3, 3, width=4, depth=1, key=jax.random.key(0)))
    with pytest.raises(TypeError, match=r"expected a fidelity such as .*LeastSquares\(operator\), got Matrix"):
        solver(fidelity.operator, inverse.L1(0.1))
    with pytest.raises(ValueError, match=r"Matrix: the observation: expected shape \(2,\), got \(5,\)"):
        solver(fidelity, inverse.L1(0.1))(jnp.ones(5))
    with pytest.raises(ValueError, match="iterations of at least 1"):
        solver(fidelity, inverse.L1(0.1), iterations=0)
    with pytest.raises(ValueError, match="gives no step size"):
        solver(inverse.LeastSquares(inverse.Matrix(np.zeros((2, 3)))), inverse.L1(0.1))


def test_gradient_descent_wants_a_smooth_prior():
    fidelity = inverse.LeastSquares(inverse.Identity())
    with pytest.raises(TypeError, match="the prior L1 is no AbstractSmooth. Use ISTA, FISTA or ADMM"):
        inverse.GradientDescent(fidelity, inverse.L1(0.1))


def test_least_squares():
    fidelity = inverse.LeastSquares(inverse.Downsample(2))
    s, x = normal(0, 4, 4), normal(1, 2, 2)
    np.testing.assert_allclose(fidelity(s, x), 0.5 * np.sum((np.asarray(s)[::2, ::2] - x) ** 2), rtol=1e-6)
    np.testing.assert_allclose(fidelity.gradient(s, x), jax.grad(fidelity)(s, x), atol=1e-6)
    found = fidelity.prox(s, x, 0.7)
    np.testing.assert_allclose(fidelity.gradient(found, x) + (found - s) / 0.7, 0, atol=1e-5)
    assert float(fidelity.lipschitz()) == 1
    with pytest.raises(ValueError, match=r"the observation has shape \(3, 2\), but the operator gives \(2, 2\)"):
        fidelity(s, jnp.ones((3, 2)))
    with pytest.raises(TypeError, match="expected an operator, got ndarray; wrap a matrix"):
        inverse.LeastSquares(np.ones((2, 2)))
