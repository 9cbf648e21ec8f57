"""The iterative regulator: the regulator of a linear system, and what scipy finds of a pendulum's controls."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize
from control.rules import cost, nonlinear, system

import mbdl
from mbdl import control

UPRIGHT = control.Cost(
    lambda stage: 0.1 * (1 - jnp.cos(stage.state[0])) + 0.01 * stage.following[1] ** 2 + 0.02 * stage.control[0] ** 2,
    lambda state: 20 * (1 - jnp.cos(state[0])) + 2 * state[1] ** 2,
)
HANGING = np.array([np.pi, 0.0])
HORIZON = 30


def swing(state, torque, noise, time):
    angle, speed = state
    return jnp.stack([angle + 0.1 * speed, speed + 0.1 * (jnp.sin(angle) + torque[0]) + 0.01 * time])


def planner(bound=None, **changes):
    pendulum = control.System(swing, noise=lambda key, time: 0.0, initial=HANGING, control_size=1)
    limits = control.Constraints(control=bound)
    how = {"horizon": HORIZON, "iterations": 3, "initial": 0.1 * jnp.ones((HORIZON, 1)), "constraints": limits}
    return control.IterativeLQR(pendulum, UPRIGHT, **{**how, **changes})


@jax.jit
def total(controls, first=HANGING, time=0):
    """What controls of the pendulum cost; written without the package's loops."""

    def stage(state, inputs):
        torque, t = inputs
        following = swing(state, torque, 0.0, t + 1)
        return following, UPRIGHT.stage(control.Stage(state, torque, following, t))

    controls = controls.reshape(HORIZON, 1)
    last, costs = jax.lax.scan(stage, first, (controls, time + jnp.arange(HORIZON)))
    return jnp.sum(costs) + UPRIGHT.terminal(last)


def best_by_scipy(start, bound, time=0):
    value = jax.jit(jax.value_and_grad(lambda controls: total(controls, time=time)))
    return scipy.optimize.minimize(
        lambda controls: [np.asarray(part, np.float64) for part in value(controls)],
        np.asarray(start).ravel(), jac=True, method="L-BFGS-B", bounds=None if bound is None else [bound] * HORIZON,
        options={"maxiter": 5000, "maxfun": 10000, "ftol": 1e-15, "gtol": 1e-9, "maxcor": 30},
    )  # fmt: skip


def test_of_a_linear_system_it_is_the_regulator_in_one_iteration(x64):
    plant, price = system(), cost(terminal=2 * jnp.eye(2), target=jnp.array([0.5, -1.0]))
    first = jnp.array([1.0, -2.0])
    rule = control.IterativeLQR(plant, price, horizon=6, iterations=1, regularisation=1e-14)
    state, controls = first, []
    regulator = control.LQR(plant, price, horizon=6)
    memory = regulator.start()
    for _ in range(6):
        memory, u = regulator.advance(memory, state)
        state = plant.model.transition @ state + plant.model.control @ u
        controls.append(u)
    np.testing.assert_allclose(rule(first), jnp.stack(controls), rtol=1e-10)


@pytest.mark.parametrize("bound", [None, (-2.0, 1.5)])
def test_a_swing_up_is_what_scipy_finds(x64, bound):
    """From idle controls; the problem has several minima, and from others scipy's may be another one."""
    solution = planner(bound, initial=None).solve(control.Situation(HANGING, 3), tolerance=1e-9)
    found = solution.decision
    if bound is not None:
        at_bound = (found == bound[0]) | (found == bound[1])
        assert 3 < int(jnp.sum(at_bound)) < HORIZON - 3
    from_scratch = best_by_scipy(np.zeros(HORIZON), bound, time=3)
    near = best_by_scipy(found + 1e-3, bound, time=3)
    value = float(total(found, time=3))
    assert value <= from_scratch.fun * (1 + 1e-9)
    np.testing.assert_allclose(value, near.fun, rtol=1e-10)
    # The value is flat at its minimum: scipy's controls are good to about the root of its precision.
    np.testing.assert_allclose(found.ravel(), near.x, atol=1e-5)


def test_each_iteration_lowers_the_cost(x64):
    trace = planner(iterations=8)(HANGING, trace=True)
    costs = np.asarray(jax.vmap(total)(trace))
    assert np.all(np.diff(costs) <= 1e-12)
    assert costs[-1] < 0.9 * float(total(0.1 * jnp.ones(HORIZON)))


@pytest.mark.parametrize("bound", [None, (-1.0, 0.8)])
def test_implicit_gradients_of_a_solution(x64, bound):
    rule = planner(bound, initial=0.5 * jnp.ones((HORIZON, 1)))

    def value(angle):
        return jnp.sum(rule.solve(jnp.stack([angle, 0.0]), tolerance=1e-12, maximum=200).decision[:20] ** 2)

    step = 1e-4
    difference = (value(2.5 + step) - value(2.5 - step)) / (2 * step)
    # The solver's tolerance, seen through the step, and the step's square leave some 1e-6.
    np.testing.assert_allclose(jax.grad(value)(2.5), difference, rtol=1e-5)


