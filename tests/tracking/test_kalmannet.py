"""KalmanNet: its networks, its features, and what it is before training."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from tracking.rules import inputs, linear, nonlinear, observations, pushed, pushes

import mbdl
from mbdl import tracking

KEY = jax.random.key(0)


def perturbed(rule, size=0.3):
    """The rule with everything learned moved, so that the network says something."""
    learned, rest = mbdl.core.partition(rule)
    leaves, structure = jax.tree.flatten(learned)
    keys = jax.random.split(jax.random.key(5), len(leaves))
    moved = [n + size * jax.random.normal(k, n.shape, n.dtype) for n, k in zip(leaves, keys, strict=True)]
    return mbdl.core.combine(structure.unflatten(moved), rest)


@pytest.mark.parametrize(("size", "expected"), [(2, 5208), (3, 23928)])
def test_the_second_architecture_has_the_size_of_the_reference(size, expected):
    network = tracking.CascadeNetwork(size, size, key=KEY)
    assert mbdl.core.count(network) == expected


@pytest.mark.parametrize("sees", [("innovation", "update"), tracking.Differences._fields])
def test_the_first_architecture_has_the_size_of_its_formula(sees):
    m, n = 2, 3
    network = tracking.SingleUnitNetwork(m, n, sees=sees, key=KEY)
    width, hidden = 80 * (m + n), 10 * (m**2 + n**2)
    inputs = len(sees) // 2 * (m + n)
    dense = (inputs + 1) * width + (hidden + 1) * 4 * m * n + (4 * m * n + 1) * m * n
    assert mbdl.core.count(network) == dense + 3 * hidden * (width + hidden + 2)


def test_the_second_architecture_is_its_formula(x64):
    m, n = 2, 3
    gain = tracking.RecurrentGain(tracking.CascadeNetwork(m, n, dtype=jnp.float64, key=KEY))
    network = mbdl.resolve(perturbed(gain)).network
    rng = np.random.default_rng(0)
    hidden = tracking.CascadeHidden(*(jnp.asarray(rng.standard_normal(k)) for k in (m * m, m * m, n * n)))
    F = tracking.Differences(*(jnp.asarray(rng.standard_normal(k)) for k in (n, n, m, m)))
    K, after = eqx.filter_jit(network)(hidden, F)

    def dense(layer, *xs):
        return np.asarray(layer.weight) @ np.concatenate(xs) + np.asarray(layer.bias)

    def phi(layer, *xs):
        return np.maximum(dense(layer, *xs), 0)

    def unit(gru, h, *xs):
        return np.asarray(gru(jnp.asarray(h), jnp.asarray(np.concatenate(xs))))

    Q = unit(network.process, hidden.process, phi(network.of_update, F.update))
    P = unit(network.predicted, hidden.predicted, Q, phi(network.of_evolution, F.evolution))
    S = unit(
        network.innovation,
        hidden.innovation,
        phi(network.of_predicted, P),
        phi(network.of_observation, F.observation, F.innovation),
    )
    expected = dense(network.out, phi(network.wide, P, S)) / np.sqrt(40 * (m**2 + n**2))
    np.testing.assert_allclose(K, expected, rtol=1e-12)
    np.testing.assert_allclose(after.process, Q, rtol=1e-12)
    np.testing.assert_allclose(after.innovation, S, rtol=1e-12)
    back = phi(network.back, P, phi(network.gathered, S, expected))
    np.testing.assert_allclose(after.predicted, back, rtol=1e-12)
    first = network.init()
    np.testing.assert_array_equal(first.process.reshape(m, m), np.eye(m))
    np.testing.assert_array_equal(first.predicted, np.zeros(m * m))
    np.testing.assert_array_equal(first.innovation.reshape(n, n), np.eye(n))


def varying():
    return linear(transition=tracking.TimeVarying(0.5 * jax.random.normal(KEY, (6, 2, 2))))


@pytest.mark.parametrize("architecture", [1, 2])
@pytest.mark.parametrize(
    ("make", "gain"),
    [
        (linear, tracking.SteadyStateGain()),
        (varying, tracking.KalmanGain()),
        (nonlinear, tracking.KalmanGain()),
        (nonlinear, tracking.SteadyStateGain()),
    ],
)
def test_the_untrained_filter_is_that_of_the_gain_that_goes_with_the_model(make, gain, architecture, x64):
    model = make()
    given = gain if isinstance(gain, tracking.SteadyStateGain) and make is nonlinear else None
    untrained = tracking.KalmanNet(model, key=KEY, architecture=architecture, nominal=given)
    nominal = eqx.tree_at(lambda f: f.gain, untrained, gain)
    found, expected = untrained(observations()).mean, nominal(observations()).mean
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
    assert not np.allclose(perturbed(untrained)(observations()).mean, nominal(observations()).mean)


def test_a_nonlinear_model_may_need_a_control_and_a_duration(x64):
    model, given = pushed(), pushes()
    expected = tracking.ExtendedKalmanFilter(model)(given).mean
    for make in (tracking.KalmanNet, tracking.SplitKalmanNet):
        np.testing.assert_allclose(make(model, key=KEY)(given).mean, expected, rtol=1e-10, atol=1e-12)
    for passes in (1, 2):
        smoothed = tracking.RTSNet(model, key=KEY, passes=passes)(given).mean
        np.testing.assert_allclose(smoothed, tracking.RTSSmoother(model)(given).mean, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("nominal", [tracking.KalmanGain(), tracking.FixedGain(jnp.full((2, 3), 0.2))])
def test_the_nominal_gain_is_any_gain_and_is_known(nominal, x64):
    model = linear()
    untrained = tracking.KalmanNet(model, key=KEY, nominal=nominal)
    found, expected = untrained(observations()).mean, tracking.KalmanFilter(model, nominal)(observations()).mean
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
    assert mbdl.spectrum(untrained).learned == mbdl.core.count(tracking.CascadeNetwork(2, 3, key=KEY))
    assert mbdl.spectrum(untrained).strategy == "DNN-aided"


def differences(model, given, features=None):
    """The features of every time, and the estimates, of a filter with a constant gain."""
    features = tracking.InputFeatures() if features is None else features

    class Watching(tracking.AbstractGain):
        def init(self, model):
            return features.init(model)

        def __call__(self, model, memory, innovation, seen):
            found, memory = features(model, memory, innovation, seen)
            found = tracking.Differences(*found)
            jax.debug.callback(lambda *values: record.append([np.asarray(v) for v in values]), *found)
            return jnp.full((2, 3), 0.1), None, memory

    record = []
    kf = tracking.KalmanFilter(model, Watching())
    memory, estimates = kf.init(), []
    for t in range(6):
        memory, estimate = kf.step(memory, jax.tree.map(lambda leaf, t=t: leaf[t], given))
        estimates.append(estimate)
    jax.effects_barrier()
    return [tracking.Differences(*entry) for entry in record], estimates


def unit(v):
    return v / max(np.linalg.norm(v), 1e-12)


def test_the_features_are_the_four_differences_of_the_paper():
    model, ys = linear(), observations()
    found, estimates = differences(model, ys)
    means = [np.asarray(model.initial_mean), *(np.asarray(e.mean) for e in estimates)]
    predicted = [means[0], *(np.asarray(e.predicted_mean) for e in estimates)]
    expected = np.asarray(model.observation) @ predicted[1]
    for t in range(6):
        F1, F2, F3, F4 = found[t]
        before = expected if t == 0 else ys[t - 1]
        np.testing.assert_allclose(F1, unit(np.asarray(ys[t] - before)), atol=1e-6)
        np.testing.assert_allclose(F2, unit(np.asarray(estimates[t].innovation)), atol=1e-6)
        np.testing.assert_allclose(F3, unit(means[t] - means[max(t - 1, 0)]), atol=1e-6)
        np.testing.assert_allclose(F4, unit(means[t] - predicted[t]), atol=1e-6)
    assert not np.any(found[0].evolution)
    assert not np.any(found[0].update)


def test_a_missing_component_has_no_difference_and_the_next_is_compared_with_the_last_present_one():
    given, model = inputs(), linear(control=jnp.eye(2))
    scale = 50.0
    smooth = tracking.InputFeatures(tracking.Saturation(scale))
    found, estimates = differences(model, given, smooth)
    present, ys = np.asarray(given.present), np.asarray(given.observation)
    expected = [np.asarray(model.observation) @ np.asarray(e.predicted_mean) for e in estimates]
    assert not present.all()
    for t in range(6):
        for j in range(3):
            earlier = [s for s in range(t) if present[s, j]]
            before = ys[earlier[-1], j] if earlier else expected[t][j]
            change = np.tanh((ys[t, j] - before) / scale) if present[t, j] else 0.0
            np.testing.assert_allclose(found[t].observation[j], change, atol=1e-6)
            if not present[t, j]:
                assert found[t].innovation[j] == 0


def test_what_a_missing_observation_holds_changes_nothing():
    given = inputs()
    kalmannet = perturbed(tracking.KalmanNet(linear(control=jnp.eye(2)), key=KEY))
    other = tracking.Inputs(jnp.where(given.present, given.observation, jnp.nan), given.control, given.present)
    np.testing.assert_array_equal(kalmannet(given).mean, kalmannet(other).mean)


def test_a_difference_of_zero_has_the_derivative_zero_and_any_other_unit_length():
    slope = jax.jacobian(tracking.UnitNorm())(jnp.zeros(3))
    np.testing.assert_array_equal(slope, jnp.zeros((3, 3)))
    np.testing.assert_allclose(jnp.linalg.norm(tracking.UnitNorm()(jnp.array([1e-9, 0.0, 2e-9]))), 1.0, rtol=1e-6)
    with pytest.raises(ValueError, match="must be positive"):
        tracking.Saturation(jnp.array([1.0, 0.0]))


def test_a_unit_length_has_the_derivatives_of_its_formula(x64):
    check_grads(tracking.UnitNorm(), (jnp.array([0.3, -0.4, 1.2]),), order=2, atol=1e-6, rtol=1e-6)
    # Below the smallest norm the feature is divided by a constant.
    slope = jax.jacobian(tracking.UnitNorm())(jnp.array([3e-13, 0.0]))
    np.testing.assert_allclose(slope, 1e12 * jnp.eye(2), rtol=1e-12)
    assert np.all(np.isfinite(jax.hessian(lambda v: jnp.sum(tracking.UnitNorm()(v)))(jnp.zeros(2))))


def test_other_units_change_neither_the_estimates_nor_their_gradient(x64):
    """Metres or millimetres: the correction is a number without units, and saturated features are too."""
    scale = jnp.array([1e3, 0.1])
    dtype = jnp.float64
    F, H = jnp.asarray([[1.0, 0.5], [-0.2, 0.9]], dtype), jnp.asarray([[1.0, 0.2], [0.0, 1.0]], dtype)

    def filtered(units, of_observation):
        T, D = jnp.diag(units), jnp.diag(of_observation)
        model = tracking.LinearGaussian(
            transition=T @ F @ jnp.linalg.inv(T), observation=D @ H @ jnp.linalg.inv(T),
            process_noise=0.1 * T @ T, observation_noise=D @ D, initial_mean=jnp.zeros(2),
            initial_covariance=jnp.zeros((2, 2)),
        )  # fmt: skip
        features = tracking.InputFeatures(tracking.Saturation(of_observation), tracking.Saturation(units))
        kalmannet = perturbed(tracking.KalmanNet(model, key=KEY, features=features), 0.1)
        return kalmannet(observations()[:, :2] @ D).mean @ jnp.linalg.inv(T)

    ones = jnp.ones(2, dtype)
    np.testing.assert_allclose(filtered(scale, jnp.array([1e-4, 7.0])), filtered(ones, ones), rtol=1e-8)


def test_gradients_of_a_network_that_speaks_match_central_differences(x64):
    kalmannet = perturbed(tracking.KalmanNet(linear(), key=KEY), 0.1)
    learned, rest = mbdl.core.partition(kalmannet)
    states = jax.random.normal(jax.random.key(7), (6, 2), jnp.float64)
    ys = observations()

    @jax.jit
    def risk(learned):
        return tracking.state_error(mbdl.core.combine(learned, rest)(ys), states)

    slope = jax.grad(risk)(learned)
    leaves, structure = jax.tree.flatten(learned)
    keys = jax.random.split(jax.random.key(8), len(leaves))
    direction = structure.unflatten([jax.random.normal(k, n.shape, n.dtype) for n, k in zip(leaves, keys, strict=True)])
    step = 1e-7

    def along(t):
        return risk(jax.tree.map(lambda a, d: a + t * d, learned, direction))

    numeric = (along(step) - along(-step)) / (2 * step)
    exact = sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(slope), jax.tree.leaves(direction), strict=True))
    np.testing.assert_allclose(exact, numeric, rtol=1e-5)
    assert all(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(slope))


def test_a_bad_architecture_or_network_is_refused():
    with pytest.raises(ValueError, match="architecture 1 or 2, got 3"):
        tracking.KalmanNet(linear(), key=KEY, architecture=3)
    with pytest.raises(ValueError, match=r"got sees=\('noise',\)"):
        tracking.SingleUnitNetwork(2, 2, sees=("noise",), key=KEY)
    with pytest.raises(TypeError, match="such as CascadeNetwork, got Linear"):
        tracking.RecurrentGain(mbdl.networks.Linear(2, 2, key=KEY))
    with pytest.raises(ValueError, match="FixedGain: expected a matrix"):
        tracking.FixedGain(jnp.zeros(3))
