"""The policies of this package, small, for the laws in `tests/test_laws.py`."""

import cvxpy
import equinox as eqx
import jax
import jax.numpy as jnp

import mbdl
from mbdl import control, networks, tracking
from mbdl.studies.control.steering import AngleSteering, Steerable
from mbdl.studies.control.vehicle import OnRoad


def _dtype():
    return jnp.result_type(float)


def _normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape, _dtype())


def _spread(seed, size):
    factor = _normal(seed, size, size)
    return jnp.eye(size, dtype=_dtype()) + 0.1 * factor @ factor.T


def system(**changes):
    parameters = {
        "transition": jnp.asarray([[1.1, 0.5], [-0.2, 0.9]], _dtype()),
        "control": jnp.asarray([[0.2], [1.0]], _dtype()),
        "process_noise": 0.3 * _spread(2, 2),
        "observation": jnp.asarray([[1.0, 0.3]], _dtype()),
        "observation_noise": 0.5 * _spread(3, 1),
        "initial_mean": _normal(4, 2),
        "initial_covariance": _spread(5, 2),
    }
    return control.LinearSystem(**{**parameters, **changes})


def cost(**changes):
    parameters = {"state": _spread(6, 2), "control": 0.5 * _spread(7, 1), "cross": 0.1 * _normal(8, 2, 1)}
    return control.QuadraticCost(**{**parameters, **changes})


def states(steps=5):
    return _normal(9, steps, 2)


def lqr():
    return control.LQR(system(), cost(target=_normal(10, 2))), states()


def lqr_finite():
    return control.LQR(system(), cost(terminal=_spread(11, 2), target=_normal(10, 2)), horizon=5), states()


def lqr_time_varying():
    model = tracking.LinearGaussian(
        transition=tracking.TimeVarying(0.5 * _normal(12, 6, 2, 2)),
        observation=jnp.eye(2, dtype=_dtype()),
        control=tracking.TimeVarying(_normal(13, 6, 2, 1)),
        process_noise=_spread(2, 2),
        observation_noise=_spread(3, 2),
        initial_mean=_normal(4, 2),
        initial_covariance=_spread(5, 2),
        starts="at",
    )
    return control.LQR(model, cost(), horizon=5), states()


def lqg():
    return control.LQG(tracking.KalmanFilter(system().model), control.LQR(system(), cost())), _normal(14, 5, 1)


def lqg_kalmannet():
    filter = tracking.KalmanNet(system().model, key=jax.random.key(15))
    return control.LQG(filter, control.LinearFeedback(_normal(16, 1, 2))), _normal(14, 5, 1)


@mbdl.register
class BendUnder(eqx.Module):
    """`Bend` as the transition of a model of `mbdl.tracking`."""

    matrix: jax.Array

    def __call__(self, state, moment):
        return jnp.tanh(self.matrix @ state) + jnp.stack([0.3 * moment.control[0], moment.control[0]])


@mbdl.register
def squashed(state, moment):
    return jnp.sinh(0.3 * state[:1]) + 0.2 * state[1:]


def lqg_extended():
    """With predictive control of the same nonlinear system."""
    model = tracking.NonlinearGaussian(
        transition=BendUnder(0.8 * _normal(20, 2, 2)),
        observation=squashed,
        process_noise=0.3 * _spread(2, 2),
        observation_noise=_spread(3, 1),
        initial_mean=_normal(4, 2),
        initial_covariance=_spread(5, 2),
    )
    solver, _ = iterative_lqr(horizon=2, iterations=1, initial=None, constraints=control.Constraints())
    return control.LQG(tracking.ExtendedKalmanFilter(model), control.PredictiveControl(solver)), _normal(14, 3, 1)


def linear_feedback():
    return control.LinearFeedback(_normal(17, 1, 2)), states()


def state_feedback():
    network = networks.MLP(2, 1, width=3, depth=1, activation=jnp.tanh, dtype=_dtype(), key=jax.random.key(18))
    return control.StateFeedback(network), states()


def clipped():
    return control.Clipped(
        control.LinearFeedback(_normal(17, 1, 2)), control.Constraints(control=(-50.0, 50.0))
    ), states()


def recurrent_policy():
    scales = tracking.Standardisation(jnp.ones(2), 2 * jnp.ones(2), jnp.zeros(1), 3 * jnp.ones(1))
    scales = jax.tree.map(lambda leaf: leaf.astype(_dtype()), scales)
    how = {"hidden_size": 3, "standardisation": scales, "dtype": _dtype(), "key": jax.random.key(19)}
    return control.RecurrentPolicy(2, 1, **how), states()


