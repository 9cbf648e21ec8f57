"""The rules of this package, small, for the laws in `tests/test_laws.py`."""

import equinox as eqx
import jax
import jax.numpy as jnp

import mbdl
from mbdl import networks, tracking


def _dtype():
    return jnp.result_type(float)


def _normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape, _dtype())


def _spread(seed, size):
    factor = _normal(seed, size, size)
    return jnp.eye(size, dtype=_dtype()) + 0.1 * factor @ factor.T


def linear(**changes):
    parameters = {
        "transition": jnp.asarray([[1.0, 0.5], [-0.2, 0.9]], _dtype()),
        "observation": _normal(1, 3, 2),
        "process_noise": 0.3 * _spread(2, 2),
        "observation_noise": _spread(3, 3),
        "initial_mean": _normal(4, 2),
        "initial_covariance": _spread(5, 2),
    }
    return tracking.LinearGaussian(**{**parameters, **changes})


def badly_scaled(dtype, **changes):
    """Two states whose covariance has the condition 1e10, along directions that are not the axes."""
    turn = jnp.asarray([[0.8, -0.6], [0.6, 0.8]], dtype)
    parameters = {
        "transition": jnp.asarray([[1.0, 0.5], [0.0, 1.0]], dtype),
        "observation": jnp.asarray([[1.0, 0.3]], dtype),
        "process_noise": 1e-2 * jnp.eye(2, dtype=dtype),
        "observation_noise": jnp.asarray([[1.0]], dtype),
        "initial_mean": jnp.zeros(2, dtype),
        "initial_covariance": tracking.Factor(turn * jnp.asarray([1e5, 1.0], dtype)),
    }
    return tracking.LinearGaussian(**{**parameters, **changes})


@mbdl.register
class Bend(eqx.Module):
    """A smooth map with a matrix to learn, and a control where there is one."""

    matrix: jax.Array

    def __call__(self, state, moment):
        bent = jnp.tanh(self.matrix @ state)
        return bent if moment.control is None else bent + moment.control


def nonlinear(**changes):
    parameters = {
        "transition": Bend(_normal(6, 2, 2)),
        "observation": Bend(_normal(7, 3, 2)),
        "process_noise": 0.3 * _spread(2, 2),
        "observation_noise": _spread(3, 3),
        "initial_mean": _normal(4, 2),
        "initial_covariance": _spread(5, 2),
    }
    return tracking.NonlinearGaussian(**{**parameters, **changes})


@mbdl.register
class Swing(eqx.Module):
    """A pendulum that is pushed, at irregular times: it needs a control and a duration."""

    pull: jax.Array

    def __call__(self, state, moment):
        speed = state[1] + moment.duration * (moment.control[0] - self.pull * jnp.sin(state[0]))
        return jnp.stack([state[0] + moment.duration * speed, speed])


@mbdl.register
class Seen(eqx.Module):
    """What is seen of it, by a sensor that itself looks at neither."""

    matrix: jax.Array

    def __call__(self, state, moment):
        return jnp.tanh(self.matrix @ state)


def pushed(**changes):
    changes = {"transition": Swing(jnp.asarray(2.0, _dtype())), "observation": Seen(_normal(7, 3, 2)), **changes}
    return nonlinear(**changes)


def pushes(steps=6):
    given = inputs(steps)
    durations = jax.random.uniform(jax.random.key(29), (steps,), _dtype(), 0.05, 0.2)
    return tracking.Inputs(given.observation, given.control, given.present, durations)


def observations(steps=6):
    return _normal(8, steps, 3)


def inputs(steps=6):
    present = jax.random.bernoulli(jax.random.key(9), 0.7, (steps, 3))
    return tracking.Inputs(observations(steps), _normal(10, steps, 2), present)


def kalman():
    return tracking.KalmanFilter(linear()), observations()


def kalman_with_control_and_gaps():
    return tracking.KalmanFilter(linear(control=_normal(11, 2, 2), starts="at")), inputs()


def kalman_time_varying():
    varying = tracking.TimeVarying(0.5 * _normal(12, 6, 2, 2))
    noise = tracking.Factor(_normal(13, 2, 1))
    return tracking.KalmanFilter(linear(transition=varying, process_noise=noise)), observations()


def kalman_square_root():
    return tracking.KalmanFilter(linear(), tracking.SquareRootGain()), observations()


