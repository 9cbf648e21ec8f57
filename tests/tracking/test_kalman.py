"""The Kalman filter and its gains against the joint normal distribution of all states and observations."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tracking.oracle import Joint
from tracking.rules import badly_scaled

import mbdl
from mbdl import tracking
from mbdl.tracking.kalman_gain import whitener_of

STATES, SEEN, STEPS = 3, 2, 5
RNG = np.random.default_rng(0)


def spread(size):
    factor = RNG.normal(size=(size, size))
    return factor @ factor.T + 0.1 * np.eye(size)


F = 0.6 * RNG.normal(size=(STEPS, STATES, STATES))
H = RNG.normal(size=(STEPS, SEEN, STATES))
Q = np.stack([spread(STATES) for _ in range(STEPS)])
R = np.stack([spread(SEEN) for _ in range(STEPS)])
B = RNG.normal(size=(STATES, 2))
MEAN, P = RNG.normal(size=STATES), spread(STATES)
CONTROL = RNG.normal(size=(STEPS, 2))
YS = RNG.normal(size=(STEPS, SEEN))
PRESENT = np.array([[1, 1], [0, 1], [0, 0], [1, 0], [1, 1]], bool)
LOW = RNG.normal(size=(STATES, 1))  # a factor of rank one


def constant(matrix):
    return np.broadcast_to(matrix, (STEPS, *matrix.shape))


def case(name, starts):
    """A model, its inputs, their mask, and the oracle."""
    initial = {"initial_mean": MEAN, "initial_covariance": P}
    matrices = [constant(F[0]), constant(Q[0]), constant(H[0]), constant(R[0])]
    parameters = {"transition": F[0], "observation": H[0], "process_noise": Q[0], "observation_noise": R[0], **initial}
    x, present, shift = YS, None, None
    covariance = P
    if name == "singular":
        # A known state, and noise in one direction, held by its factor.
        covariance = np.zeros_like(P)
        matrices[1] = constant(LOW @ LOW.T)
        parameters |= {"process_noise": tracking.Factor(jnp.asarray(LOW)), "initial_covariance": covariance}
    if name == "all at once":
        matrices = [F, Q, H, R]
        names = ("transition", "process_noise", "observation", "observation_noise")
        parameters |= {name: tracking.TimeVarying(value) for name, value in zip(names, matrices, strict=True)}
        parameters["control"], present = B, PRESENT
        x = tracking.Inputs(np.where(PRESENT, YS, np.nan), CONTROL, PRESENT)
        shift = CONTROL @ B.T
    model = tracking.LinearGaussian(**parameters, starts=starts)
    return model, x, present, Joint(*matrices, MEAN, covariance, shift=shift, starts=starts)


GAINS = {"KalmanGain": tracking.KalmanGain, "SquareRootGain": tracking.SquareRootGain}


@pytest.mark.parametrize("starts", ["before", "at"])
@pytest.mark.parametrize("name", ["plain", "singular", "all at once"])
@pytest.mark.parametrize("gain", GAINS)
def test_it_is_conditioning_in_the_joint_distribution(gain, name, starts, x64):
    model, x, present, joint = case(name, starts)
    estimates = tracking.KalmanFilter(model, GAINS[gain]())(x)
    close = {"rtol": 1e-9, "atol": 1e-11}
    for t in range(STEPS):
        mean, covariance = joint.given(joint.state(t), YS, t + 1, present)
        np.testing.assert_allclose(estimates.mean[t], mean, **close)
        np.testing.assert_allclose(estimates.covariance[t], covariance, **close)
        mean, both = joint.given(np.concatenate([joint.state(t - 1), joint.state(t)]), YS, t, present)
        np.testing.assert_allclose(estimates.predicted_mean[t], mean[STATES:], **close)
        np.testing.assert_allclose(estimates.predicted_covariance[t], both[STATES:, STATES:], **close)
        np.testing.assert_allclose(estimates.cross_covariance[t], both[:STATES, STATES:], **close)
        density = joint.log_density(YS, t + 1, present) - joint.log_density(YS, t, present)
        np.testing.assert_allclose(estimates.log_likelihood[t], density, rtol=1e-9, atol=1e-10)
        if present is None:
            nu, S = estimates.innovation[t], estimates.innovation_covariance[t]
            square = nu @ np.linalg.solve(S, nu)
            np.testing.assert_allclose(estimates.normalised_innovation_squared[t], square, rtol=1e-9)


SHARED = []


class Sharing(tracking.KalmanGain):
    """The gain of the Kalman filter, which says where it is the same for all sequences."""

    def shared(self, model, memory, features):
        SHARED.append(type(model))
        return super().shared(model, memory, features)


class Watching(Sharing):
    """That gain, of which the filter does not know that it is determined beforehand."""

    predetermined = False


def of_size(size, starts="before"):
    """A model of a control, and of some more states than components that are seen."""
    rng = np.random.default_rng(size)
    F, H = 0.5 * rng.normal(size=(size + 1, size + 1)) / np.sqrt(size), rng.normal(size=(size, size + 1))
    return tracking.LinearGaussian(
        transition=F,
        observation=H,
        process_noise=spread(size + 1),
        observation_noise=spread(size),
        control=rng.normal(size=(size + 1, 2)),
        initial_mean=rng.normal(size=size + 1),
        initial_covariance=spread(size + 1),
        starts=starts,
    )


@pytest.mark.parametrize("size", [1, 2, 4, 9, 13])  # How a gain is computed depends on the size.
@pytest.mark.parametrize("starts", ["before", "at"])
def test_one_product_a_step_is_prediction_and_correction(starts, size, x64):
    model = of_size(size, starts)
    xs = tracking.Inputs(np.random.default_rng(0).normal(size=(STEPS, size)), CONTROL)
    found = tracking.KalmanFilter(model, Sharing())(xs)
    shared = len(SHARED)
    expected = tracking.KalmanFilter(model, Watching())(xs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12), found, expected)
    assert len(SHARED) == shared > 0
    SHARED.clear()


@pytest.mark.parametrize("size", [2, 4, 9, 13])
def test_a_singular_innovation_is_said_whatever_the_size(size):
    model = of_size(size)
    matrix = np.asarray(model.observation).copy()
    matrix[1] = matrix[0]  # The same component twice, and no noise.
    model = eqx.tree_at(lambda m: (m.observation, m.observation_noise), model, (matrix, np.zeros((size, size))))
    with pytest.raises(ValueError, match="covariance of an innovation is singular"):
        tracking.KalmanFilter(model)(tracking.Inputs(np.ones((STEPS, size)), CONTROL))


def test_a_missing_observation_tells_nothing(x64):
    model, _, _, _ = case("plain", "before")
    x = tracking.Inputs(np.where(PRESENT, YS, np.nan), present=PRESENT)
    estimates = tracking.KalmanFilter(model)(x)
    np.testing.assert_allclose(estimates.mean[2], estimates.predicted_mean[2])
    np.testing.assert_allclose(estimates.covariance[2], estimates.predicted_covariance[2])
    assert np.all(np.asarray(estimates.innovation)[~PRESENT] == 0)
    assert float(estimates.log_likelihood[2]) == 0
    by_nan = tracking.KalmanFilter(model)(tracking.nan_means_missing(np.where(PRESENT, YS, np.nan)))
    jax.tree.map(np.testing.assert_array_equal, by_nan, estimates)


def test_innovations_of_its_own_model_are_consistent(x64):
    model, _, _, _ = case("plain", "before")
    observations, states = tracking.simulate(model, jax.random.key(0), steps=STEPS, runs=2000)
    estimates = jax.vmap(tracking.KalmanFilter(model))(observations)
    # Chi squared with two degrees of freedom, and independent over time: 10,000 samples, whose mean spreads by 0.02.
    assert abs(float(jnp.mean(estimates.normalised_innovation_squared)) - SEEN) < 0.08
    error = estimates.mean - states
    square = jnp.einsum("rti,rtij,rtj->rt", error, jnp.linalg.inv(estimates.covariance), error)
    assert abs(float(jnp.mean(square)) - STATES) < 0.13  # 2,000 independent runs: four times sqrt(2 * 3 / 2000)


def test_the_square_root_form_holds_a_condition_of_1e10_in_single_precision(x64):
    ys = np.random.default_rng(1).normal(size=(20, 1))
    exact = tracking.KalmanFilter(badly_scaled(jnp.float64), tracking.SquareRootGain())(ys)

    ys = jnp.asarray(ys, jnp.float32)
    estimates = tracking.KalmanFilter(badly_scaled(jnp.float32), tracking.SquareRootGain())(ys)
    assert estimates.covariance.dtype == jnp.float32
    scale = jnp.sqrt(jnp.diagonal(exact.covariance, axis1=1, axis2=2))
    error = (estimates.covariance - exact.covariance) / (scale[:, :, None] * scale[:, None, :])
    # A factor of condition 1e5 is known to 1e5 times the precision of float32, and its square to twice that.
    assert float(jnp.max(jnp.abs(error))) < 2e5 * jnp.finfo(jnp.float32).eps
    correlations = estimates.covariance.astype(jnp.float64) / (scale[:, :, None] * scale[:, None, :])
    assert float(jnp.min(jnp.linalg.eigvalsh(correlations))) > 0


@pytest.mark.parametrize(
    "kind", [tracking.KalmanFilter, tracking.ExtendedKalmanFilter, tracking.ParallelKalmanFilter, tracking.RTSSmoother]
)
def test_a_factor_whose_square_single_precision_does_not_hold_is_refused_by_what_squares_it(kind):
    # The covariance is not known at all in single precision: a filter that carries it can be finite, and is wrong.
    with pytest.raises(ValueError, match=r"float32 does not hold. Use float64, or a filter with tracking.SquareRoot"):
        kind(badly_scaled(jnp.float32))


@pytest.mark.parametrize("learned", [tracking.KalmanNet, tracking.SplitKalmanNet])
def test_a_learned_gain_refuses_what_its_nominal_one_does(learned):
    model, key = badly_scaled(jnp.float32), jax.random.key(0)
    learned(model, key=key)  # around the gain that the filter settles at, whatever the initial covariance
    with pytest.raises(ValueError, match="float32 does not hold"):
        learned(model, key=key, nominal=tracking.KalmanGain())


def test_where_the_filter_diverged_is_told():
    model = tracking.LinearGaussian(
        transition=1e10 * jnp.eye(1),
        observation=jnp.eye(1),
        process_noise=jnp.zeros((1, 1)),
        observation_noise=jnp.eye(1),
        initial_mean=jnp.ones(1),
        initial_covariance=jnp.eye(1),
    )
    # The observation at step 0 bounds the variance by 1; without more of them it grows by 1e20 a step.
    x = tracking.Inputs(jnp.ones((5, 1)), present=jnp.arange(5) < 1)
    filter = tracking.KalmanFilter(model)
    course = filter.run(x, throw=False)
    assert int(course.diverged_at) == 2
    assert bool(course.status == mbdl.Status.diverged)
    with pytest.raises(ValueError, match="first at step 2 of 5"):
        filter(x)
    with pytest.raises(ValueError, match="first at step 2 of 5"):
        filter.run(x)


def test_parameters_that_end_before_the_sequence_are_told():
    varying = tracking.TimeVarying(jnp.broadcast_to(jnp.eye(2), (4, 2, 2)))
    filter = tracking.KalmanFilter(simple(transition=varying))
    assert bool(filter.run(jnp.ones((4, 2))).finite)
    assert int(filter.run(jnp.ones((6, 2)), throw=False).diverged_at) == 4


def simple(**changes):
    parameters = {
        "transition": jnp.eye(2),
        "observation": jnp.eye(2),
        "process_noise": jnp.eye(2),
        "observation_noise": jnp.eye(2),
        "initial_mean": jnp.zeros(2),
        "initial_covariance": jnp.eye(2),
    }
    return tracking.LinearGaussian(**{**parameters, **changes})


def elapsing(moment):
    """A process noise that grows with the time between samples."""
    return moment.duration * jnp.eye(2)


NAN = jnp.ones((5, 2)).at[3, 1].set(jnp.nan)
BAD = {
    "an observation that is not finite": (simple(), NAN, "1 values of the observation are not finite, first at step 3"),
    "infinity is no missing observation": (
        simple(),
        tracking.nan_means_missing(jnp.where(jnp.isnan(NAN), jnp.inf, NAN)),
        "1 values of the observation are not finite, first at step 3. Declare missing ones",
    ),
    "a control that is not finite": (
        simple(control=jnp.eye(2)),
        tracking.Inputs(jnp.ones((5, 2)), NAN),
        "1 values of the control are not finite, first at step 3. They cannot be missing",
    ),
    "a duration that is not finite": (
        simple(process_noise=elapsing),
        tracking.Inputs(jnp.ones((5, 2)), duration=NAN[:, 1]),
        "1 values of the duration are not finite, first at step 3. They cannot be missing",
    ),
    "durations that no parameter depends on": (
        simple(),
        tracking.Inputs(jnp.ones((5, 2)), duration=jnp.ones(5)),
        "the inputs have durations, and no parameter of the model depends on them. Give it",
    ),
    "durations where parameters vary with the time alone": (
        simple(process_noise=tracking.TimeVarying(jnp.broadcast_to(jnp.eye(2), (5, 2, 2)))),
        tracking.Inputs(jnp.ones((5, 2)), duration=jnp.ones(5)),
        "the inputs have durations, and no parameter of the model depends on them. Give it",
    ),
    "nothing is present": (
        simple(),
        tracking.Inputs(jnp.ones((5, 2)), present=jnp.zeros(5, bool)),
        "all observations are missing",
    ),
    "a singular innovation covariance": (
        simple(observation_noise=jnp.zeros((2, 2)), observation=jnp.ones((2, 2))),
        jnp.ones((5, 2)),
        "first at step 0 of 5. The covariance of an innovation is singular",
    ),
    "no noise at all": (
        simple(
            observation=jnp.ones((1, 2)),
            observation_noise=jnp.zeros((1, 1)),
            process_noise=jnp.zeros((2, 2)),
            initial_covariance=jnp.zeros((2, 2)),
        ),
        jnp.ones((5, 1)),
        "first at step 0 of 5. The covariance of an innovation is singular",
    ),
    "observations of another size": (simple(), jnp.ones((5, 3)), "has 3 components and the model observes 2"),
    "a scalar series": (simple(), jnp.ones(5), "Give a scalar series as ys\\[:, None\\]"),
    "a batch": (simple(), jnp.ones((4, 5, 2)), "apply jax.vmap to a batch"),
    "no observation": (simple(), jnp.ones((0, 2)), "one leading time axis of at least one step"),
    "a control that the model has no matrix for": (
        simple(),
        tracking.Inputs(jnp.ones((5, 2)), jnp.ones((5, 1))),
        "the inputs have a control, and the model has no control matrix",
    ),
    "no control": (
        simple(control=jnp.eye(2)),
        jnp.ones((5, 2)),
        "has a control matrix, and the inputs have no control",
    ),
    "a control of another size": (
        simple(control=jnp.eye(2)),
        tracking.Inputs(jnp.ones((5, 2)), jnp.ones((5, 3))),
        "the matrix of the control has shape \\(2, 2\\) at a moment; expected \\[2 3\\]",
    ),
    "a transition of another size": (
        simple(transition=tracking.TimeVarying(jnp.ones((5, 3, 3)))),
        jnp.ones((5, 2)),
        "the matrix of the transition has shape \\(3, 3\\) at a moment; expected \\[2 2\\]",
    ),
    "an observation matrix of another size": (
        simple(observation=tracking.TimeVarying(jnp.ones((5, 2, 3)))),
        jnp.ones((5, 2)),
        "the matrix of the observation has shape \\(2, 3\\) at a moment; expected \\[any 2\\]",
    ),
    "a process noise of another size": (
        simple(process_noise=tracking.TimeVarying(jnp.ones((5, 1, 1)))),
        jnp.ones((5, 2)),
        "process_noise has shape \\(1, 1\\) at a moment; expected 2 rows, one for each component of a state",
    ),
    "an observation noise of another size": (
        simple(observation_noise=tracking.TimeVarying(jnp.ones((5, 1, 1)))),
        jnp.ones((5, 2)),
        "observation_noise has shape \\(1, 1\\) at a moment; expected 2 rows, one for each component of an observation",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_raises_and_says_what_to_do(name):
    model, x, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        tracking.KalmanFilter(model)(x)


@pytest.mark.parametrize("gain", GAINS)
def test_a_singular_innovation_covariance_is_told_by_every_gain(gain):
    """Also one whose last pivot comes out positive by rounding, as about half of these do."""
    rows = jax.random.normal(jax.random.key(0), (8, 1, 2))
    twice = jnp.concatenate([rows, 2 * rows], axis=1)
    for observation in twice:
        model = simple(observation_noise=jnp.zeros((2, 2)), observation=observation)
        assert int(tracking.KalmanFilter(model, GAINS[gain]()).run(jnp.ones((3, 2)), throw=False).diverged_at) == 0
    with pytest.raises(ValueError, match="covariance of an innovation is singular"):
        tracking.KalmanFilter(model, GAINS[gain]())(jnp.ones((3, 2)))


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_whitener_makes_a_covariance_the_identity(size, x64):
    root = jax.random.normal(jax.random.key(size), (size, size))
    W = whitener_of(root @ root.T)
    np.testing.assert_allclose(W @ root @ root.T @ W.T, np.eye(size), atol=1e-9)
    np.testing.assert_array_equal(W, np.tril(W))
    np.testing.assert_allclose(W @ np.linalg.cholesky(root @ root.T), np.eye(size), atol=1e-9)
    assert np.all(np.isnan(whitener_of(root[:, 1:] @ root[:, 1:].T)[np.tril_indices(size)]))  # of a smaller rank


def test_one_input_of_a_stream_that_is_not_finite_raises():
    filter = tracking.KalmanFilter(simple())
    timed = tracking.KalmanFilter(simple(process_noise=elapsing))
    for name, filter_of, x in (
        ("observation", filter, jnp.array([0.0, jnp.nan])),
        ("duration", timed, tracking.Inputs(jnp.zeros(2), duration=jnp.nan)),
    ):
        with pytest.raises(ValueError, match=f"1 values of the {name} are not finite. "):
            filter_of.advance(filter_of.start(), x)
    # In a stream nothing need be present.
    memory, estimates = filter.advance(filter.start(), tracking.Inputs(jnp.zeros(2), present=False))
    assert int(memory.time) == 1
    np.testing.assert_array_equal(estimates.mean, estimates.predicted_mean)


def test_a_model_that_is_not_linear_is_refused():
    model = tracking.lorenz(q2=1.0, r2=1.0)
    with pytest.raises(TypeError, match="expected a LinearGaussian model, got NonlinearGaussian. Use ExtendedKalmanF"):
        tracking.KalmanFilter(model)


def test_one_bad_sequence_does_not_spoil_its_batch():
    filter = tracking.KalmanFilter(simple())
    means = jax.vmap(filter)(jnp.stack([NAN, jnp.ones((5, 2))])).mean
    np.testing.assert_allclose(means[1], filter(jnp.ones((5, 2))).mean, rtol=1e-6)
    assert bool(jnp.any(jnp.isnan(means[0])))


def test_the_likelihood_is_greatest_at_the_noise_that_the_data_have():
    model = simple(observation_noise=0.5 * jnp.eye(2))
    observations, _ = tracking.simulate(model, jax.random.key(0), steps=50, runs=100)

    def likelihood(variance):
        filter = tracking.KalmanFilter(simple(observation_noise=variance * jnp.eye(2)))
        return jnp.mean(jax.vmap(lambda ys: jnp.sum(filter(ys).log_likelihood))(observations))

    grid = jnp.asarray([0.35, 0.5, 0.7])
    values = jax.jit(jax.vmap(likelihood))(grid)
    assert int(jnp.argmax(values)) == 1
