"""The linear quadratic regulator: scipy's Riccati equation, and the quadratic program that a finite horizon is."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.linalg
from control.rules import cost, lqr_time_varying, states, system

import mbdl
from mbdl import control, tracking


def parts(plant=None, price=None):
    plant, price = plant or system(), price or cost()
    A, B = (np.asarray(leaf) for leaf in (plant.model.transition, plant.model.control))
    return A, B, *(np.asarray(leaf) for leaf in (price.state, price.control, price.cross))


def test_the_stationary_policy_is_that_of_scipys_riccati_equation(x64):
    A, B, Q, R, N = parts()
    P = scipy.linalg.solve_discrete_are(A, B, Q, R, s=N)
    K = np.linalg.solve(R + B.T @ P @ B, N.T + B.T @ P @ A)
    policy = control.LQR(system(), cost())
    np.testing.assert_allclose(policy.value().matrix, P, rtol=1e-10)
    np.testing.assert_allclose(policy(states()), -states() @ K.T, rtol=1e-10)


def stacked(steps):
    """The matrices from all controls and the first state to all later states."""
    A, B, *_ = parts()
    free = np.concatenate([np.linalg.matrix_power(A, t + 1) for t in range(steps)])
    forced = np.zeros((2 * steps, steps))
    for t in range(steps):
        for s in range(t + 1):
            forced[2 * t : 2 * t + 2, s : s + 1] = np.linalg.matrix_power(A, t - s) @ B
    return free, forced


def test_a_finite_horizon_is_a_quadratic_program(x64):
    steps, target = 5, np.array([0.7, -0.3])
    price = cost(terminal=3.0 * jnp.eye(2), target=target)
    _, _, Q, R, N = parts(price=price)
    first = np.array([1.0, -2.0])
    free, forced = stacked(steps)

    def total(controls):
        later = (free @ first + forced @ controls).reshape(steps, 2) - target
        all_states = np.concatenate([(first - target)[None], later])
        value = later[-1] @ (3.0 * np.eye(2)) @ later[-1]
        for t in range(steps):
            x, u = all_states[t], controls[t : t + 1]
            value += x @ Q @ x + u @ R @ u + 2 * x @ N @ u
        return value

    # The function is quadratic, so its minimum follows from values on a grid of unit steps.
    zero, unit = total(np.zeros(steps)), np.eye(steps)
    gradient = np.array([(total(e) - total(-e)) / 2 for e in unit])
    hessian = np.array([[total(a + b) - total(a) - total(b) + zero for b in unit] for a in unit])
    best = -np.linalg.solve(hessian, gradient)

    quiet = system(process_noise=jnp.zeros((2, 2)), initial_mean=first, initial_covariance=jnp.zeros((2, 2)))
    seen = system(
        process_noise=jnp.zeros((2, 2)),
        initial_mean=first,
        initial_covariance=jnp.zeros((2, 2)),
        observation=jnp.eye(2),
        observation_noise=jnp.zeros((2, 2)),
    )
    policy = control.LQR(quiet, price, horizon=steps)
    runs = control.simulate(seen, policy, jax.random.key(0), steps=steps, runs=1, cost=price)
    np.testing.assert_allclose(runs.controls[0, :, 0], best, rtol=1e-8)
    np.testing.assert_allclose(runs.cost().mean * steps, total(best), rtol=1e-10)


def test_a_long_horizon_begins_like_the_stationary_policy(x64):
    price = cost(target=jnp.array([0.7, -0.3]))
    long, stationary = control.LQR(system(), price, horizon=400), control.LQR(system(), price)
    np.testing.assert_allclose(long(states(1)), stationary(states(1)), rtol=1e-8)


def test_time_varying_matrices_are_those_of_their_stage(x64):
    policy, xs = lqr_time_varying()
    A, B = (np.asarray(part.values) for part in (policy.transition, policy.control))
    Q, R, N = (np.asarray(leaf) for leaf in (policy.cost.state, policy.cost.control, policy.cost.cross))
    P, gains = np.zeros((2, 2)), []
    for t in reversed(range(5)):
        K = np.linalg.solve(R + B[t + 1].T @ P @ B[t + 1], N.T + B[t + 1].T @ P @ A[t + 1])
        P = Q + A[t + 1].T @ P @ A[t + 1] - (N + A[t + 1].T @ P @ B[t + 1]) @ K
        gains.insert(0, K)
    np.testing.assert_allclose(policy(xs)[:, 0], [-(K @ x)[0] for K, x in zip(gains, np.asarray(xs), strict=True)])


def test_the_stationary_policy_has_the_lowest_cost_and_it_is_the_trace(x64):
    plant = system(observation=jnp.eye(2), observation_noise=jnp.zeros((2, 2)), initial_mean=jnp.zeros(2))
    policy = control.LQR(plant, cost())
    how = {"key": jax.random.key(1), "steps": 400, "runs": 200, "cost": cost()}
    best = control.simulate(plant, policy, **how)
    expected = float(jnp.trace(policy.value().matrix @ plant.model.process_noise))
    assert abs(best.cost().mean - expected) < 4 * best.cost().standard_error
    gain = -policy(jnp.eye(2)).T
    for change in (0.05, -0.05):
        other = control.simulate(plant, control.LinearFeedback((1 + change) * gain), **how)
        assert other.difference(best).mean > 0


def test_gradients_go_through_the_riccati_equation(x64):
    def value(scale):
        price = control.QuadraticCost(scale * cost().state, cost().control)
        return jnp.sum(control.LQR(system(), price)(states()) ** 2)

    step = 1e-5
    difference = (value(1.0 + step) - value(1.0 - step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(value)(1.0), difference, rtol=1e-7)


def test_the_optimum_of_the_lqr_problem_of_the_convex_policies_paper(x64):
    generator = np.random.RandomState(0)
    A = generator.randn(4, 4)
    A /= np.max(np.abs(np.linalg.eigvals(A)))
    B = generator.randn(4, 2)
    plant = control.LinearSystem(A, B, process_noise=0.25 * np.eye(4))
    policy = control.LQR(plant, control.QuadraticCost(np.eye(4), np.eye(2)))
    np.testing.assert_allclose(0.25 * np.trace(policy.value().matrix), 1.80312, atol=5e-6)


def test_a_pair_that_cannot_be_stabilised():
    plant = control.LinearSystem(jnp.diag(jnp.array([1.2, 0.5])), jnp.array([[0.0], [1.0]]), process_noise=jnp.eye(2))
    with pytest.raises(ValueError, match=r"cannot be stabilised: the mode of eigenvalue 1.2"):
        control.LQR(plant, cost())


def test_a_cost_that_does_not_see_an_unstable_mode():
    plant = control.LinearSystem(1.2 * jnp.eye(1), jnp.eye(1), process_noise=jnp.eye(1))
    policy = control.LQR(plant, control.QuadraticCost(jnp.zeros((1, 1)), jnp.eye(1)))
    with pytest.raises(ValueError, match="the cost does not see a mode that does not decay"):
        policy(jnp.ones((1, 1)))
    with pytest.raises(ValueError, match="there is no value function"):
        policy.value()


def test_bad_arguments():
    with pytest.raises(TypeError, match=r"expected a linear system .*, got NonlinearGaussian.*IterativeLQR"):
        control.LQR(tracking.lorenz(q2=0.1, r2=1.0), cost())
    with pytest.raises(TypeError, match=r"expected a control.QuadraticCost, got Cost"):
        control.LQR(system(), control.Cost(lambda stage: jnp.sum(stage.state)))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="the cost of the state is of size 3, and the system has a state of size 2"):
        control.LQR(system(), control.QuadraticCost(jnp.eye(3), jnp.eye(1)))
    with pytest.raises(ValueError, match="cost of the control is of size 2, and the system has a control of size 1"):
        control.LQR(system(), control.QuadraticCost(jnp.eye(2), jnp.eye(2)))
    with pytest.raises(ValueError, match="expected horizon of at least 1, got 0"):
        control.LQR(system(), cost(), horizon=0)
    with pytest.raises(ValueError, match="has no stationary policy; give a horizon"):
        control.LQR(lqr_time_varying_model(), cost())
    with pytest.raises(ValueError, match="the model has no control input"):
        control.LQR(tracking.canonical(2, 2, q2=1.0, r2=1.0), cost())


def lqr_time_varying_model():
    return tracking.LinearGaussian(
        transition=tracking.TimeVarying(jnp.zeros((6, 2, 2))),
        observation=jnp.eye(2),
        control=jnp.ones((2, 1)),
        process_noise=jnp.eye(2),
        observation_noise=jnp.eye(2),
        initial_mean=jnp.zeros(2),
        initial_covariance=jnp.eye(2),
    )


def test_a_run_beyond_the_horizon_says_so():
    policy = control.LQR(system(), cost(), horizon=3)
    with pytest.raises(ValueError, match="its horizon is 3 stages: a longer run needs a longer horizon"):
        policy(states(4))


def test_weights_are_learned_under_their_constraint():
    plain = control.LQR(system(), cost(cross=None))
    policy = mbdl.learn(plain, lambda p: p.cost.state, constraint=mbdl.positive_definite)
    assert mbdl.spectrum(policy).strategy == "learned optimisation"
    np.testing.assert_allclose(policy(states()), plain(states()), rtol=1e-4)


def test_training_in_the_closed_loop_mends_wrong_weights():
    plant, price = system(observation=jnp.eye(2), observation_noise=jnp.zeros((2, 2))), cost(cross=None)
    wrong = control.QuadraticCost(jnp.diag(jnp.array([0.02, 0.2])), price.control)
    policy = mbdl.learn(control.LQR(plant, wrong), lambda p: p.cost.state, constraint=mbdl.positive_definite)
    risk = control.closed_loop(plant, price, horizon=15, runs=8)
    fit = mbdl.fit(policy, risk, optax.adam(5e-2), steps=60, key=jax.random.key(0))
    weights = mbdl.resolve(fit.rule).cost.state
    assert jnp.all(jnp.linalg.eigvalsh(weights) > 0)
    assert jnp.max(jnp.abs(weights - wrong.state)) > 0.05
    how = {"steps": 15, "runs": 50, "cost": price}
    first, learned = (control.simulate(plant, p, jax.random.key(1), **how) for p in (policy, fit.rule))
    mean, error = learned.difference(first)
    assert mean < -3 * error
