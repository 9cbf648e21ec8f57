"""What is held of learned policies against their model-based parents, on the published problems, from fixed seeds."""

import jax
import numpy as np
import pytest

import mbdl
from mbdl import control, tracking
from mbdl.studies.control import constrained_lqr, stochastic_control, supply_chain, vehicle
from mbdl.studies.control.problem import Training, adam


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def made(problem, name):
    """The policy of an entry before its training."""
    entry = problem.entry(name)
    return entry.make(jax.random.key(0)) if entry.start is None else entry.change(made(problem, entry.start))


def trained(problem, policy, how):
    """The policy after a training by the cost of the closed loop."""
    risk = control.closed_loop(problem.system, problem.cost, horizon=problem.horizon, runs=how.runs)
    return mbdl.fit(policy, risk, how.optimiser, steps=how.steps, key=jax.random.key(2), progress=False).rule


def costs(problem, policy, runs=200):
    """What each of some runs costs, on the noise that all policies meet; before and after a training by one program."""
    known = mbdl.resolve(policy)
    found = control.simulate(
        problem.system, known, jax.random.key(3), steps=problem.horizon, runs=runs, cost=problem.cost
    )
    return np.asarray(found.run_costs)


def published(problem):
    """The costs of the first policy and of the one that is trained as published."""
    entry = problem.entry("sgd")
    return costs(problem, made(problem, entry.start)), costs(
        problem, trained(problem, made(problem, "sgd"), entry.training)
    )


def clear(gain):
    """A paired gain is larger than three of its standard errors."""
    return gain.mean() > 3 * gain.std() / np.sqrt(len(gain))


@pytest.mark.parametrize("level", [-10.0, 0.0, 10.0, 20.0])
@pytest.mark.parametrize(("angle", "most"), [(20.0, -7.5), (0.0, 0.1)])
def test_the_learned_gain_saves_decibels_under_a_rotation_and_loses_none_without(level, angle, most):
    problem = stochastic_control.problem(stochastic_control.StochasticControlSettings(), level, angle, False)
    learned = trained(problem, made(problem, "kalmannet"), Training(adam(0.003, 200), 200, 16))
    parent, child = (costs(problem, policy).mean() for policy in (made(problem, "lqg"), learned))
    assert 10 * np.log10(child / parent) < most


def test_a_gain_that_is_trained_to_estimate_and_then_to_control():
    """The estimates alone save decibels already; the cost of the closed loop teaches what they do not."""
    problem = stochastic_control.problem(stochastic_control.StochasticControlSettings(), 0.0, 20.0, True)
    nominal = made(problem, "lqg")
    policy = made(problem, "estimation")
    how = {"steps": problem.horizon, "runs": 200, "cost": problem.cost}
    runs = control.simulate(problem.system, nominal, jax.random.key(1), **how)
    risk = mbdl.supervised(control.sequences(runs), tracking.state_error)
    filter = mbdl.fit(policy.filter, risk, adam(0.003, 200), steps=200, batch_size=16, key=jax.random.key(2)).rule
    estimates = control.LQG(filter, policy.controller)
    controls = trained(problem, estimates, Training(adam(0.001, 100), 100, 16))
    first, second, third = (costs(problem, policy) for policy in (nominal, estimates, controls))
    assert 10 * np.log10(second.mean() / first.mean()) < -7.5
    assert clear(second - third)


def test_bounded_controls_in_a_hundred_steps():
    (problem,) = constrained_lqr.problems(constrained_lqr.ConstrainedLQRSettings())
    first, learned = published(problem)
    assert clear(first - learned)
    assert learned.mean() < 13.05


def test_bounded_controls_are_learned_beyond_the_value_of_the_lower_bound():
    """The policy of the bound's matrix is the best that a model alone gives; the differences are of the same runs."""
    (problem,) = constrained_lqr.problems(constrained_lqr.ConstrainedLQRSettings())
    policy = made(problem, "sgd")
    for name in ("sgd", "adam"):
        policy = trained(problem, policy, problem.entry(name).training)
    bound, further = (costs(problem, policy, 1000) for policy in (made(problem, "bound"), policy))
    assert clear(bound - further)


@pytest.mark.parametrize(("name", "gain"), [("seen", 0.13), ("next", 0.20)])
def test_the_supply_chain_in_two_hundred_steps(name, gain):
    """At the price that the policy sees; and, as published, at the next one, which it does not see."""
    (problem,) = (p for p in supply_chain.problems(supply_chain.SupplyChainSettings()) if p.name == name)
    first, learned = published(problem)
    assert clear(first - learned)
    assert learned.mean() < (1 + gain) * first.mean() < 0


def test_the_vehicle_in_a_hundred_steps():
    (problem,) = vehicle.problems(vehicle.VehicleSettings())
    first, learned = published(problem)
    assert clear(first - learned)
    assert learned.mean() < 1.05
