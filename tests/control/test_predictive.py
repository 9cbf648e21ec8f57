"""Predictive control: the regulator it has to be, the planner solved anew at each time, and learned parts of it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from control.rules import cost, linear_predictive, predictive, system

import mbdl
from mbdl import control, networks

PRICE = control.QuadraticCost(jnp.diag(jnp.array([3.0, 0.1])), 0.05 * jnp.eye(1))
LIMITS = control.Constraints(control=(-3.0, 3.0))


def arm(state, torque, noise, time, gravity=1.0):
    angle, speed = state
    return jnp.stack([angle + 0.2 * speed, speed + 0.2 * (gravity * jnp.sin(angle) + torque[0])]) + 0.02 * noise


def heavy(state, torque, noise, time):
    """With a load and a friction that the model does not know."""
    return arm(state, torque, noise, time, 2.5) - 0.2 * jnp.stack([0.0 * state[0], 0.8 * state[1]])


def plant(transition=arm):
    return control.System(
        transition, noise=lambda key, time: jax.random.normal(key, (2,)), control_size=1,
        initial=lambda key: jnp.array([1.0, 0.0]) + 0.2 * jax.random.normal(key, (2,)),
    )  # fmt: skip


def planner(model=None, price=PRICE, **changes):
    how = {"horizon": 8, "iterations": 2, "constraints": LIMITS}
    return control.IterativeLQR(plant() if model is None else model, price, **{**how, **changes})


def test_of_a_linear_system_it_is_the_regulator(x64):
    linear, price = system(observation=jnp.eye(2), observation_noise=jnp.zeros((2, 2))), cost()
    value = control.LQR(linear, price).value()
    last = control.QuadraticCost(price.state, price.control, cross=price.cross, terminal=value.matrix)
    policy = control.PredictiveControl(control.IterativeLQR(linear, last, horizon=5, iterations=2))
    states = jnp.array([[1.0, -2.0], [0.3, 0.8], [-4.0, 0.1]])
    np.testing.assert_allclose(policy(states), control.LQR(linear, price)(states), rtol=1e-8)


def test_each_control_is_the_first_of_a_plan_from_the_shifted_one_with_its_feedback(x64):
    solver = planner(iterations=1)
    states = jnp.array([[1.0, 0.0], [0.8, -0.5], [0.4, -0.6]])
    plan, expected = jnp.zeros((8, 1)), []
    for time, state in enumerate(states):
        situation = control.Situation(state, time, plan)
        found = solver.with_feedback(solver(situation), situation)
        expected.append(found.controls[0])
        plan = jax.tree.map(lambda leaf: jnp.concatenate([leaf[1:], leaf[-1:]]), found)
    np.testing.assert_allclose(control.PredictiveControl(solver)(states), jnp.stack(expected), rtol=1e-8)


def test_a_plan_with_feedback_is_followed_from_another_state(x64):
    """Near a solved plan, following it is nearly the solution; its controls alone are not."""
    solver, first = planner(iterations=30, constraints=None), jnp.array([0.5, 0.0])
    plan = solver.with_feedback(solver(first), first)
    np.testing.assert_allclose(solver.init(control.Situation(first, 0, plan)).controls, plan.controls, atol=1e-12)
    for moved in (1e-2, 1e-3):
        near = first + moved
        followed = solver.init(control.Situation(near, 0, plan)).controls
        error, open_loop = (jnp.max(jnp.abs(controls - solver(near))) for controls in (followed, plan.controls))
        assert error < 0.1 * open_loop


def test_the_feedback_keeps_an_unstable_system_near_its_plan(x64):
    """A long plan of a system that triples each time: its controls alone lead a small disturbance far away."""
    fast = control.LinearSystem(3 * jnp.eye(1), jnp.eye(1), process_noise=jnp.eye(1))
    solver = control.IterativeLQR(fast, control.QuadraticCost(jnp.eye(1), jnp.eye(1)), horizon=20, iterations=1)
    plan = solver.with_feedback(solver(jnp.ones(1)), jnp.ones(1))
    near = control.Situation(jnp.full(1, 1.1), 0, plan)
    assert jnp.max(jnp.abs(solver.states(solver.init(near).controls, near))) < 2
    assert jnp.max(jnp.abs(solver.states(plan.controls, near))) > 1e6


class Cold(mbdl.RecursiveRule):
    """The first control of a plan from nothing."""

    solver: control.IterativeLQR

    def init(self):
        return None

    def step(self, memory, x):
        return None, self.solver.decide(x)[0]


def test_warm_starts_are_worth_iterations():
    """Along the states of a solved run, by one iteration from the shifted plan and by one from nothing."""
    solved, warm = (control.PredictiveControl(planner(iterations=k)) for k in (10, 1))
    runs = control.simulate(plant(), solved, jax.random.key(0), steps=12, runs=8, cost=PRICE)
    errors = [
        jnp.sum(jnp.abs(jax.vmap(policy)(runs.states[:, :-1]) - runs.controls)[:, 1:])
        for policy in (warm, Cold(planner(iterations=1)))
    ]
    assert errors[0] < 0.3 * errors[1]


def trained(policy, steps, rate=1e-2, runs=8):
    risk = control.closed_loop(plant(heavy), PRICE, horizon=15, runs=runs)
    return mbdl.fit(policy, risk, optax.adam(rate), steps=steps, key=jax.random.key(1)).rule


def test_a_residual_learned_by_prediction_controls_better():
    network = networks.MLP(3, 2, width=16, depth=1, activation=jnp.tanh, key=jax.random.key(2))
    aided = control.ResidualSystem(plant(), network)
    nominal = control.PredictiveControl(planner())
    states = jnp.array([[1.0, 0.0], [0.8, -0.5]])
    np.testing.assert_allclose(control.PredictiveControl(planner(aided))(states), nominal(states), rtol=1e-5)

    network = networks.MLP(2, 1, width=8, depth=1, key=jax.random.key(3))
    dither = control.Clipped(control.StateFeedback(network), LIMITS)
    how = {"steps": 25, "cost": PRICE}
    runs = [control.simulate(plant(heavy), policy, jax.random.key(4), runs=32, **how) for policy in (nominal, dither)]
    data = jax.tree.map(lambda *parts: jnp.concatenate(parts), *map(control.transitions, runs))
    risk = mbdl.supervised(data, mbdl.losses.mse)
    fit = mbdl.fit(control.Prediction(aided), risk, optax.adam(1e-2), steps=400, batch_size=64, key=jax.random.key(5))
    assert risk(fit.rule) < 0.2 * risk(control.Prediction(aided))

    policy = control.PredictiveControl(planner(fit.rule.system))
    assert mbdl.spectrum(policy).strategy == "DNN-aided"
    first, learned = (control.simulate(plant(heavy), p, jax.random.key(6), runs=20, **how) for p in (nominal, policy))
    mean, error = learned.difference(first)
    assert mean < -3 * error


def test_a_residual_and_a_terminal_value_learned_in_the_closed_loop():
    network = networks.MLP(3, 2, width=8, depth=1, activation=jnp.tanh, key=jax.random.key(2))
    value = networks.InputConvex(2, width=8, depth=1, key=jax.random.key(7))
    price = control.LearnedTerminalCost(PRICE, value)
    aided = control.ResidualSystem(plant(), network)
    policy = control.PredictiveControl(planner(aided, price, horizon=3, iterations=1))
    learned = trained(policy, steps=40, rate=2e-2)
    how = {"steps": 15, "runs": 20, "cost": PRICE}
    first, last = (control.simulate(plant(heavy), p, jax.random.key(6), **how) for p in (policy, learned))
    mean, error = last.difference(first)
    assert mean < -3 * error
    for part in (lambda p: p.solver.system.network, lambda p: p.solver.cost.network):
        moved = jax.tree.map(lambda a, b: float(jnp.max(jnp.abs(a - b))), part(policy).raw, part(learned).raw)
        assert max(jax.tree.leaves(moved)) > 1e-3


def test_an_unfolded_planner_learns_its_hyperparameters_in_the_closed_loop():
    """Two iterations of one step size each, from a regularisation that keeps their steps short."""
    short = planner(horizon=5, step_sizes=jnp.array([0.5]), regularisation=1.0)
    layers = mbdl.unfold(short, 2, untie=lambda s: (s.step_sizes, s.regularisation), constraint=mbdl.positive)
    policy = control.PredictiveControl(layers)
    learned = trained(policy, steps=30, rate=5e-2)
    how = {"steps": 15, "runs": 20, "cost": PRICE}
    first, last = (control.simulate(plant(heavy), p, jax.random.key(6), **how) for p in (policy, learned))
    mean, error = last.difference(first)
    assert mean < -3 * error


def test_transitions_are_those_of_the_runs():
    policy, _ = predictive()
    runs = control.simulate(plant(), policy, jax.random.key(0), steps=3, runs=2, cost=PRICE)
    (states, controls, times), following = control.transitions(runs)
    np.testing.assert_array_equal(states[4], runs.states[1, 1])
    np.testing.assert_array_equal(controls[4], runs.controls[1, 1])
    np.testing.assert_array_equal(following[4], runs.states[1, 2])
    assert times.tolist() == [0, 1, 2, 0, 1, 2]


def test_bad_arguments():
    with pytest.raises(TypeError, match="expected a planner .* got LinearPredictiveControl"):
        control.PredictiveControl(linear_predictive()[0])  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="ResidualSystem: expected a network"):
        control.ResidualSystem(plant(), 3.0)
    with pytest.raises(TypeError, match="LearnedTerminalCost: expected a network"):
        control.LearnedTerminalCost(PRICE, 3.0)
    with pytest.raises(TypeError, match="LearnedTerminalCost: expected a cost"):
        control.LearnedTerminalCost(jnp.tanh, jnp.sum)  # pyright: ignore[reportArgumentType]
    wrong = control.ResidualSystem(plant(), networks.MLP(3, 1, width=4, depth=1, key=jax.random.key(0)))
    with pytest.raises(ValueError, match=r"the network returns an array of shape \(1,\) for a state of \(2,\)"):
        control.PredictiveControl(planner(wrong))(jnp.ones((1, 2)))
    explosive = control.LinearSystem(1e30 * jnp.eye(1), jnp.eye(1), process_noise=jnp.eye(1))
    price = control.QuadraticCost(jnp.eye(1), jnp.eye(1))
    with pytest.raises(ValueError, match="the system diverges along the first plan"):
        control.PredictiveControl(control.IterativeLQR(explosive, price, horizon=3))(jnp.ones((1, 1)))
