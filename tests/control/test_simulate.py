"""Closed loops: the simulator of `tracking`, textbook loops in Python, paired noise, and what is said of bad ones."""

import cvxpy
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from control.rules import cost, lqg, system

import mbdl
from mbdl import control, tracking

KEY = jax.random.key(3)


@pytest.mark.parametrize("starts", ["at", "before"])
def test_without_control_it_is_the_simulation_of_the_model(starts):
    model = tracking.LinearGaussian(
        transition=0.9 * jnp.eye(2), observation=jnp.ones((1, 2)), control=jnp.ones((2, 1)),
        process_noise=jnp.eye(2), observation_noise=jnp.eye(1), initial_mean=jnp.ones(2),
        initial_covariance=jnp.eye(2), starts=starts,
    )  # fmt: skip
    idle = control.LinearFeedback(jnp.zeros((1, 1)))
    runs = control.simulate(model, idle, KEY, steps=6, runs=3, cost=cost())
    expected = tracking.simulate(model, KEY, steps=6, runs=3, control=jnp.zeros((6, 1)))
    np.testing.assert_allclose(runs.states[:, :-1], expected.states, rtol=1e-5)
    np.testing.assert_allclose(runs.observations, expected.observations, rtol=1e-5)


def swing(state, push, noise, time):
    return jnp.array([state[0] + 0.1 * state[1], state[1] - 0.1 * jnp.sin(state[0]) + push[0]]) + noise + 0.01 * time


def pendulum(**changes):
    how = {
        "noise": lambda key, time: 0.1 * jax.random.normal(key, (2,)),
        "initial": lambda key: jax.random.normal(key, (2,)),
        "control_size": 1,
        "observation": lambda state, key, time: state + 0.1 * jax.random.normal(key, (2,)),
    }
    return control.System(swing, **{**how, **changes})


def test_a_run_is_the_textbook_loop(x64):
    plant, policy = pendulum(), control.LinearFeedback(jnp.array([[0.3, 0.5]]))
    price = control.Cost(lambda stage: jnp.sum(stage.following**2) + stage.time * jnp.sum(stage.control**2),
                         lambda state: 7 * state[0])  # fmt: skip
    limits = control.Constraints(
        control=(-0.2, 0.1), state=(-jnp.inf, 0.5), inequality=lambda stage: stage.state[0] - 1
    )
    runs = control.simulate(plant, policy, KEY, steps=4, runs=2, cost=price, constraints=limits)
    run_key = jax.random.fold_in(KEY, 1)
    first, key = jax.random.split(run_key)
    x, total = jax.random.normal(first, (2,)), 0.0
    for t in range(4):
        y = x + 0.1 * jax.random.normal(jax.random.split(jax.random.fold_in(key, t))[1], (2,))
        u = -jnp.array([[0.3, 0.5]]) @ y
        w = 0.1 * jax.random.normal(jax.random.split(jax.random.fold_in(key, t + 1))[0], (2,))
        after = swing(x, u, w, t + 1)
        np.testing.assert_allclose(runs.observations[1, t], y)
        np.testing.assert_allclose(runs.controls[1, t], u)
        np.testing.assert_allclose(runs.states[1, t + 1], after)
        stage_cost = np.sum(after**2) + t * np.sum(u**2)
        np.testing.assert_allclose(runs.costs[1, t], stage_cost)
        broken = max(0, -0.2 - u[0], u[0] - 0.1, *(after - 0.5), x[0] - 1)
        np.testing.assert_allclose(runs.violations[1, t], broken)
        x, total = after, total + stage_cost
    np.testing.assert_allclose(runs.run_costs[1], (total + 7 * x[0]) / 4)
    known = np.asarray(runs.run_costs)
    mean, error = runs.cost()
    np.testing.assert_allclose([mean, error], [known.mean(), abs(known[0] - known[1]) / 2])