def kalman_steady_state():
    return tracking.KalmanFilter(linear(), tracking.SteadyStateGain()), observations()


def extended_steady_state():
    gain = tracking.SteadyStateGain(at=0.1 * _normal(14, 2))
    return tracking.ExtendedKalmanFilter(nonlinear(), gain), tracking.Inputs(observations(), present=inputs().present)


def extended():
    return tracking.ExtendedKalmanFilter(nonlinear()), observations()


def extended_iterated():
    return tracking.ExtendedKalmanFilter(nonlinear(), iterations=3), observations()


def speaking(network, size=0.1):
    """The network with every array moved, so that what it says is not zero."""
    leaves, structure = jax.tree.flatten(network)
    return structure.unflatten([leaf + size * _normal(50 + i, *leaf.shape) for i, leaf in enumerate(leaves)])


def kalmannet():
    network = tracking.CascadeNetwork(2, 3, expansion=1, breadth=2, dtype=_dtype(), key=jax.random.key(14))
    return tracking.KalmanFilter(linear(), tracking.RecurrentGain(speaking(network))), observations()


def kalmannet_single_unit():
    rule = tracking.KalmanNet(nonlinear(), key=jax.random.key(15), architecture=1, nominal=tracking.KalmanGain())
    return rule, observations()


def kalmannet_pushed():
    network = tracking.CascadeNetwork(2, 3, expansion=1, breadth=2, dtype=_dtype(), key=jax.random.key(30))
    gain = tracking.RecurrentGain(speaking(network), nominal=tracking.KalmanGain())
    return tracking.ExtendedKalmanFilter(pushed(), gain), pushes()


def kalmannet_robust():
    network = tracking.CascadeNetwork(2, 3, expansion=1, breadth=2, dtype=_dtype(), key=jax.random.key(16))
    features = tracking.InputFeatures(tracking.Saturation(2.0))
    gain = tracking.RecurrentGain(
        speaking(network), nominal=tracking.FixedGain(0.1 * _normal(17, 2, 3)), features=features
    )
    return tracking.KalmanFilter(linear(control=_normal(11, 2, 2)), gain), inputs()


def unscented():
    return tracking.UnscentedKalmanFilter(nonlinear(), alpha=0.9, beta=0.7, kappa=0.5), observations()


def unscented_with_control_and_gaps():
    return tracking.UnscentedKalmanFilter(linear(control=_normal(11, 2, 2), starts="at")), inputs()


def kalman_information():
    return tracking.KalmanFilter(linear(), tracking.InformationGain()), observations()


def particle():
    return tracking.ParticleFilter(nonlinear(), particles=20, key=jax.random.key(14)), observations()


def particle_without_resampling():
    changes = {"control": _normal(11, 2, 2), "starts": "at"}
    rule = tracking.ParticleFilter(linear(**changes), particles=20, key=jax.random.key(14), resampling=None)
    return rule, inputs()


def parallel_kalman():
    model = linear(control=_normal(11, 2, 2), transition=tracking.TimeVarying(0.5 * _normal(12, 6, 2, 2)))
    return tracking.ParallelKalmanFilter(model), inputs()


def rts():
    return tracking.RTSSmoother(linear(control=_normal(11, 2, 2), starts="at")), inputs()


def rts_square_root():
    kf = tracking.ExtendedKalmanFilter(nonlinear(), tracking.SquareRootGain())
    return tracking.RTSSmoother(kf), tracking.Inputs(observations(), present=inputs().present)


def rts_extended():
    return tracking.RTSSmoother(nonlinear()), observations()


def parallel_rts():
    return tracking.ParallelRTSSmoother(linear()), observations()


def split_kalmannet():
    networks = [
        tracking.SingleUnitNetwork(2, 3, sees=sees, hidden_size=3, outputs=size, dtype=_dtype(), key=jax.random.key(18))
        for sees, size in ((("evolution", "update"), 4), (("observation", "innovation"), 9))
    ]
    return tracking.KalmanFilter(linear(), tracking.SplitGain(*map(speaking, networks))), observations()


