"""The nonlinear half of the study of stochastic control: a pole on a cart, of which position and angle are seen in
noise, and a model of a shorter pole without friction."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

import mbdl
from mbdl import control, networks, tracking
from mbdl.studies.control.problem import Drawn, Entry, Evaluation, Problem, Training, adam
from mbdl.studies.control.recorded import EstimationError, PredictionError
from mbdl.studies.control.training import mean_cost
from mbdl.studies.search import simplex_search

DISTURBANCE = np.array([0.001, 0.001, 0.03, 0.05])
"""Standard deviations of the process noise of a step: m, rad, m/s, rad/s."""

SEEN = np.array([0.01, 0.01])
"""Standard deviations of the observation noise: m, rad."""

FIRST = np.array([0.1, 0.1, 0.1, 0.1])
"""Standard deviations of the first state."""

FORCE = 10.0
"""The largest force, N."""


def model(stretch: float = 1.0, friction: float = 0.0) -> tracking.NonlinearGaussian:
    """The pole on a cart, the pole longer and heavier by a factor, the cart with a friction."""
    pole = control.CartPole(pole_mass=0.1 * stretch, length=0.5 * stretch, cart_friction=friction)
    return tracking.NonlinearGaussian(
        transition=pole,
        observation=tracking.LinearObservation(jnp.eye(2, 4)),
        process_noise=jnp.diag(jnp.asarray(DISTURBANCE) ** 2),
        observation_noise=jnp.diag(jnp.asarray(SEEN) ** 2),
        initial_mean=jnp.zeros(4),
        initial_covariance=jnp.diag(jnp.asarray(FIRST) ** 2),
        starts="at",
    )


def linearised(nonlinear: tracking.NonlinearGaussian) -> tracking.LinearGaussian:
    """The linear model at the upright position."""

    def move(state: Any, force: Any) -> Any:
        return nonlinear.transit(state, tracking.Moment(jnp.asarray(0), force))

    A, B = jax.jacfwd(move, argnums=(0, 1))(jnp.zeros(4), jnp.zeros(1))
    return tracking.LinearGaussian(
        transition=A,
        observation=jnp.eye(2, 4),
        control=B,
        process_noise=nonlinear.process_noise,
        observation_noise=nonlinear.observation_noise,
        initial_mean=jnp.zeros(4),
        initial_covariance=nonlinear.initial_covariance,
        starts="at",
    )


def as_system(plant: tracking.AbstractModel) -> control.StateSpace:
    """The model as a system."""
    return control.StateSpace(plant, control_size=1)


def told(policy: Any) -> control.LQG:
    """The policy whose filter takes the model of its planner."""
    return eqx.tree_at(lambda p: p.filter.model, policy, policy.controller.solver.system.model)


FULL = ("lqg", "predictive", "parameters", "unfolded", "kalmannet", "closed", "recurrent")
"""The policies that are compared with the full model."""


def full_model(settings: Any) -> Problem:
    """The problem whose true pole and cart are those of the model."""
    found = problem(settings, model())
    entries = tuple(entry for entry in found.entries if entry.name in FULL)
    return dataclasses.replace(
        found,
        name="cart-pole-full",
        title="Pole on a cart, full model",
        entries=entries,
        reference="predictive",
        drawn=(),
    )


def stretched(settings: Any, stretch: float) -> Problem:
    """The problem at a stretch of the true pole, with the friction of the settings."""
    found = problem(settings, model(stretch, settings.friction))
    return dataclasses.replace(found, trainings=settings.pole_trainings)


def problem(settings: Any, truth: tracking.NonlinearGaussian) -> Problem:
    """The problem of a true pole and cart."""
    assumed = model()
    cost = control.QuadraticCost(jnp.diag(jnp.array([1.0, 10.0, 0.1, 0.1])), 0.001 * jnp.eye(1))
    limits = control.Constraints(control=(-FORCE, FORCE))

    def regulator(plant: tracking.NonlinearGaussian) -> control.LQG:
        gain = control.Clipped(control.LQR(linearised(plant), cost), limits)
        return control.LQG(tracking.ExtendedKalmanFilter(plant), gain)

    def valued(plant: tracking.NonlinearGaussian) -> control.QuadraticCost:
        """The cost with the value of the linearised regulator at the end of a plan."""
        value = control.LQR(linearised(plant), cost).value().matrix
        return control.QuadraticCost(cost.state, cost.control, terminal=value)

    def predictive(filter: Any, system: Any, price: control.AbstractCost, plan: int = settings.plan) -> control.LQG:
        planner = control.IterativeLQR(
            system, price, horizon=plan, constraints=limits, iterations=settings.planner_iterations
        )
        return control.LQG(filter, control.PredictiveControl(planner))

    def modelled(plant: tracking.NonlinearGaussian, plan: int = settings.plan) -> control.LQG:
        return predictive(tracking.ExtendedKalmanFilter(plant), as_system(plant), valued(plant), plan)

    nominal = modelled(assumed)

    def weighted(numbers: Any) -> control.LQG:
        """The planner with other weights of speeds and forces, behind a filter with another process noise."""
        speeds, forces, noise = numbers
        plant = eqx.tree_at(lambda m: m.process_noise, assumed, noise * assumed.process_noise)
        weights = cost.state * jnp.array([1.0, 1.0, speeds, speeds]), forces * cost.control
        value = control.LQR(linearised(assumed), control.QuadraticCost(*weights)).value().matrix
        price = control.QuadraticCost(*weights, terminal=value)
        return predictive(tracking.ExtendedKalmanFilter(plant), as_system(assumed), price)

    def tuned(key: PRNGKeyArray) -> control.LQG:
        score = mean_cost(as_system(truth), cost, horizon=settings.pole_steps, runs=settings.tuning_runs, key=key)
        best = simplex_search(lambda numbers: -score(weighted(numbers)), (1.0, 1.0, 1.0))

        def searched(policy: Any) -> tuple[Any, ...]:
            weights = policy.controller.solver.cost
            return weights.state, weights.control, weights.final, policy.filter.model.process_noise

        return mbdl.tuned(weighted(best), searched)

    def recorded(key: PRNGKeyArray, count: int) -> control.Trajectories:
        return control.simulate(as_system(truth), nominal, key, steps=settings.pole_steps, runs=count, cost=cost)

    def prediction(key: PRNGKeyArray, count: int) -> PredictionError:
        return PredictionError.of(recorded(key, count), jnp.asarray(DISTURBANCE))

    def estimation(key: PRNGKeyArray, count: int) -> EstimationError:
        return EstimationError.of(recorded(key, count))

    def parameters(policy: Any) -> tuple[Any, ...]:
        pole = policy.controller.solver.system.model.transition
        return pole.pole_mass, pole.length, pole.cart_friction, pole.hinge_friction

    def prices(planner: Any) -> tuple[Any, ...]:
        return planner.cost.state, planner.cost.final

    def residual(key: PRNGKeyArray) -> control.LQG:
        network = networks.MLP(5, 4, width=settings.width, depth=2, dtype=jnp.result_type(float), key=key)
        aided = as_system(tracking.ResidualModel(assumed, network))
        return predictive(tracking.ExtendedKalmanFilter(assumed), aided, valued(assumed))

    def learned_value(key: PRNGKeyArray) -> control.LQG:
        value = networks.InputConvex(4, width=settings.width // 2, depth=2, dtype=jnp.result_type(float), key=key)
        price = control.LearnedTerminalCost(valued(assumed), value)
        return predictive(tracking.ExtendedKalmanFilter(assumed), as_system(assumed), price, settings.short_plan)

    def kalmannet(key: PRNGKeyArray) -> control.LQG:
        filter = tracking.KalmanNet(assumed, key=key)
        return predictive(filter, as_system(assumed), valued(assumed))

    def unfolded(key: PRNGKeyArray) -> control.LQG:
        predictive_control: Any = nominal.controller
        layers = settings.planner_iterations
        matrices = mbdl.unfold(predictive_control.solver, layers, untie=prices, constraint=mbdl.positive_definite)
        steps = mbdl.unfold(
            matrices, layers, untie=lambda s: (s.step_sizes, s.regularisation), constraint=mbdl.positive
        )
        return control.LQG(nominal.filter, control.PredictiveControl(steps))

    def recurrent(key: PRNGKeyArray) -> control.Clipped:
        runs = recorded(jax.random.fold_in(key, 1), settings.recorded_runs)
        scales = tracking.Standardisation.of(runs.observations, runs.controls)
        how: dict[str, Any] = {"dtype": jnp.result_type(float), "standardisation": scales, "key": key}
        return control.Clipped(control.RecurrentPolicy(2, 1, hidden_size=settings.width, **how), limits)

    def by(risk: Any, objective: str, rate: float, batch: int) -> Training:
        steps = settings.estimation_steps
        return Training(adam(rate, steps), steps, batch, risk, settings.recorded_runs, objective)

    few, weights, gains = (
        Training(adam(rate, settings.planner_steps), settings.planner_steps, settings.batch)
        for rate in (0.01, 0.03, settings.network_rate)
    )
    many = Training(adam(settings.network_rate, settings.network_steps), settings.network_steps, settings.batch)
    predicted = "error of predicted states"
    return Problem(
        name="cart-pole",
        title="Pole on a cart",
        system=as_system(truth),
        cost=cost,
        constraints=limits,
        horizon=settings.pole_steps,
        reference="tuned",
        entries=(
            Entry("true", "EKF and predictive control, true model", "model-based", lambda key: modelled(truth)),
            Entry("lqg", "EKF and LQR of the linearised model", "model-based", lambda key: regulator(assumed)),
            Entry("predictive", "EKF and predictive control", "model-based", lambda key: nominal),
            Entry("tuned", "EKF and predictive control, tuned weights", "model-based", tuned),
            Entry(
                "parameters",
                "predictive control, learned masses, length, frictions",
                "learned optimisation",
                lambda key: mbdl.learn(nominal, parameters),
                by(prediction, predicted, 0.01, 256),
                deploy=told,
            ),
            Entry(
                "costs",
                "predictive control, learned costs of states",
                "learned optimisation",
                lambda key: mbdl.learn(
                    nominal, lambda p: prices(p.controller.solver), constraint=mbdl.positive_definite
                ),
                weights,
            ),
            Entry(
                "unfolded",
                f"predictive control, {settings.planner_iterations} unfolded iterations",
                "deep unfolding",
                unfolded,
                weights,
            ),
            Entry(
                "short",
                f"predictive control, {settings.short_plan} stages",
                "model-based",
                lambda key: modelled(assumed, settings.short_plan),
            ),
            Entry(
                "valued",
                f"predictive control, {settings.short_plan} stages and a learned value",
                "DNN-aided",
                learned_value,
                few,
            ),
            Entry(
                "residual",
                "predictive control, learned residual model",
                "DNN-aided",
                residual,
                by(prediction, predicted, settings.network_rate, 256),
                deploy=told,
            ),
            Entry(
                "kalmannet",
                "KalmanNet and predictive control, by the error of estimates",
                "DNN-aided",
                kalmannet,
                by(estimation, "error of the estimates", settings.network_rate, settings.batch),
            ),
            Entry("closed", "KalmanNet and predictive control, by cost", "DNN-aided", kalmannet, gains),
            Entry("recurrent", "recurrent network", "black box", recurrent, many),
        ),
        evaluations=(Evaluation("cost", "cost", settings.pole_steps, settings.pole_runs),),
        drawn=(
            Drawn(
                lambda runs: np.concatenate([runs.states[0, 1:, :3], runs.controls[0]], axis=1),
                ("position, m", "angle, rad", "speed, m/s", "force, N"),
                ("true", "predictive", "parameters", "recurrent"),
            ),
        ),
    )
