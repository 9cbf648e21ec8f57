"""The closed loop as a risk: its value is the simulator's, its gradient that of central differences."""

import cvxpy
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from control.rules import cost, lqg, system

import mbdl
from mbdl import control, networks, tracking

KEY = jax.random.key(4)


def seen(**changes):
    return system(observation=jnp.eye(2), observation_noise=jnp.zeros((2, 2)), **changes)


def test_the_risk_is_the_mean_cost_of_the_simulation():
    policy, _ = lqg()
    price = cost(terminal=jnp.eye(2))
    risk = control.closed_loop(system(), price, horizon=6, runs=3)
    expected = control.simulate(system(), policy, KEY, steps=6, runs=3, cost=price).cost().mean
    np.testing.assert_allclose(risk(policy, key=KEY), expected, rtol=1e-5)
    paired = control.closed_loop(system(), price, horizon=6, runs=3, key=KEY)
    np.testing.assert_allclose(paired(policy, key=jax.random.key(9)), expected, rtol=1e-5)


def test_a_training_goes_over_numbered_runs():
    """With a key of the risk's own, an epoch over the numbers of eight runs meets each of the eight once."""
    policy = mbdl.learn(control.LinearFeedback(jnp.full((1, 2), 0.1)), lambda p: p.gain)
    risk = control.closed_loop(seen(), cost(), horizon=4, runs=3, key=KEY)
    still = mbdl.fit(policy, risk, optax.sgd(0.0), steps=6, data=jnp.arange(8), batch_size=4, key=jax.random.key(1))
    losses = np.asarray(still.history.losses).reshape(3, 2)
    of_eight = control.closed_loop(seen(), cost(), horizon=4, runs=8, key=KEY)(policy)
    np.testing.assert_allclose(losses.mean(axis=1), of_eight, rtol=1e-5)
    assert np.ptp(losses[:, 0]) > 1e-3  # in another order in each epoch