def kalmannet_with_covariance():
    network = tracking.CascadeNetwork(2, 3, expansion=1, breadth=2, dtype=_dtype(), key=jax.random.key(19))
    readout = tracking.CalibratedCovariance(2, 3, hidden_size=3, dtype=_dtype(), key=jax.random.key(20))
    gain = tracking.WithCovariance(tracking.RecurrentGain(speaking(network)), readout)
    return tracking.KalmanFilter(linear(control=_normal(11, 2, 2)), gain), inputs()


def rtsnet():
    network = tracking.BackwardNetwork(2, expansion=1, breadth=2, dtype=_dtype(), key=jax.random.key(21))
    return tracking.RTSSmoother(
        extended_steady_state()[0], tracking.RecurrentSmootherGain(speaking(network))
    ), observations()


def rtsnet_pushed():
    network = tracking.BackwardNetwork(2, expansion=1, breadth=2, dtype=_dtype(), key=jax.random.key(31))
    gain = tracking.WithCovariance(kalmannet_pushed()[0].gain)
    backward = tracking.RecurrentSmootherGain(speaking(network), nominal=tracking.RTSGain())
    return tracking.RTSSmoother(tracking.ExtendedKalmanFilter(pushed(), gain), backward), pushes()


def rtsnet_two_passes():
    networks = [
        tracking.BackwardNetwork(2, expansion=1, breadth=2, dtype=_dtype(), key=jax.random.key(22)),
        tracking.CascadeNetwork(2, 2, expansion=1, breadth=2, dtype=_dtype(), key=jax.random.key(23)),
        tracking.BackwardNetwork(2, expansion=1, breadth=2, dtype=_dtype(), key=jax.random.key(24)),
    ]
    first, forward, backward = map(speaking, networks)
    identity = jnp.eye(2, dtype=_dtype())
    nothing = tracking.FixedSmootherGain(0 * identity)
    rule = tracking.TwoPassSmoother(
        tracking.RTSSmoother(tracking.KalmanFilter(linear()), tracking.RecurrentSmootherGain(first)),
        tracking.RecurrentGain(forward, nominal=tracking.FixedGain(identity)),
        tracking.RecurrentSmootherGain(backward, nominal=nothing, scale=jnp.array([2.0, 0.5], _dtype())),
    )
    return rule, observations()


def rts_unscented():
    kf = tracking.UnscentedKalmanFilter(nonlinear(), alpha=0.9, beta=0.7, kappa=0.5)
    return tracking.RTSSmoother(kf), tracking.Inputs(observations(), present=inputs().present)


def kalman_with_model_covariance():
    gain = tracking.WithCovariance(tracking.FixedGain(0.1 * _normal(17, 2, 3)))
    return tracking.KalmanFilter(linear(control=_normal(11, 2, 2)), gain), inputs()


def extended_with_gain_covariance():
    gain = tracking.WithCovariance(tracking.FixedGain(0.1 * _normal(17, 2, 3)), tracking.GainCovariance())
    return tracking.ExtendedKalmanFilter(nonlinear(), gain), observations()


def extended_residual():
    network = networks.MLP(4, 2, width=3, depth=1, dtype=_dtype(), key=jax.random.key(28))
    model = tracking.ResidualModel(linear(control=_normal(11, 2, 2), starts="at"), network)
    return tracking.ExtendedKalmanFilter(eqx.tree_at(lambda m: m.network, model, replace_fn=speaking)), inputs()


def recurrent_tracker():
    key = jax.random.key(25)
    return tracking.RecurrentTracker(3, 2, control_size=2, hidden_size=4, dtype=_dtype(), key=key), inputs()


def bidirectional_tracker():
    return tracking.BidirectionalTracker(3, 2, hidden_size=4, dtype=_dtype(), key=jax.random.key(26)), observations()


def message_smoother():
    return tracking.MessageSmoother(linear(), iterations=4), observations()


def message_smoother_with_control_and_gaps():
    return tracking.MessageSmoother(linear(control=_normal(11, 2, 2), starts="at"), iterations=4), inputs()


@mbdl.register
class Recalling(tracking.AbstractRefinement):
    """A refinement with a memory, of one matrix: the least that the graph network's place can hold."""

    weight: jax.Array

    def init(self, model, inputs):
        return jnp.zeros((inputs.observation.shape[0], model.state_size), self.weight.dtype)

    def __call__(self, model, memory, messages, inputs):
        memory = jnp.tanh(memory + messages.sum @ self.weight)
        return memory, memory