def test_two_policies_meet_the_same_noise():
    plant = system(observation=jnp.eye(2), observation_noise=jnp.zeros((2, 2)))
    how = {"key": KEY, "steps": 5, "runs": 4, "cost": cost()}
    gains = [jnp.array([[0.2, 0.9]]), jnp.array([[0.1, 0.7]])]
    one, other = (control.simulate(plant, control.LinearFeedback(gain), **how) for gain in gains)
    A, B = plant.model.transition, plant.model.control
    noise = [run.states[:, 1:] - run.states[:, :-1] @ A.T - run.controls @ B.T for run in (one, other)]
    np.testing.assert_allclose(noise[0], noise[1], atol=1e-5)
    np.testing.assert_allclose(one.difference(other).mean, one.cost().mean - other.cost().mean, rtol=1e-3)
    longer = control.simulate(plant, control.LinearFeedback(gains[0]), KEY, steps=9, runs=5, cost=cost())
    np.testing.assert_allclose(longer.states[:4, :6], one.states, rtol=1e-5)
    with pytest.raises(ValueError, match=r"got \(4, 5\) and \(5, 9\) runs and stages"):
        one.difference(longer)


def test_a_state_that_is_known_and_seen_draws_no_noise_for_it():
    how = {"process_noise": 0.1 * jnp.eye(2), "initial_mean": jnp.ones(2)}
    zero, drawn = jnp.zeros((2, 2)), []
    for given in ({}, {"initial_covariance": zero, "observation_noise": zero}):
        plant = control.LinearSystem(0.9 * jnp.eye(2), jnp.ones((2, 1)), **how, **given)
        runs = control.simulate(plant, control.LQR(plant, cost()), KEY, steps=5, runs=3, cost=cost())
        np.testing.assert_array_equal(runs.observations, runs.states[:, :-1])
        drawn.append(runs.states)
        ranks = [
            tracking.factor_of(c).shape[1] for c in (plant.model.initial_covariance, plant.model.observation_noise)
        ]
        assert ranks == ([2, 2] if given else [0, 0])
    np.testing.assert_array_equal(*drawn)


def test_the_table_of_policies_has_paired_differences():
    plant = system(observation=jnp.eye(2), observation_noise=jnp.zeros((2, 2)))
    policies = {"LQR": control.LQR(plant, cost()), "other": control.LinearFeedback(jnp.array([[0.2, 1.0]])),
                "none": control.LinearFeedback(jnp.array([[-9.0, 0.0]]))}  # fmt: skip
    table = control.compare_policies(
        policies, plant, cost(), KEY, steps=80, runs=6, reference="LQR",
        constraints=control.Constraints(control=(-1.0, 1.0)),
    )  # fmt: skip
    runs = [control.simulate(plant, policies[name], KEY, steps=80, runs=6, cost=cost()) for name in ("other", "LQR")]
    np.testing.assert_allclose(table.difference("other"), runs[0].difference(runs[1]), rtol=1e-5)
    largest = float(np.max(np.abs(runs[1].controls), axis=(1, 2)).mean()) - 1
    np.testing.assert_allclose(table.mean("LQR", "violation")[0], largest, rtol=1e-5)
    assert table.to_dict()["bad"] == [0, 0, 6]
    with pytest.raises(ValueError, match="the reference 'best' is not among"):
        control.compare_policies(policies, plant, cost(), KEY, steps=5, runs=2, reference="best")
    with pytest.raises(ValueError, match="at least one policy"):
        control.compare_policies({}, plant, cost(), KEY, steps=5, runs=2)


def test_a_closed_loop_that_diverges_is_named():
    plant = system(observation=jnp.eye(2), observation_noise=jnp.zeros((2, 2)))
    policy = control.LinearFeedback(jnp.array([[-9.0, 0.0]]))
    how = {"steps": 80, "runs": 3, "cost": cost()}
    with pytest.raises(ValueError, match=r"LinearFeedback diverged in 3 of 3 runs, first at stage \d+ of run \d"):
        control.simulate(plant, policy, KEY, **how)
    runs = control.simulate(plant, policy, KEY, throw=False, **how)
    at = int(runs.diverged_at[0])
    assert np.isfinite(runs.costs[0, at - 1])
    assert not np.isfinite(runs.costs[0, at])