def convex_problem():
    """The problem of a policy with a limit on its control that the following state depends on by the context."""
    x, weight = cvxpy.Parameter(2, "x"), cvxpy.Parameter((2, 2), "weight", PSD=True)
    slope, effect = cvxpy.Parameter(2, "slope"), cvxpy.Parameter(2, "effect")
    price = cvxpy.Parameter(name="price", nonneg=True)
    u, following = cvxpy.Variable(2, "u"), cvxpy.Variable(2, "following")
    cost = price * cvxpy.sum_squares(u) + cvxpy.quad_form(following, weight) + slope @ following
    moved = following == x + cvxpy.multiply(effect, u)
    problem = cvxpy.Problem(cvxpy.Minimize(cost), [moved, cvxpy.norm(u, "inf") <= 0.4, u[0] + 2 * u[1] <= 0.3])
    return problem, x, effect, u, {weight: _spread(19, 2), slope: 0.1 * _normal(20, 2), price: 0.3}


def convex_policy():
    problem, x, effect, u, values = convex_problem()
    values[effect] = jnp.asarray([1.0, 0.5], _dtype())
    return control.ConvexPolicy(problem, context=[x], decision=u, parameters=values, proximal=0.01), states()


@mbdl.register
def bent(x):
    """The values of the context of `convex_problem`."""
    return x, 1 + 0.5 * jnp.sin(x)


def convex_policy_with_cones():
    """Of the contexts some are beyond the ball and some within."""
    x, u = cvxpy.Parameter(2, "x"), cvxpy.Variable(2, "u")
    root, radius = cvxpy.Parameter((2, 2), "root"), cvxpy.Parameter(name="radius", nonneg=True)
    problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(root @ u - x)), [cvxpy.norm(u) <= radius])
    values = {root: _spread(19, 2), radius: 0.5}
    return control.ConvexPolicy(problem, context=[x], decision=u, parameters=values), states(3)


def convex_policy_with_features():
    problem, x, effect, u, values = convex_problem()
    rule = control.ConvexPolicy(problem, context=[x, effect], decision=u, parameters=values, features=bent)
    return rule, states()


def program():
    """Of every kind of constraint one that holds and one that does not, away from kinks."""
    dtype = _dtype()
    return control.QuadraticProgram(
        _spread(30, 4),
        2 * _normal(31, 4),
        equality=(_normal(32, 1, 4), 0.1 * jnp.ones(1, dtype)),
        inequality=(_normal(33, 2, 4), jnp.asarray([-0.3, -5.0], dtype), jnp.asarray([0.2, 5.0], dtype)),
        bounds=(jnp.asarray([-0.4, -9.0, -9.0, -9.0], dtype), jnp.asarray([9.0, 9.0, 9.0, 0.3], dtype)),
    )


def operator_splitting():
    return control.OperatorSplitting(penalty=0.5, relaxation=1.5, iterations=4), program()


def operator_splitting_from_a_point():
    """Begins where it is told to, within the bounds."""
    dtype = _dtype()
    given = control.PrimalDual(0.1 * _normal(34, 4), 0.1 * _normal(35, 3), 0.1 * _normal(36, 4))
    given = jax.tree.map(lambda leaf: leaf.astype(dtype), given)
    return control.OperatorSplitting(penalty=0.5, relaxation=1.5, initial=given, iterations=4), program()


def interior_point():
    return control.InteriorPoint(fraction=0.9, iterations=4), program()


@mbdl.register
class Bend(eqx.Module):
    """A smooth transition with a matrix to learn."""

    matrix: jax.Array

    def __call__(self, state, control, noise, time):
        return jnp.tanh(self.matrix @ state) + jnp.stack([0.3 * control[0], control[0]]) + noise


@mbdl.register
def noise(key, time):
    return 0.1 * jax.random.normal(key, (2,), _dtype())


def nonlinear():
    return control.System(Bend(0.8 * _normal(20, 2, 2)), noise=noise, initial=_normal(4, 2), control_size=1)


def iterative_lqr(**changes):
    """Of three controls a bound clamps one."""
    how = {
        "constraints": control.Constraints(control=(-0.3, 0.5)),
        "initial": 0.1 * _normal(23, 3, 1),
        "regularisation": 1e-3,
        "step_sizes": jnp.asarray([1.0, 0.4], _dtype()),
    }
    price = control.QuadraticCost(_spread(6, 2), _spread(7, 1))
    return control.IterativeLQR(nonlinear(), price, **{"horizon": 3, "iterations": 2, **how, **changes}), _normal(9, 2)


def predictive():
    """With a learned residual of the model and a learned terminal value."""
    mlp = networks.MLP(3, 2, width=2, depth=1, activation=jnp.tanh, dtype=_dtype(), key=jax.random.key(24))
    aided = control.ResidualSystem(nonlinear(), mbdl.core.Learned(mlp))
    value = networks.InputConvex(2, width=2, depth=1, dtype=_dtype(), key=jax.random.key(25))
    price = control.LearnedTerminalCost(control.QuadraticCost(_spread(6, 2), _spread(7, 1)), value)
    planner = control.IterativeLQR(
        aided, price, horizon=2, iterations=1, regularisation=1e-3, step_sizes=jnp.ones(1, _dtype())
    )
    return control.PredictiveControl(planner), states(3)


