"""Predictive control of a linear system with bounds: the program with all its states, by Clarabel."""

import cvxpy
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from control.rules import cost, lqr_time_varying, nonlinear, system

import mbdl
from mbdl import control, tracking

NEAR = jnp.array([[1.5, -1.0], [2.5, -0.5], [-2.0, 1.0]])  # a bound of the state decides at the last two
FAR = jnp.array([[1.5, -1.0], [-3.0, 2.0], [0.4, 2.5]])  # from the second no control keeps the bounds
LIMITS = control.Constraints(control=(-0.8, 1.0), state=(jnp.array([-jnp.inf, -1.2]), jnp.array([jnp.inf, 1.4])))


def plant():
    return system(observation=jnp.eye(2), observation_noise=jnp.zeros((2, 2)))


def in_all_variables(state, terminal, limits, horizon, softness=None, target=0.0):
    """The first control of the program in controls and states, and its optimal value."""
    model, price = plant().model, cost()
    A, B, Q, R, N = (
        np.asarray(leaf, np.float64)
        for leaf in (model.transition, model.control, price.state, price.control, price.cross)
    )
    X, U, S = cvxpy.Variable((horizon + 1, 2)), cvxpy.Variable((horizon, 1)), cvxpy.Variable((horizon, 2), nonneg=True)
    joint = np.linalg.cholesky(np.block([[Q, N], [N.T, R]])).T
    last = np.linalg.cholesky(np.asarray(terminal.matrix, np.float64)).T
    total = sum(cvxpy.sum_squares(joint @ cvxpy.hstack([X[t] - target, U[t]])) for t in range(horizon))
    total += cvxpy.sum_squares(last @ X[horizon]) + 2 * np.asarray(terminal.linear) @ X[horizon]
    rules = [X[0] == np.asarray(state), *(X[t + 1] == A @ X[t] + B @ U[t] for t in range(horizon))]
    rules += [limits.control[0] <= U, limits.control[1] >= U]
    if limits.state is not None:
        low, high = (np.asarray(bound) for bound in limits.state)
        rules += [X[1:, 1] >= low[1] - S[:, 1], X[1:, 1] <= high[1] + S[:, 1]]
    total += 0 if softness is None else softness * (cvxpy.sum(S) + cvxpy.sum_squares(S))
    rules += [S == 0] if softness is None else []
    problem = cvxpy.Problem(cvxpy.Minimize(total), rules)
    problem.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    return None if U.value is None else U.value[0]


@pytest.mark.parametrize("softness", [None, 5.0])
def test_it_is_the_program_in_controls_and_states(x64, softness):
    target = jnp.array([0.5, -0.2])
    policy = control.LinearPredictiveControl(plant(), cost(target=target), LIMITS, horizon=6, softness=softness)
    states = NEAR if softness is None else FAR
    expected = [in_all_variables(x, policy.terminal, LIMITS, 6, softness, target) for x in states]
    # Clarabel is asked for 1e-11 of the value, so that its minimiser is good to about the root of it.
    np.testing.assert_allclose(policy(states), expected, atol=1e-5)
    assert np.any(np.asarray(expected) > -0.79)


WIDE = control.Constraints(control=(-50.0, 50.0), state=(jnp.array([-jnp.inf, -90.0]), jnp.array([jnp.inf, 90.0])))


def test_without_active_bounds_it_is_the_regulator(x64):
    price = cost(target=jnp.array([0.7, -0.3]))
    policy = control.LinearPredictiveControl(plant(), price, WIDE, horizon=6)
    np.testing.assert_allclose(policy(NEAR), control.LQR(plant(), price)(NEAR), rtol=1e-8)


def test_a_terminal_matrix_of_ones_own(x64):
    own, target = 7.0 * jnp.eye(2), jnp.zeros(2)
    policy = control.LinearPredictiveControl(plant(), cost(target=target), WIDE, horizon=6, terminal=own)
    same = control.LQR(plant(), cost(terminal=own, target=target), horizon=6)
    np.testing.assert_allclose(policy(NEAR)[0], same(NEAR)[0], rtol=1e-8)


def test_the_terminal_value_is_learned_in_the_closed_loop(x64):
    quiet = system(
        observation=jnp.eye(2), observation_noise=jnp.zeros((2, 2)), process_noise=0.05 * jnp.eye(2),
        initial_covariance=0.01 * jnp.eye(2),
    )  # fmt: skip
    limits = control.Constraints(control=(-0.8, 1.0))
    policy = control.LinearPredictiveControl(quiet, cost(), limits, horizon=2, terminal=0.1 * jnp.eye(2))
    learned = mbdl.learn(policy, lambda p: p.terminal.matrix, constraint=mbdl.positive_definite)
    trained, rest = mbdl.core.partition(learned)
    flat, unravel = jax.flatten_util.ravel_pytree(trained)
    risk = control.closed_loop(quiet, cost(), horizon=8, runs=3, key=jax.random.key(1))
    value = jax.jit(jax.value_and_grad(lambda flat: risk(mbdl.core.combine(unravel(flat), rest))))
    direction = jnp.array([1.0, -0.5, 0.3])
    step = 1e-5
    difference = (value(flat + step * direction)[0] - value(flat - step * direction)[0]) / (2 * step)
    np.testing.assert_allclose(value(flat)[1] @ direction, difference, rtol=1e-6)
    assert difference < 0


def test_an_infeasible_step_is_named_and_leaves_the_others():
    policy = control.LinearPredictiveControl(plant(), cost(), LIMITS, horizon=3)
    stuck = jnp.array([[0.1, 0.1], [0.0, 9.0]])
    with pytest.raises(ValueError, match=r"first at step 1 of 2\. The program is infeasible: .*soften the state"):
        policy(stuck)
    controls = jax.vmap(policy)(stuck[:, None])
    assert bool(jnp.isfinite(controls[0, 0, 0]))
    assert bool(jnp.isnan(controls[1, 0, 0]))


def test_bad_arguments():
    with pytest.raises(TypeError, match="LinearPredictiveControl: expected a linear system"):
        control.LinearPredictiveControl(nonlinear(), cost(), LIMITS, horizon=3)
    limits = control.Constraints(inequality=lambda stage: stage.state)
    with pytest.raises(ValueError, match="keeps bounds of controls and states"):
        control.LinearPredictiveControl(plant(), cost(), limits, horizon=3)
    limits = control.Constraints(state=(jnp.zeros(3), jnp.ones(3)))
    with pytest.raises(ValueError, match=r"the bounds of the state have shape \(3,\)"):
        control.LinearPredictiveControl(plant(), cost(), limits, horizon=3)
    with pytest.raises(ValueError, match=r"the terminal matrix has shape \(3, 3\)"):
        control.LinearPredictiveControl(plant(), cost(), LIMITS, horizon=3, terminal=jnp.eye(3))
    with pytest.raises(ValueError, match="softness must be positive"):
        control.LinearPredictiveControl(plant(), cost(), LIMITS, horizon=3, softness=-1.0)
    with pytest.raises(ValueError, match="horizon of at least 1"):
        control.LinearPredictiveControl(plant(), cost(), LIMITS, horizon=0)
    varying = lqr_time_varying()[0]
    model = tracking.LinearGaussian(
        transition=varying.transition, control=varying.control, observation=jnp.eye(2), process_noise=jnp.eye(2),
        observation_noise=jnp.eye(2), initial_mean=jnp.zeros(2), initial_covariance=jnp.eye(2),
    )  # fmt: skip
    with pytest.raises(ValueError, match="the system depends on the time"):
        control.LinearPredictiveControl(model, cost(), LIMITS, horizon=3)