def held_below(start, jump=None):
    """A policy that holds a state below one by a control of size one at most, so that none is feasible above two; and a
    state that starts somewhere and moves by a jump at time two."""
    x, price, u = cvxpy.Parameter(1, "x"), cvxpy.Parameter(name="price", nonneg=True), cvxpy.Variable(1, "u")
    problem = cvxpy.Problem(cvxpy.Minimize(price * cvxpy.sum_squares(u)), [x + u <= 1, cvxpy.abs(u) <= 1])
    policy = control.ConvexPolicy(problem, context=[x], decision=u, parameters={price: 1.0})
    plant = control.System(
        lambda state, control, noise, time: state + control + noise,
        noise=lambda key, time: jnp.where(time == 2, jump or 0.0, jnp.zeros(1)),
        initial=start, control_size=1,
    )  # fmt: skip
    return plant, policy, control.QuadraticCost(jnp.eye(1), jnp.eye(1))


def test_a_policy_that_has_no_control_is_named_and_says_why():
    for start, jump, stage in ((3.0, None, 0), (0.5, 4.0, 2)):
        plant, policy, price = held_below(jnp.full(1, start), jump)
        message = (
            f"ConvexPolicy broke off in 2 of 2 runs, first at stage {stage} of run 0: the policy's control is not "
            r"finite. The problem of that context is infeasible: no control .* \(elastic={...: price}\); throw=False"
        )
        with pytest.raises(ValueError, match=message):
            control.simulate(plant, policy, KEY, steps=4, runs=2, cost=price)
        runs = control.simulate(plant, policy, KEY, steps=4, runs=2, cost=price, throw=False)
        assert runs.diverged_at.tolist() == [stage, stage]
    short = control.LQR(system(), cost(), horizon=3)
    seen = system(observation=jnp.eye(2), observation_noise=jnp.zeros((2, 2)))
    with pytest.raises(ValueError, match="LQR broke off .* at stage 3 of run 0: .* its horizon is 3 stages"):
        control.simulate(seen, short, KEY, steps=5, runs=2, cost=cost())
    both = control.LQG(lqg()[0].filter, short)
    with pytest.raises(ValueError, match="LQG broke off .* at stage 3 .* the KalmanFilter is not .* the LQR has no"):
        control.simulate(system(), both, KEY, steps=5, runs=2, cost=cost())


def test_a_first_state_that_is_not_finite_is_not_the_policys_fault():
    plant, policy, price = held_below(lambda key: jnp.full(1, jnp.inf))
    with pytest.raises(ValueError, match="ConvexPolicy diverged in 1 of 1 runs, first at stage 0 of run 0"):
        control.simulate(plant, policy, KEY, steps=2, runs=1, cost=price)


def test_nothing_raises_under_a_transformation():
    plant = system(observation=jnp.eye(2), observation_noise=jnp.zeros((2, 2)))

    def value(gain):
        policy = control.LinearFeedback(gain)
        return jnp.mean(control.simulate(plant, policy, KEY, steps=80, runs=2, cost=cost()).run_costs)

    for transformed in (jax.grad(value), jax.jit(value)):
        assert not jnp.isfinite(transformed(jnp.array([[-9.0, 0.0]]))).any()


def test_a_decision_that_does_not_fit():
    with pytest.raises(ValueError, match=r"an array of shape \(2,\), and the system takes a control of shape \(1,\)"):
        control.simulate(system(), control.LinearFeedback(jnp.ones((2, 1))), KEY, steps=2, runs=1, cost=cost())