def linear_predictive():
    limits = control.Constraints(control=(-0.2, 9.0))
    price = control.QuadraticCost(_spread(6, 2), _spread(7, 1))
    return control.LinearPredictiveControl(system(), price, limits, horizon=2), states(3)


def linear_predictive_in_states():
    """The first state is kept from falling as fast as it would."""
    limits = control.Constraints(control=(-3.0, 9.0), state=(jnp.array([-0.2, -9.0], _dtype()), 9.0))
    price = control.QuadraticCost(_spread(6, 2), _spread(7, 1))
    return control.LinearPredictiveControl(system(), price, limits, horizon=2), states(3)


def predictive_unfolded():
    solver, _ = iterative_lqr(horizon=2, initial=None)
    solver = mbdl.unfold(solver, 2, untie=lambda s: (s.step_sizes, s.regularisation), constraint=mbdl.positive)
    return control.PredictiveControl(solver), states(3)


def linear_predictive_softened():
    """A bound of the first state that no control keeps is broken; that of the other is not reached."""
    limits = control.Constraints(control=(-0.2, 9.0), state=(-9.0, jnp.array([0.1, 9.0], _dtype())))
    price = control.QuadraticCost(_spread(6, 2), _spread(7, 1))
    return control.LinearPredictiveControl(system(), price, limits, horizon=2, softness=3.0), states(3)


def road(steps=3):
    """What a vehicle shows: its place, its speeds and the bend of its road."""
    return jnp.concatenate([_normal(40, steps, 5), 0.2 * _normal(41, steps, 1)], axis=1)


def steerable():
    """Of three steering angles some are clipped."""
    return Steerable(control.LinearFeedback(0.5 * _normal(42, 2, 6)), 2.8, 0.68), road()


def angle_steering():
    return AngleSteering(control.LinearFeedback(0.5 * _normal(42, 2, 6)), 2.8), road()


def on_road():
    middle, size = _normal(43, 5), 1.0 + _normal(44, 5) ** 2
    return OnRoad(control.LinearFeedback(0.5 * _normal(45, 2, 5)), middle, size), road()


def prediction():
    return control.Prediction(nonlinear()), (_normal(9, 2), _normal(26, 1), jnp.asarray(3))


def convex_policy_unfolded():
    problem, x, effect, u, values = convex_problem()
    values[effect] = jnp.asarray([1.0, 0.5], _dtype())
    solver = control.OperatorSplitting(penalty=jnp.asarray(1.0, _dtype()), iterations=3)
    solver = mbdl.unfold(solver, 3, untie=lambda s: s.penalty, constraint=mbdl.positive)
    return control.ConvexPolicy(problem, context=[x], decision=u, parameters=values, solver=solver), states()


def convex_policy_by_interior_points():
    problem, x, effect, u, values = convex_problem()
    values[effect] = jnp.asarray([1.0, 0.5], _dtype())
    solver = control.InteriorPoint(fraction=jnp.asarray(0.9, _dtype()), iterations=3)
    return control.ConvexPolicy(problem, context=[x], decision=u, parameters=values, solver=solver), states(3)


def convex_policy_elastic():
    """The following state is to be within bounds, which some of the contexts keep from it."""
    problem, x, effect, u, values = convex_problem()
    values[effect] = jnp.asarray([1.0, 0.5], _dtype())
    following = next(v for v in problem.variables() if v.name() == "following")
    near = following <= 0.5
    problem = cvxpy.Problem(problem.objective, [*problem.constraints, near])
    return control.ConvexPolicy(problem, context=[x], decision=u, parameters=values, elastic={near: 5.0}), states()


RULES = {
    "AngleSteering": angle_steering,
    "Clipped": clipped,
    "ConvexPolicy": convex_policy,
    "ConvexPolicy, unfolded": convex_policy_unfolded,
    "ConvexPolicy, elastic": convex_policy_elastic,
    "ConvexPolicy, interior point": convex_policy_by_interior_points,
    "ConvexPolicy, cones": convex_policy_with_cones,
    "ConvexPolicy, features": convex_policy_with_features,
    "InteriorPoint": interior_point,
    "IterativeLQR": iterative_lqr,
    "LQR": lqr,
    "LQR, horizon": lqr_finite,
    "LQR, time-varying": lqr_time_varying,
    "LQG": lqg,
    "LQG, extended": lqg_extended,
    "LQG, KalmanNet": lqg_kalmannet,
    "LinearFeedback": linear_feedback,
    "LinearPredictiveControl": linear_predictive,
    "LinearPredictiveControl, softened": linear_predictive_softened,
    "LinearPredictiveControl, states": linear_predictive_in_states,
    "OnRoad": on_road,
    "OperatorSplitting": operator_splitting,
    "OperatorSplitting, from a point": operator_splitting_from_a_point,
    "Prediction": prediction,
    "PredictiveControl": predictive,
    "PredictiveControl, unfolded": predictive_unfolded,
    "RecurrentPolicy": recurrent_policy,
    "StateFeedback": state_feedback,
    "Steerable": steerable,
}