@pytest.mark.parametrize("rematerialise", [False, True])
def test_gradients_of_what_the_filter_assumes(x64, rematerialise):
    policy, _ = lqg()
    rule = mbdl.learn(policy, lambda p: p.filter.model.observation_noise, constraint=mbdl.positive_definite)
    risk = control.closed_loop(system(), cost(), horizon=8, runs=3, rematerialise=rematerialise)
    learned, rest = mbdl.core.partition(rule)

    def value(flat):
        return risk(mbdl.core.combine(unravel(flat), rest), key=KEY)

    flat, unravel = jax.flatten_util.ravel_pytree(learned)
    step = 1e-5
    difference = (value(flat + step) - value(flat - step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(value)(flat)[0], difference, rtol=1e-6)


def test_a_gain_is_learned_to_the_optimum():
    plant = seen()
    policy = mbdl.learn(control.LinearFeedback(jnp.array([[0.3, 0.8]])), lambda p: p.gain)
    risk = control.closed_loop(plant, cost(), horizon=60, runs=32)
    fit = mbdl.fit(policy, risk, optax.adam(2e-2), steps=150, key=KEY)
    how = {"key": jax.random.key(5), "steps": 60, "runs": 100, "cost": cost()}
    best, first, learned = (
        control.simulate(plant, rule, **how) for rule in (control.LQR(plant, cost()), policy, fit.rule)
    )
    assert first.difference(best).mean > 20 * learned.difference(best).mean


def test_a_network_is_a_policy():
    network = networks.MLP(2, 1, width=16, depth=1, key=jax.random.key(6))
    policy = control.Clipped(control.StateFeedback(network), control.Constraints(control=(-3.0, 3.0)))
    risk = control.closed_loop(seen(), cost(), horizon=20, runs=16)
    fit = mbdl.fit(policy, risk, optax.adam(1e-2), steps=60, key=KEY)
    assert risk(fit.rule, key=jax.random.key(7)) < risk(policy, key=jax.random.key(7))
    assert np.all(np.abs(fit.rule(10 * jnp.ones((4, 2)))) <= 3)


def test_a_recurrent_network_is_a_policy_of_what_is_seen():
    scales = tracking.Standardisation(jnp.ones(1), 2 * jnp.ones(1), jnp.zeros(1), 3 * jnp.ones(1))
    policy = control.RecurrentPolicy(1, 1, hidden_size=4, standardisation=scales, key=jax.random.key(8))
    unit, out = mbdl.resolve(policy).network
    hidden, before, expected = jnp.zeros(4), jnp.zeros(1), []
    ys = jax.random.normal(KEY, (3, 1))
    for y in ys:
        hidden = unit(hidden, jnp.concatenate([(y - 1) / 2, before]))
        before = out(hidden)
        expected.append(3 * before)
    np.testing.assert_allclose(policy(ys), jnp.stack(expected), rtol=1e-5)
    runs = control.simulate(system(), policy, KEY, steps=4, runs=2, cost=cost())
    np.testing.assert_allclose(policy(runs.observations[1]), runs.controls[1], rtol=1e-5)


def test_covariances_of_a_filter_are_learned_by_the_cost_of_the_closed_loop(x64):
    """The filter takes the process for a hundred times calmer than it is."""
    right, _ = lqg()
    wrong = control.LQG(tracking.KalmanFilter(system(process_noise=3e-3 * jnp.eye(2)).model), right.controller)
    rule = mbdl.learn(
        wrong,
        lambda p: (p.filter.model.process_noise, p.filter.model.observation_noise),
        constraint=mbdl.positive_definite,
    )
    assert mbdl.spectrum(rule).learned == 3 + 1
    risk = control.closed_loop(system(), cost(), horizon=40, runs=32)
    fit = mbdl.fit(rule, risk, optax.adam(0.05), steps=100, key=KEY)
    how = {"key": jax.random.key(5), "steps": 40, "runs": 200, "cost": cost()}
    first, learned, best = (control.simulate(system(), policy, **how) for policy in (wrong, fit.rule, right))
    gain = first.difference(learned)
    assert gain.mean > 5 * gain.standard_error
    # Nearly all of what the filter of the true model saves.
    assert gain.mean > 0.8 * first.difference(best).mean


def test_a_training_that_explodes_after_it_improved_keeps_the_best():
    """Thirty steps of descent, then ascent with a thousand times the rate; the best is neither first nor last."""
    policy = mbdl.learn(control.LinearFeedback(jnp.array([[0.3, 0.8]])), lambda p: p.gain)
    risk = control.closed_loop(seen(), cost(), horizon=200, runs=2)
    validation = control.closed_loop(seen(), cost(), horizon=20, runs=8, key=KEY)
    explodes = optax.scale_by_schedule(lambda count: jnp.where(count < 30, 1.0, -1e3))
    with pytest.raises(mbdl.training.NonFiniteError, match="training stopped at step") as caught:
        mbdl.fit(policy, risk, optax.chain(optax.adam(1e-2), explodes), steps=200, key=KEY, validation=validation,
            validate_every=1)  # fmt: skip
    fit = caught.value.fit
    scores = fit.history.validation
    assert 0 < fit.history.best_step < 30 < caught.value.step
    assert scores[fit.history.best_step] == scores.min() < scores[0] < 1e-3 * scores[-1]
    np.testing.assert_allclose(validation(fit.rule), scores.min(), rtol=1e-5)
    assert np.max(np.abs(mbdl.resolve(fit.rule).gain - mbdl.resolve(policy).gain)) > 1e-2


def test_a_policy_that_diverges_in_training_keeps_the_best():
    policy = mbdl.learn(control.LinearFeedback(jnp.array([[0.3, 0.8]])), lambda p: p.gain)
    risk = control.closed_loop(seen(), cost(), horizon=200, runs=2)
    message = (
        r"At this step the closed loop of LinearFeedback diverged in 2 of 2 runs, first at stage \d+ of run [01]: the "
        "policy does not stabilise this system.* Take a smaller learning rate"
    )
    with pytest.raises(mbdl.training.NonFiniteError, match=message) as caught:
        mbdl.fit(policy, risk, optax.sgd(-1e3), steps=200, key=KEY, validation=control.closed_loop(
            seen(), cost(), horizon=20, runs=2, key=KEY), validate_every=1)  # fmt: skip
    kept = mbdl.resolve(caught.value.fit.rule).gain
    np.testing.assert_allclose(kept, [[0.3, 0.8]])


def test_a_policy_without_a_control_in_training_is_named_by_the_run_stage_and_cause():
    """Its control is at most one, and none holds a state above two below one: which runs end is known beforehand."""
    x, price, u = cvxpy.Parameter(1, "x"), cvxpy.Parameter(name="price", nonneg=True), cvxpy.Variable(1, "u")
    problem = cvxpy.Problem(cvxpy.Minimize(price * cvxpy.sum_squares(u)), [x + u <= 1, cvxpy.abs(u) <= 1])
    policy = control.ConvexPolicy(problem, context=[x], decision=u, parameters={price: 1.0})
    plant = control.LinearSystem(jnp.eye(1), jnp.eye(1), process_noise=0.5 * jnp.eye(1))
    quadratic = control.QuadraticCost(jnp.eye(1), jnp.eye(1))
    runs = control.simulate(plant, policy, KEY, steps=6, runs=16, cost=quadratic, throw=False)
    at = np.asarray(runs.diverged_at)[8:]
    first = int(np.argmin(np.where(at < 0, 99, at)))
    assert 0 < (at >= 0).sum() < 8
    risk = control.closed_loop(plant, quadratic, horizon=6, runs=3, key=KEY)
    message = (
        f"At this step the closed loop of ConvexPolicy broke off in {(at >= 0).sum()} of 8 runs, first at stage "
        f"{at[first]} of run {8 + first}: .* The problem of that context is infeasible"
    )
    with pytest.raises(mbdl.training.NonFiniteError, match=message) as caught:
        mbdl.fit(policy, risk, optax.sgd(0.1), steps=20, data=jnp.arange(8, 16), key=KEY)
    assert "learning rate" not in str(caught.value)


def test_a_gradient_that_is_not_finite_is_told_from_runs_that_are_not():
    """The derivative of the root of zero, which the cost of a zero gain is, is infinite, and the cost is not."""
    policy = mbdl.learn(control.LinearFeedback(jnp.zeros((1, 2))), lambda p: p.gain)
    root = control.Cost(lambda stage: jnp.sqrt(jnp.abs(stage.control[0])))
    risk = control.closed_loop(seen(), root, horizon=3, runs=2)
    with pytest.raises(mbdl.training.NonFiniteError, match=r"all stages .* LinearFeedback are finite.* run 0 costs"):
        mbdl.fit(policy, risk, optax.sgd(0.1), steps=20, key=KEY)


def test_bad_arguments():
    policy, _ = lqg()
    with pytest.raises(ValueError, match="the noise needs a key"):
        control.closed_loop(system(), cost(), horizon=2, runs=1)(policy)
    with pytest.raises(ValueError, match="expected runs of at least 1, got 0"):
        control.closed_loop(system(), cost(), horizon=2, runs=0)
    with pytest.raises(TypeError, match="expected a policy"):
        control.closed_loop(system(), cost(), horizon=2, runs=1)(mbdl.networks.NetworkRule(jnp.tanh), key=KEY)
    with pytest.raises(TypeError, match="expected a network or a map"):
        control.StateFeedback(3.0)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="Clipped: expected a policy"):
        control.Clipped(jnp.tanh, control.Constraints(control=(-1.0, 1.0)))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="the constraints have no bounds of the control"):
        control.Clipped(policy, control.Constraints())
    with pytest.raises(ValueError, match=r"expected a gain \[control state\], got shape \(2,\)"):
        control.LinearFeedback(jnp.ones(2))