def test_a_warm_start_is_the_plan_of_the_situation(x64):
    best = planner().solve(HANGING, tolerance=1e-9).decision
    again = planner(iterations=1)(control.Situation(HANGING, 0, best))
    np.testing.assert_allclose(again, best, atol=1e-8)


def test_negative_curvature_needs_no_convexity(x64):
    """A concave stage cost within bounds: the plan goes to a bound, where it is best."""
    push = control.System(
        lambda x, u, noise, time: 0.9 * x + u, noise=lambda key, time: 0.0, initial=jnp.zeros(1), control_size=1
    )
    price = control.Cost(lambda stage: -(stage.following[0] ** 2) + 0.1 * stage.control[0] ** 2)
    rule = control.IterativeLQR(push, price, horizon=4, constraints=control.Constraints(control=(-1.0, 1.0)))
    np.testing.assert_allclose(rule(jnp.array([0.3])), 1.0)


def test_two_controls_share_a_box(x64):
    """Against scipy where one component is clamped and the other is not."""
    plant = control.LinearSystem(
        jnp.array([[1.0, 0.2], [-0.1, 0.9]]), jnp.array([[1.0, 0.8], [0.3, 1.0]]), process_noise=jnp.eye(2)
    )
    price = control.QuadraticCost(jnp.eye(2), jnp.array([[0.5, 0.2], [0.2, 0.3]]), terminal=jnp.eye(2))
    lower, upper = jnp.array([-0.4, -0.3]), jnp.array([0.5, 0.2])
    limits = control.Constraints(control=(lower, upper))
    rule = control.IterativeLQR(plant, price, horizon=3, iterations=20, constraints=limits)
    first = jnp.array([1.0, -0.4])

    def total(controls):
        state, value = first, 0.0
        for u in controls.reshape(3, 2):
            value += state @ state + u @ price.control @ u
            state = plant.model.transition @ state + plant.model.control @ u
        return value + state @ state

    box = list(zip(np.tile(lower, 3), np.tile(upper, 3), strict=True))
    options = {"ftol": 1e-15, "gtol": 1e-10}
    best = scipy.optimize.minimize(
        jax.jit(total), np.zeros(6), jac=jax.jit(jax.grad(total)), method="L-BFGS-B", bounds=box, options=options
    )
    found = rule(first)
    np.testing.assert_allclose(found.ravel(), best.x, atol=1e-6)
    clamped = (found == lower) | (found == upper)
    assert 0 < int(jnp.sum(clamped)) < 6


def test_unfolded_and_learned_it_is_better_in_two_iterations():
    """Step sizes and regularisation of each layer, learned on other first states; two layers without a search."""
    short = planner(iterations=2, step_sizes=jnp.array([1.0]), regularisation=1e-3, initial=None)
    rule = mbdl.unfold(short, 2, untie=lambda r: (r.step_sizes, r.regularisation), constraint=mbdl.positive)
    angles = jax.random.uniform(jax.random.key(0), (64, 1), minval=1.0, maxval=2.0)
    firsts = jnp.concatenate([angles, jnp.zeros_like(angles)], axis=1)
    risk = mbdl.unsupervised(firsts[:48], lambda plan, first: total(plan, first))
    fit = mbdl.fit(rule, risk, optax.adam(5e-2), steps=60, batch_size=16, key=jax.random.key(1))
    before, after = (jax.vmap(lambda x, r=r: total(r(x), x))(firsts[48:]) for r in (short, fit.rule))
    gain = np.asarray(before - after)
    assert gain.mean() > 2 * gain.std(ddof=1) / np.sqrt(len(gain))


def test_bounds_of_another_number_of_controls_are_refused():
    limits = control.Constraints(control=(-jnp.ones(3), jnp.ones(3)))
    with pytest.raises(ValueError, match=r"bounds of the control have shape \(3,\); expected a number or \(1,\)"):
        control.IterativeLQR(nonlinear(), cost(), horizon=3, constraints=limits)


def test_bad_arguments():
    with pytest.raises(TypeError, match=r"IterativeLQR: expected a control\.Cost"):
        control.IterativeLQR(system(), jnp.eye(2), horizon=3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="it keeps bounds of the control only"):
        planner(constraints=control.Constraints(state=(-1.0, 1.0)))
    with pytest.raises(ValueError, match="the regularisation must be positive"):
        planner(regularisation=0.0)
    with pytest.raises(ValueError, match="a step size must be positive"):
        planner(step_sizes=jnp.array([1.0, 0.0]))
    with pytest.raises(ValueError, match=r"initial has shape \(2, 1\); expected \(30, 1\)"):
        planner(initial=jnp.zeros((2, 1)))
    with pytest.raises(ValueError, match=r"the plan of a situation has shape \(2, 1\)"):
        planner()(control.Situation(HANGING, 0, jnp.zeros((2, 1))))
    explosive = control.LinearSystem(1e30 * jnp.eye(1), jnp.eye(1), process_noise=jnp.eye(1))
    price = control.QuadraticCost(jnp.eye(1), jnp.eye(1))
    with pytest.raises(ValueError, match="the system diverges along the first plan"):
        control.IterativeLQR(explosive, price, horizon=3)(jnp.ones(1))