def test_bad_arguments():
    policy = control.LinearFeedback(jnp.ones((1, 1)))
    with pytest.raises(ValueError, match="expected steps of at least 1, got 0"):
        control.simulate(system(), policy, KEY, steps=0, runs=1, cost=cost())
    with pytest.raises(TypeError, match=r"expected a policy, .* got Constraints"):
        control.simulate(system(), control.Constraints(), KEY, steps=1, runs=1, cost=cost())  # pyright: ignore
    with pytest.raises(TypeError, match="expected a system of mbdl.control or a model .* got int"):
        control.simulate(3, policy, KEY, steps=1, runs=1, cost=cost())
    with pytest.raises(ValueError, match=r"a stage costs a number, got an array of shape \(2,\)"):
        control.simulate(system(), policy, KEY, steps=1, runs=1, cost=control.Cost(lambda stage: stage.state))
    with pytest.raises(TypeError, match="expected functions stage"):
        control.Cost(3.0)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="expected noise to be a function"):
        pendulum(noise=3.0)
    with pytest.raises(ValueError, match="expected control_size of at least 1, got 0"):
        pendulum(control_size=0)
    with pytest.raises(ValueError, match="a NonlinearGaussian does not say how many controls it has"):
        control.as_system(tracking.lorenz(q2=0.1, r2=1.0), "simulate")
    with pytest.raises(ValueError, match="the model has no control input"):
        control.as_system(tracking.canonical(2, 2, q2=1.0, r2=1.0), "simulate")
    with pytest.raises(TypeError, match="StateSpace: expected a model of mbdl.tracking, got int"):
        control.StateSpace(3)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state": jnp.diag(jnp.array([1.0, -1.0]))}, "state must be positive semidefinite, .* eigenvalue is -1"),
        ({"control": jnp.zeros((1, 1))}, "control must be positive definite"),
        ({"state": jnp.array([[1.0, 0.5], [0.0, 1.0]])}, "state must be symmetric"),
        ({"state": jnp.ones(2)}, r"expected state to be a square matrix, got shape \(2,\)"),
        ({"cross": jnp.ones((1, 2))}, r"cross has shape \(1, 2\); expected \(2, 1\)"),
        ({"cross": 9 * jnp.ones((2, 1))}, "must be convex, but Q"),
        ({"target": jnp.ones(3)}, r"target has shape \(3,\); expected \(2,\)"),
        ({"terminal": -jnp.eye(2)}, "terminal must be positive semidefinite"),
        ({"target": jnp.array([0.0, jnp.nan])}, "target must be finite"),
    ],
)
def test_costs_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        cost(**changes)


def test_constraints_that_cannot_be():
    with pytest.raises(ValueError, match="the lower bound of control must not be above"):
        control.Constraints(control=(1.0, -1.0))
    with pytest.raises(ValueError, match=r"expected state=\(lower, upper\)"):
        control.Constraints(state=3.0)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="expected inequality to be a function"):
        control.Constraints(inequality=3.0)  # pyright: ignore[reportArgumentType]


def test_no_retrace_for_new_values():
    policy = control.LinearFeedback(jnp.array([[0.1]]))
    control.simulate(system(), policy, KEY, steps=3, runs=2, cost=cost())
    before = _traces("trajectories")
    control.simulate(system(), control.LinearFeedback(jnp.array([[0.2]])), KEY, steps=3, runs=2, cost=cost())
    assert _traces("trajectories") == before


def test_policies_share_the_program_of_the_noise():
    counts = [(_traces("trajectories"), _traces("noise_of_runs"))]
    for policy in (control.LinearFeedback(jnp.array([[0.1]])), control.StateFeedback(jnp.tanh)):
        control.simulate(system(), policy, KEY, steps=4, runs=2, cost=cost())
        counts.append((_traces("trajectories"), _traces("noise_of_runs")))
    np.testing.assert_array_equal(np.diff(counts, axis=0), [[1, 1], [1, 0]])


def _traces(name):
    return mbdl.control.simulate.__globals__[name]._cached._cache_size()
