"""The named models: their matrices against closed forms and scipy, and their maps against differences and solvers."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg

import mbdl
from mbdl import tracking

NOW = tracking.Moment(jnp.asarray(0))


def after(duration):
    return tracking.Moment(jnp.asarray(0), None, jnp.asarray(duration))


def differences(function, state, step=1e-6):
    """The Jacobian by central differences: exact to step^2 and eps / step, some 1e-10."""
    columns = [(function(state + d) - function(state - d)) / (2 * step) for d in step * np.eye(len(state))]
    return np.stack(columns, axis=1)


def van_loan(rate, diffusion, step):
    """The exact transition and process noise of a linear differential equation with white noise."""
    size = len(rate)
    block = np.block([[-rate, diffusion], [np.zeros((size, size)), rate.T]])
    exponential = scipy.linalg.expm(block * step)
    F = exponential[size:, size:].T
    return F, F @ exponential[:size, size:]


@pytest.mark.parametrize(("builder", "order"), [(tracking.constant_velocity, 2), (tracking.constant_acceleration, 3)])
def test_kinematic_matrices_are_those_of_the_differential_equation(builder, order, x64):
    model = builder(0.3, q2=[1.7, 0.4], r2=0.5, axes=2)
    rate = np.kron(np.eye(order, k=1), np.eye(2))
    diffusion = np.zeros((2 * order, 2 * order))
    diffusion[-2:, -2:] = np.diag([1.7, 0.4])
    for moment, step in ((NOW, 0.3), (after(1.1), 1.1)):
        F, Q = van_loan(rate, diffusion, step)
        np.testing.assert_allclose(model.transit_jacobian(model.initial_mean, moment), F, rtol=1e-12)
        np.testing.assert_allclose(model.process_noise_at(moment), Q, rtol=1e-10, atol=1e-14)
    np.testing.assert_array_equal(model.observation, np.eye(2, 2 * order))
    np.testing.assert_array_equal(model.observation_noise, 0.5 * np.eye(2))


def test_constant_acceleration_is_that_of_the_literature(x64):
    t = 0.01
    Q = [[t**5 / 20, t**4 / 8, t**3 / 6], [t**4 / 8, t**3 / 3, t**2 / 2], [t**3 / 6, t**2 / 2, t]]
    model = tracking.constant_acceleration(t, q2=1.0, r2=1.0)
    np.testing.assert_allclose(model.process_noise_at(NOW), Q, rtol=1e-12)
    assert model.observation.tolist() == [[1.0, 0.0, 0.0]]
    assert np.all(model.initial_covariance == 0)


def test_a_duration_of_zero_changes_nothing_and_has_a_derivative(x64):
    model = tracking.constant_velocity(1.0, q2=1.0, r2=1.0)
    np.testing.assert_array_equal(model.transit_jacobian(model.initial_mean, after(0.0)), np.eye(2))
    np.testing.assert_array_equal(model.process_noise_at(after(0.0)), np.zeros((2, 2)))
    slope = jax.jacfwd(lambda d: model.process_noise_at(after(d)))(0.0)
    np.testing.assert_allclose(slope, [[0.0, 0.0], [0.0, 1.0]])


def test_irregular_samples_are_those_of_a_regular_grid_with_gaps(x64):
    kept = np.array([0, 1, 3, 4, 8])
    model = tracking.constant_velocity(0.5, q2=0.8, r2=0.2, initial_covariance=jnp.eye(2))
    ys = np.random.default_rng(0).normal(size=(9, 1))
    regular = tracking.KalmanFilter(model)(tracking.Inputs(ys, present=np.isin(np.arange(9), kept)))
    durations = 0.5 * np.diff(kept, prepend=-1)
    irregular = tracking.KalmanFilter(model)(tracking.Inputs(ys[kept], duration=durations))
    np.testing.assert_allclose(irregular.mean, regular.mean[kept], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(irregular.covariance, regular.covariance[kept], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(jnp.sum(irregular.log_likelihood), jnp.sum(regular.log_likelihood), rtol=1e-10)


TURNING = np.array([1.0, -2.0, 3.0, 0.5])


@pytest.mark.parametrize("rate", [0.0, 1e-9, -0.7, 2.0])
def test_a_coordinated_turn_is_the_solution_of_its_differential_equation(rate, x64):
    model = tracking.coordinated_turn(0.4, q2=0.3, turn_q2=0.1, r2=1.0)
    state = np.array([*TURNING, rate])
    generator = np.zeros((4, 4))
    generator[:2, 2:] = np.eye(2)
    generator[2:, 2:] = [[0.0, -rate], [rate, 0.0]]
    for moment, step in ((NOW, 0.4), (after(1.3), 1.3)):
        expected = scipy.linalg.expm(generator * step) @ TURNING
        np.testing.assert_allclose(model.transit(state, moment), [*expected, rate], rtol=1e-12, atol=1e-12)
        jacobian = model.transit_jacobian(state, moment)
        numeric = differences(lambda s, moment=moment: model.transit(s, moment), state)
        np.testing.assert_allclose(jacobian, numeric, atol=1e-8)


def test_a_turn_rate_of_zero_is_a_constant_velocity_in_float32_too():
    model = tracking.coordinated_turn(0.4, q2=0.3, turn_q2=0.1, r2=1.0)
    straight = tracking.constant_velocity(0.4, q2=0.3, r2=1.0, axes=2)
    state = jnp.asarray([*TURNING, 0.0])
    jacobian = model.transit_jacobian(state, NOW)
    np.testing.assert_allclose(jacobian[:4, :4], straight.transition(NOW), rtol=1e-6)
    # The derivative in the rate: half of the step squared, times the velocity turned by a right angle.
    np.testing.assert_allclose(jacobian[:, 4], [-0.04, 0.24, -0.2, 1.2, 1.0], rtol=1e-5)
    second = jax.jacfwd(model.transit_jacobian)(state, NOW)
    assert bool(jnp.all(jnp.isfinite(second)))
    noise = model.process_noise_at(NOW)
    np.testing.assert_allclose(noise[:4, :4], straight.process_noise(NOW), rtol=1e-6)
    np.testing.assert_allclose(noise[4], [0, 0, 0, 0, 0.04], rtol=1e-6)


@pytest.mark.parametrize(("size", "rows"), [(2, None), (2, 1), (5, None), (4, 2)])
def test_the_canonical_system_is_that_of_the_literature(size, rows):
    model = tracking.canonical(size, rows, q2=0.01, r2=0.5)
    F = np.eye(size)
    F[0] = 1
    H = np.eye(2) if size == 2 else np.fliplr(np.eye(size))
    if size != 2:
        H[0] = 1
    np.testing.assert_array_equal(model.transition, F)
    np.testing.assert_array_equal(model.observation, H[:rows])
    np.testing.assert_allclose(model.process_noise, 0.01 * np.eye(size))
    np.testing.assert_allclose(model.observation_noise, 0.5 * np.eye(rows or size))
    assert np.all(model.initial_covariance == 0)
    assert np.all(model.initial_mean == 0)
    assert model.starts == "before"


def test_rotations(x64):
    c, s = math.cos(math.radians(10)), math.sin(math.radians(10))
    turn = np.array([[c, -s], [s, c]])
    plain = tracking.canonical(2, q2=1.0, r2=1.0)
    rotated = tracking.canonical(2, q2=1.0, r2=1.0, rotate_transition=10.0)
    np.testing.assert_allclose(rotated.transition, plain.transition @ turn, rtol=1e-12)
    np.testing.assert_array_equal(rotated.observation, plain.observation)
    rotated = tracking.canonical(3, q2=1.0, r2=1.0, rotate_observation=10)
    turn = scipy.linalg.block_diag(turn, 1.0)
    np.testing.assert_allclose(rotated.observation, np.array([[1, 1, 1], [0, 1, 0], [1, 0, 0]]) @ turn, atol=1e-12)
    # The exponential of the generators of the rotations about the three axes.
    a = math.radians(10)
    generators = np.zeros((3, 3, 3))
    for axis, (i, j) in enumerate(((1, 2), (2, 0), (0, 1))):
        generators[axis, j, i], generators[axis, i, j] = a, -a
    one, two, three = map(scipy.linalg.expm, generators)
    np.testing.assert_allclose(tracking.axes_rotation(10.0), three @ two @ one, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("size", [1, 4, 7])
def test_a_random_canonical_system_is_stable_controllable_and_its_key_s(size, x64):
    def make(seed):
        return tracking.random_canonical(size, 2, key=jax.random.key(seed), q2=0.3, r2=0.1, radius=0.9)

    model = make(0)
    F, b = np.asarray(model.transition), np.asarray(model.process_noise.factor)
    assert np.max(np.abs(np.linalg.eigvals(F))) < 0.9
    np.testing.assert_array_equal(F[:-1], np.eye(size, k=1)[:-1])
    controllability = np.hstack([np.linalg.matrix_power(F, k) @ b for k in range(size)])
    assert np.linalg.matrix_rank(controllability) == size
    np.testing.assert_allclose(tracking.dense(model.process_noise)[-1, -1], 0.3)
    assert np.linalg.matrix_rank(tracking.dense(model.process_noise)) == 1
    jax.tree.map(np.testing.assert_array_equal, make(0), model)
    assert not np.allclose(make(1).transition[-1], F[-1])
    # The last row holds the characteristic polynomial, whose roots are the eigenvalues.
    np.testing.assert_allclose(np.poly(F)[:0:-1], -F[-1], atol=1e-12)


def lorenz_rate(s):
    return np.array([[-10.0, 10.0, 0.0], [28.0 - s[2], -1.0, 0.0], [s[1], 0.0, -8 / 3]])


POINT = np.array([1.5, -2.0, 20.0])


@pytest.mark.parametrize("order", [0, 1, 2, 5])
def test_the_lorenz_transition_is_the_taylor_polynomial_of_the_literature(order, x64):
    transition = tracking.Lorenz(0.02, order=order)
    A = lorenz_rate(POINT) * 0.02
    F = sum(np.linalg.matrix_power(A, j) / math.factorial(j) for j in range(order + 1))
    np.testing.assert_allclose(transition(POINT, NOW), F @ POINT, rtol=1e-12)
    turn = tracking.axes_rotation(5.0)
    rotated = tracking.lorenz(0.02, q2=1.0, r2=1.0, order=order, rotate_transition=5.0)
    np.testing.assert_allclose(rotated.transit(POINT, NOW), F @ turn @ POINT, rtol=1e-12)


def test_the_lorenz_transition_at_a_high_order_is_the_exponential(x64):
    transition = tracking.Lorenz(0.02, order=15)
    for moment, step in ((NOW, 0.02), (after(0.05), 0.05)):
        expected = scipy.linalg.expm(lorenz_rate(POINT) * step) @ POINT
        np.testing.assert_allclose(transition(POINT, moment), expected, rtol=1e-10)


@pytest.mark.parametrize("name", ["Lorenz", "VanDerPol"])
def test_fine_steps_follow_the_differential_equation(name, x64):
    """Holding A(s) over a step is exact to first order: ten times finer steps have a tenth of the error."""
    if name == "Lorenz":
        transition, rate, start = tracking.Lorenz(1.0), lambda t, s: lorenz_rate(s) @ s, POINT
    else:
        transition = tracking.VanDerPol(1.0, mu=1.3)
        start = np.array([0.5, 1.0])

        def rate(t, s):
            return [s[1], 1.3 * (1 - s[0] ** 2) * s[1] - s[0]]

    expected = scipy.integrate.solve_ivp(rate, (0, 0.4), start, rtol=1e-11, atol=1e-12).y[:, -1]
    errors = []
    for steps in (400, 4000):
        moment = after(0.4 / steps)
        final = jax.lax.fori_loop(0, steps, lambda _, s, moment=moment: transition(s, moment), jnp.asarray(start))
        errors.append(float(np.max(np.abs(final - expected))))
    assert errors[1] < 5e-3
    assert 8 < errors[0] / errors[1] < 12


MAPS = {
    "Lorenz": (tracking.Lorenz(0.02, order=3, rotation=np.eye(3)[::-1]), POINT),
    "VanDerPol": (tracking.VanDerPol(0.1), np.array([0.4, -1.0])),
    "Spherical": (tracking.Spherical(), np.array([1.0, -2.0, 0.5])),
    "BearingRange": (tracking.BearingRange([0.5, 1.0]), np.array([-2.0, 0.3, 7.0])),
    "Pinhole": (tracking.Pinhole(500.0, [320.0, 240.0], [0.1, 0.2, -3.0]), np.array([1.0, -0.5, 4.0, 9.0])),
}


@pytest.mark.parametrize("name", MAPS)
def test_jacobians_agree_with_differences(name, x64):
    function, state = MAPS[name]
    function = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), function)
    size = len(function(state, NOW))
    model = tracking.NonlinearGaussian(
        transition=lambda s, moment: s,
        observation=function,
        process_noise=jnp.eye(len(state)),
        observation_noise=jnp.eye(size),
        initial_mean=state,
        initial_covariance=jnp.eye(len(state)),
    )
    numeric = differences(lambda s: function(s, NOW), state)
    np.testing.assert_allclose(model.observe_jacobian(state, NOW), numeric, rtol=1e-7, atol=1e-7)
    assert np.max(np.abs(numeric)) > 0.1


def test_the_true_jacobian_of_lorenz_is_not_its_matrix(x64):
    model = tracking.lorenz(q2=1.0, r2=1.0)
    F = scipy.linalg.expm(lorenz_rate(POINT) * 0.02)
    assert np.max(np.abs(model.transit_jacobian(POINT, NOW) - F)) > 0.01


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1), (-1, -1, 1), (1, -1, -1)])
def test_spherical_coordinates_lead_back_to_the_point(signs, x64):
    point = np.array([0.3, 1.2, 2.5]) * signs
    radius, polar, azimuth = tracking.Spherical()(point, NOW)
    ring = radius * np.sin(polar)
    np.testing.assert_allclose(
        [ring * np.cos(azimuth), ring * np.sin(azimuth), radius * np.cos(polar)], point, rtol=1e-12
    )
    assert 0 <= polar <= np.pi
    assert 0 <= azimuth < 2 * np.pi


def test_a_pinhole_camera_turned_and_moved(x64):
    # A camera at (0, 0, 5) that looks down on the plane: a point of height 0 is 5 in front of it.
    down = np.array([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]])
    camera = tracking.Pinhole(100.0, [0.0, 0.0], [0.0, 0.0, 5.0], down)
    np.testing.assert_allclose(camera(np.array([1.0, 2.0, 0.0]), NOW), [20.0, -40.0])


def test_a_wrapped_difference_is_the_shortest_turn(x64):
    difference = tracking.WrappedDifference([0])
    rng = np.random.default_rng(0)
    observed, expected = rng.uniform(-20, 20, (2, 50, 2))
    wrapped = jax.vmap(difference)(observed, expected)
    np.testing.assert_allclose(wrapped[:, 0], np.angle(np.exp(1j * (observed - expected)[:, 0])), atol=1e-12)
    np.testing.assert_array_equal(wrapped[:, 1], (observed - expected)[:, 1])
    slopes = jax.jacfwd(difference)(observed[0], expected[0])
    np.testing.assert_array_equal(slopes, np.eye(2))


def test_a_filter_that_wraps_angles_passes_the_jump_of_the_bearing(x64):
    """A point that circles the sensor: its bearing jumps from pi to -pi, and the estimate must not."""
    sensor = tracking.BearingRange()

    def model(difference):
        return tracking.coordinated_turn(
            0.1,
            q2=1e-4,
            turn_q2=1e-4,
            r2=[1e-2, 1e-2],
            observation=sensor,
            difference=difference,
            initial_mean=jnp.array([np.cos(0.09), np.sin(0.09), -np.sin(0.09), np.cos(0.09), 1.0]),
        )

    # With an alternating error, so that observed and expected bearings are on either side of the jump.
    count = np.arange(1, 61)
    angles, errors = 0.1 * (count + 0.9), 0.1 * (-1.0) ** count
    truth = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    ys = np.stack([np.angle(np.exp(1j * (angles + errors))), np.ones(60)], axis=1)
    errors = [
        float(np.max(np.abs(tracking.ExtendedKalmanFilter(model(difference))(ys).mean[:, :2] - truth)))
        for difference in (tracking.WrappedDifference([0]), None)
    ]
    assert errors[0] < 0.05
    assert errors[1] > 0.5


def test_an_extended_filter_of_the_spherical_lorenz_system_beats_the_inverted_observations(x64):
    model = tracking.lorenz(
        q2=1e-3, r2=1e-3, observation=tracking.Spherical(), difference=tracking.WrappedDifference([2])
    )
    observations, states = tracking.simulate(model, jax.random.key(0), steps=20, runs=50)
    means = jax.vmap(tracking.ExtendedKalmanFilter(model))(observations).mean
    radius, polar, azimuth = jnp.moveaxis(observations, -1, 0)
    ring = radius * jnp.sin(polar)
    inverted = jnp.stack([ring * jnp.cos(azimuth), ring * jnp.sin(azimuth), radius * jnp.cos(polar)], axis=-1)
    # The published error at this setting is -26.4 dB, over 200 runs; 50 runs spread by some tenths of a decibel.
    error = 10 * np.log10(np.mean((means - states) ** 2))
    assert abs(error - -26.42) < 1.0
    assert error < 10 * np.log10(np.mean((inverted - states) ** 2)) - 3


def test_decimation_keeps_every_so_many_th_state(x64):
    fine = tracking.lorenz(1e-3, q2=0.1, r2=0.25, initial_covariance=0.01 * jnp.eye(3))
    observations, states = tracking.decimated(fine, jax.random.key(0), steps=40, runs=100, every=20)
    assert observations.shape == states.shape == (100, 40, 3)

    def follow(state):
        return jax.lax.fori_loop(0, 20, lambda k, s: fine.transit(s, NOW), state)

    np.testing.assert_allclose(jax.vmap(jax.vmap(follow))(states[:, :-1]), states[:, 1:], rtol=1e-9, atol=1e-9)
    noise = np.asarray(observations - states).ravel()  # 12,000 values: the variance is known to 1.3 %
    assert abs(np.var(noise) / 0.25 - 1) < 0.06
    first = tracking.decimated(fine, jax.random.key(0), steps=2, runs=3, every=20)
    np.testing.assert_allclose(first.states, states[:3, :2], rtol=1e-12)
    np.testing.assert_allclose(first.observations, observations[:3, :2], rtol=1e-12)


def test_decimation_of_a_known_state_begins_where_the_model_says():
    for starts, count in (("before", 3), ("at", 0)):
        model = tracking.lorenz(0.01, q2=0.0, r2=1.0, starts=starts)
        states = tracking.decimated(model, jax.random.key(0), steps=2, runs=1, every=3).states
        state = jnp.ones(3)
        for _ in range(count):
            state = model.transit(state, NOW)
        np.testing.assert_allclose(states[0, 0], state, rtol=1e-6)
        assert states.dtype == jnp.float32


MODELS = {
    "constant velocity": lambda: tracking.constant_velocity(0.1, q2=1.0, r2=1.0),
    "coordinated turn": lambda: tracking.coordinated_turn(0.1, q2=1.0, turn_q2=1.0, r2=1.0),
    "canonical": lambda: tracking.canonical(2, q2=1.0, r2=1.0),
    "random canonical": lambda: tracking.random_canonical(3, key=jax.random.key(0), q2=1.0, r2=1.0),
    "Lorenz": lambda: tracking.lorenz(
        q2=1.0, r2=1.0, observation=tracking.Spherical(), difference=tracking.WrappedDifference([2])
    ),
    "Van der Pol": lambda: tracking.van_der_pol(q2=1.0, r2=1.0),
    "pinhole": lambda: tracking.lorenz(q2=1.0, r2=1.0, observation=tracking.Pinhole(1.0, [0.0, 0.0])),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_are_saved_and_loaded(name, tmp_path):
    model = MODELS[name]()
    mbdl.save(tmp_path / "model.mbdl", model)
    restored = mbdl.load(tmp_path / "model.mbdl")
    assert jax.tree.structure(restored) == jax.tree.structure(model)
    jax.tree.map(np.testing.assert_array_equal, restored, model)


def test_what_a_filter_of_a_named_model_learns_is_a_leaf():
    filter = tracking.KalmanFilter(tracking.constant_velocity(0.1, q2=0.5, r2=1.0))
    learned = mbdl.learn(filter, lambda f: f.model.process_noise.density, constraint=mbdl.positive)
    assert mbdl.spectrum(learned).learned == 1
    ys = jnp.ones((4, 1))
    np.testing.assert_allclose(learned(ys).mean, filter(ys).mean, rtol=1e-5)


def lorenz(**changes):
    return tracking.lorenz(**{"q2": 1.0, "r2": 1.0, **changes})


BAD = {
    "a step of zero": (lambda: tracking.constant_velocity(0.0, q2=1.0, r2=1.0), "step must be positive"),
    "a negative step": (lambda: tracking.coordinated_turn(-1.0, q2=1.0, turn_q2=1.0, r2=1.0), "step must be positive"),
    "a negative density": (lambda: tracking.constant_velocity(1.0, q2=-1.0, r2=1.0), "density must not be negative"),
    "too many densities": (
        lambda: tracking.constant_velocity(1.0, q2=[1.0, 2.0], r2=1.0),
        "density: expected one variance, or one for each of 1 components, got shape \\(2,\\)",
    ),
    "a negative variance": (lambda: tracking.canonical(2, q2=1.0, r2=-1.0), "r2 must not be negative"),
    "a negative turn density": (
        lambda: tracking.coordinated_turn(1.0, q2=1.0, turn_q2=-1.0, r2=1.0),
        "turn_density must not be negative",
    ),
    "no axes": (lambda: tracking.constant_acceleration(1.0, q2=1.0, r2=1.0, axes=0), "axes: expected an integer of at"),
    "no order": (
        lambda: tracking.KinematicTransition(1.0, order=0, axes=1),
        "order: expected an integer of at least 1",
    ),
    "an initial mean of another size": (
        lambda: tracking.constant_velocity(1.0, q2=1.0, r2=1.0, initial_mean=jnp.zeros(3)),
        "constant_velocity: expected initial_mean to have shape \\(2,\\), got \\(3,\\)",
    ),
    "another observation": (
        lambda: tracking.constant_velocity(1.0, q2=1.0, r2=1.0, observation=jnp.eye(3)),
        "observation: expected a matrix \\[any 2\\]",
    ),
    "no states": (lambda: tracking.canonical(0, q2=1.0, r2=1.0), "size: expected an integer of at least 1, got 0"),
    "more observations than states": (
        lambda: tracking.canonical(2, 3, q2=1.0, r2=1.0),
        "at most as many observations as states \\(2\\), got 3",
    ),
    "one state rotated": (
        lambda: tracking.canonical(1, q2=1.0, r2=1.0, rotate_transition=1.0),
        "rotate_transition: one state cannot be rotated",
    ),
    "an unstable radius": (
        lambda: tracking.random_canonical(2, key=jax.random.key(0), q2=1.0, r2=1.0, radius=1.5),
        "expected a radius between 0 and 1",
    ),
    "a negative Taylor order": (lambda: lorenz(order=-1), "Lorenz: expected a Taylor order of at least 0, got -1"),
    "a parameter that is not finite": (lambda: tracking.VanDerPol(0.1, mu=jnp.nan), "mu must be finite"),
    "a rotation of a given observation": (
        lambda: lorenz(observation=tracking.Spherical(), rotate_observation=1.0),
        "rotate_observation turns the default observation",
    ),
    "a rotation of another size": (
        lambda: tracking.Lorenz(0.1, rotation=jnp.eye(2)),
        "Lorenz: rotation: expected a matrix \\[3 3\\]",
    ),
    "a sensor in space": (
        lambda: tracking.BearingRange([0.0, 0.0, 0.0]),
        "sensor: expected shape \\(2,\\), got \\(3,\\)",
    ),
    "a focal length of zero": (lambda: tracking.Pinhole(0.0, [0.0, 0.0]), "focal_length must be positive"),
    "an observation that is no matrix": (
        lambda: tracking.LinearObservation(jnp.ones(3)),
        "LinearObservation: matrix: expected a matrix \\[any any\\]",
    ),
    "an angle twice": (lambda: tracking.WrappedDifference([1, 1]), "expected distinct indices of components"),
    "an angle that is not there": (
        lambda: tracking.WrappedDifference([2])(jnp.zeros(2), jnp.zeros(2)),
        "the angles are the components \\(2,\\), and an observation has 2",
    ),
    "no fine steps": (
        lambda: tracking.decimated(lorenz(), jax.random.key(0), steps=1, runs=1, every=0),
        "decimated: every: expected an integer of at least 1, got 0",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_parameters_raise(name):
    make, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        make()