def message_smoother_with_a_refinement():
    rule = tracking.MessageSmoother(nonlinear(), Recalling(_normal(15, 2, 2)), step_size=0.05, iterations=4)
    return rule, tracking.Inputs(observations(), present=inputs().present)


def neural_augmented():
    """After a training: the last layer, with which it begins as the smoother of the model, is not zero."""
    key, shape = jax.random.key(16), (2, 3)
    network = tracking.GraphRefinement(*shape, features=3, dtype=_dtype(), key=key)
    network = eqx.tree_at(lambda n: n.out.weight, network, 0.1 * _normal(17, *network.out.weight.shape))
    rule = tracking.NeuralAugmentedSmoother(linear(), features=3, iterations=4, key=key)
    return mbdl.substitute(rule, lambda r: r.refinement, network), observations()


def neural_augmented_scaled():
    rule = tracking.NeuralAugmentedSmoother(linear(), features=3, iterations=4, scale=0.3, key=jax.random.key(16))
    where = lambda r: r.refinement.refinement.raw.out.weight  # noqa: E731
    return eqx.tree_at(where, rule, 0.1 * _normal(17, *where(rule).shape)), observations()


def graph_tracker():
    """After a training: the last layer, with which it begins with the observations, is not zero, nor are the offsets,
    which without messages are all that its first units see."""
    rule = tracking.GraphTracker(3, features=3, iterations=4, dtype=_dtype(), key=jax.random.key(27))
    moved = jax.tree.map(lambda leaf: leaf + 0.1 * _normal(28, *leaf.shape), rule.network.raw)
    return eqx.tree_at(lambda r: r.network.raw, rule, moved), observations()


RULES = {
    "KalmanFilter": kalman,
    "KalmanFilter with control and gaps": kalman_with_control_and_gaps,
    "KalmanFilter with varying parameters": kalman_time_varying,
    "KalmanFilter with SquareRootGain": kalman_square_root,
    "KalmanFilter with SteadyStateGain": kalman_steady_state,
    "ExtendedKalmanFilter with SteadyStateGain": extended_steady_state,
    "ExtendedKalmanFilter": extended,
    "iterated ExtendedKalmanFilter": extended_iterated,
    "KalmanNet": kalmannet,
    "KalmanNet with SingleUnitNetwork": kalmannet_single_unit,
    "KalmanNet of a nonlinear model with control, gaps and durations": kalmannet_pushed,
    "KalmanNet with Saturation, FixedGain, control and gaps": kalmannet_robust,
    "KalmanNet with CalibratedCovariance": kalmannet_with_covariance,
    "KalmanFilter with ModelCovariance": kalman_with_model_covariance,
    "ExtendedKalmanFilter with GainCovariance": extended_with_gain_covariance,
    "ExtendedKalmanFilter of a ResidualModel": extended_residual,
    "SplitKalmanNet": split_kalmannet,
    "RTSNet": rtsnet,
    "RTSNet of a nonlinear model with control, gaps and durations": rtsnet_pushed,
    "RTSNet with two passes": rtsnet_two_passes,
    "RecurrentTracker": recurrent_tracker,
    "BidirectionalTracker": bidirectional_tracker,
    "UnscentedKalmanFilter": unscented,
    "UnscentedKalmanFilter with control and gaps": unscented_with_control_and_gaps,
    "KalmanFilter with InformationGain": kalman_information,
    "ParticleFilter": particle,
    "ParticleFilter without resampling": particle_without_resampling,
    "ParallelKalmanFilter": parallel_kalman,
    "RTSSmoother": rts,
    "extended RTSSmoother": rts_extended,
    "unscented RTSSmoother": rts_unscented,
    "RTSSmoother with SquareRootGain": rts_square_root,
    "ParallelRTSSmoother": parallel_rts,
    "MessageSmoother": message_smoother,
    "MessageSmoother with control and gaps": message_smoother_with_control_and_gaps,
    "MessageSmoother with a refinement": message_smoother_with_a_refinement,
    "NeuralAugmentedSmoother": neural_augmented,
    "NeuralAugmentedSmoother with a scale": neural_augmented_scaled,
    "GraphTracker": graph_tracker,
}

# Rules that hold draws from what they compute: differentiating them raises.
NONDIFFERENTIABLE = {"ParticleFilter"}
