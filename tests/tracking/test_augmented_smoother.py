"""Smoothing by messages against the dense posterior, and the graph network that refines it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tracking.rules import inputs, linear, nonlinear, observations

import mbdl
from mbdl import core, tracking
from mbdl.tracking.messages import messages_of

STEPS, M = 6, 2


def moments(steps=STEPS, control=None):
    return [tracking.Moment(jnp.asarray(t), None if control is None else control[t]) for t in range(steps)]


def log_posterior(model, states, given):
    """The joint log density of all states and observations up to a constant, factor by factor."""
    total, previous = 0.0, model.initial_mean
    for t, moment in enumerate(moments(len(states), given.control)):
        Q, P = model.process_noise_at(moment), model.initial_covariance
        F = model.transit_jacobian(previous, moment)
        expected = model.transit(previous, moment)
        if t == 0 and model.starts == "at":
            expected, Q = previous, P
        elif t == 0:
            Q = Q + F @ P @ F.T
        error = states[t] - expected
        total -= 0.5 * error @ jnp.linalg.solve(Q, error)
        seen = slice(None) if given.present is None else np.flatnonzero(np.asarray(given.present[t]))
        error = (given.observation[t] - model.observe(states[t], moment))[seen]
        R = model.observation_noise_at(moment)[seen][:, seen]
        total -= 0.5 * error @ jnp.linalg.solve(R, error)
        previous = states[t]
    return total


def cases():
    return {
        "linear": (linear(), tracking.Inputs(observations())),
        "control and gaps": (linear(control=0.5 * jnp.ones((2, 2)), starts="at"), inputs()),
        "nonlinear": (nonlinear(), tracking.Inputs(observations())),
    }


@pytest.mark.parametrize("name", ["linear", "control and gaps", "nonlinear"])
def test_the_sum_of_the_messages_is_the_gradient_of_the_log_posterior(name, x64):
    model, given = cases()[name]
    states = jax.random.normal(jax.random.key(3), (STEPS, M))
    expected = jax.grad(lambda states: log_posterior(model, states, given))(states)
    messages = messages_of(model, states, given)
    np.testing.assert_allclose(messages.sum, expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(messages.backward[-1], 0)


@pytest.mark.parametrize("name", ["linear", "control and gaps"])
def test_it_converges_to_the_posterior_mean(name, x64):
    model, given = cases()[name]

    def density(flat):
        return log_posterior(model, flat.reshape(STEPS, M), given)

    zero = jnp.zeros(STEPS * M)
    expected = jnp.linalg.solve(-jax.hessian(density)(zero), jax.grad(density)(zero)).reshape(STEPS, M)
    solution = tracking.MessageSmoother(model).solve(given, tolerance=1e-12)
    np.testing.assert_allclose(solution.decision, expected, rtol=1e-8, atol=1e-8)
    # The filter's last estimate is the smoother's, and this one another's work.
    np.testing.assert_allclose(solution.decision[-1], tracking.KalmanFilter(model)(given).mean[-1], rtol=1e-8)


def test_a_nonlinear_model_is_smoothed_to_a_mode(x64):
    model, given = cases()["nonlinear"]
    mode = tracking.MessageSmoother(model, step_size=0.05).solve(given, tolerance=1e-11).decision
    slope = jax.grad(lambda states: log_posterior(model, states, given))(mode)
    assert float(jnp.max(jnp.abs(slope))) < 1e-7
    curvature = jax.hessian(lambda flat: log_posterior(model, flat.reshape(STEPS, M), given))(mode.reshape(-1))
    assert float(jnp.max(jnp.linalg.eigvalsh(curvature))) < 0


def test_the_default_step_size_is_stable_and_no_tenth_of_what_is():
    model, steps = linear(), 60
    F, H, Q, R, P = (
        np.asarray(a, float)
        for a in (
            model.transition,
            model.observation,
            model.process_noise,
            model.observation_noise,
            model.initial_covariance,
        )
    )
    moves = np.eye(steps * M) - np.kron(np.eye(steps, k=-1), F)
    weights = np.kron(np.eye(steps), np.linalg.inv(Q))
    weights[:M, :M] = np.linalg.inv(F @ P @ F.T + Q)
    curvature = moves.T @ weights @ moves + np.kron(np.eye(steps), H.T @ np.linalg.solve(R, H))
    largest = 1 / np.linalg.eigvalsh(curvature)[-1]
    assert 0.1 * largest < float(tracking.MessageSmoother(model).step_size) <= largest


def refinement(**changes):
    """A graph network whose last layer is not zero."""
    network = tracking.GraphRefinement(M, 3, features=4, key=jax.random.key(1), **changes)
    weight = jax.random.normal(jax.random.key(2), network.out.weight.shape, network.out.weight.dtype)
    return eqx.tree_at(lambda n: n.out.weight, network, weight)


def test_the_graph_network_is_written_out(x64):
    network, model, given = refinement(dtype=jnp.float64), linear(), tracking.Inputs(observations())
    messages = messages_of(model, jax.random.normal(jax.random.key(3), (STEPS, M)), given)
    h = np.asarray(jax.random.normal(jax.random.key(4), (STEPS, 4)))
    correction, memory = network(model, jnp.asarray(h), messages, given)

    def norm(v):
        return (v - v.mean()) / np.sqrt(v.var() + 1e-5)

    y = np.asarray(given.observation)
    for t in range(STEPS):
        after = y[t + 1] - y[t] if t + 1 < STEPS else np.zeros(3)
        before = y[t] - y[t - 1] if t else np.zeros(3)
        source = network.source(jnp.concatenate([before, after]))
        edges = [
            network.forward(jnp.concatenate([h[t], h[t - 1] if t else np.zeros(4), messages.forward[t]])),
            network.observed(jnp.concatenate([h[t], source, messages.observed[t]])),
        ]
        if t + 1 < STEPS:
            edges.append(network.backward(jnp.concatenate([h[t], h[t + 1], messages.backward[t]])))
        gathered = norm(np.asarray(network.gather(sum(edges))))
        hidden = network.unit(jnp.asarray(h[t]), jnp.where(gathered > 0, gathered, 0.01 * gathered))
        np.testing.assert_allclose(memory[t], hidden, rtol=1e-10)
        out = network.out(jnp.maximum(norm(np.asarray(network.deepen(hidden))), 0))
        np.testing.assert_allclose(correction[t], out, rtol=1e-9, atol=1e-12)


def test_the_refinement_carries_its_memory_and_sees_no_missing_observation():
    model, network = linear(), refinement()
    rule = tracking.MessageSmoother(model, network, iterations=3)
    present = jnp.arange(STEPS) != 2
    ys = observations()
    a, b = (rule(tracking.Inputs(ys.at[2].set(value), present=present)) for value in (0.0, 1e3))
    np.testing.assert_array_equal(a, b)
    given = tracking.Inputs(ys)
    states, memory = rule.init(ys).states, network.init(model, given)
    for _ in range(3):
        messages = messages_of(model, states, given)
        correction, memory = network(model, memory, messages, given)
        states = states + rule.step_size * messages.sum + correction
    np.testing.assert_allclose(rule(ys), states, rtol=1e-5)
    assert float(jnp.max(jnp.abs(rule(ys) - tracking.MessageSmoother(model, iterations=3)(ys)))) > 0.01


def test_everything_in_the_network_is_trained():
    rule = tracking.MessageSmoother(linear(), iterations=3)
    rule = mbdl.substitute(rule, lambda r: r.refinement, refinement())
    learned, rest = core.partition(rule)
    slope = jax.grad(lambda learned: jnp.sum(core.combine(learned, rest)(observations()) ** 2))(learned)
    assert all(float(jnp.max(jnp.abs(leaf))) > 0 for leaf in jax.tree.leaves(slope))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: tracking.MessageSmoother("model"), TypeError, "expected a model of mbdl.tracking"),
        (lambda: tracking.MessageSmoother(nonlinear()), ValueError, "Give a step_size"),
        (lambda: tracking.MessageSmoother(linear(), step_size=0.0), ValueError, "step size must be positive"),
        (
            lambda: tracking.MessageSmoother(linear(process_noise=jnp.diag(jnp.array([1.0, 0.0])))),
            ValueError,
            "the process_noise of the model is singular",
        ),
        (
            lambda: tracking.MessageSmoother(linear(process_noise=tracking.Factor(jnp.ones((2, 1))))),
            ValueError,
            "the process_noise of the model is singular",
        ),
        (
            lambda: tracking.MessageSmoother(linear(initial_covariance=jnp.zeros((2, 2)), starts="at")),
            ValueError,
            "the initial_covariance of the model is singular",
        ),
        (lambda: tracking.MessageSmoother(linear())(jnp.ones(3)), ValueError, r"expected observations \[time"),
        (lambda: tracking.MessageSmoother(linear())(jnp.ones((4, 2))), ValueError, "the model observes 3"),
        (
            lambda: tracking.MessageSmoother(linear())(observations().at[2].set(jnp.nan)),
            ValueError,
            "not finite, first at step 2",
        ),
        (
            lambda: tracking.MessageSmoother(linear())(tracking.Inputs(observations(), present=jnp.zeros(STEPS))),
            ValueError,
            "all observations are missing",
        ),
        (
            lambda: tracking.MessageSmoother(linear(), step_size=1e3)(observations()),
            ValueError,
            "the step size is too large",
        ),
    ],
)
def test_what_is_given_wrong_is_an_error(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_an_untrained_network_changes_nothing_and_a_trained_one_is_saved(tmp_path, x64):
    ys, plain = observations(), tracking.MessageSmoother(linear(), iterations=3)
    rule = tracking.NeuralAugmentedSmoother(linear(), features=4, iterations=3, key=jax.random.key(1))
    np.testing.assert_array_equal(rule(ys), plain(ys))
    assert {leaf.dtype for leaf in jax.tree.leaves(rule) if eqx.is_inexact_array(leaf)} == {np.dtype("float64")}
    spectrum = mbdl.spectrum(rule)
    assert spectrum.known == mbdl.spectrum(plain).known
    assert spectrum.learned == sum(leaf.size for leaf in jax.tree.leaves(core.resolve(rule).refinement))
    rule = mbdl.substitute(plain, lambda r: r.refinement, refinement(dtype=jnp.float64))
    mbdl.save(tmp_path / "rule.mbdl", rule)
    np.testing.assert_array_equal(mbdl.load(tmp_path / "rule.mbdl")(ys), rule(ys))
    np.testing.assert_allclose(jax.vmap(rule)(ys[None])[0], rule(ys), rtol=1e-10)


def moving(runs, key, steps=20):
    """Points whose acceleration decays, with drag on the velocity: observed and true positions in the plane."""
    drag, decay = 0.06, 0.17
    axis = jnp.array([[1.0, 1.0, 0.0], [0.0, 1 - drag, 1.0], [0.0, -decay, 1.0]])
    truth = tracking.LinearGaussian(
        transition=jnp.kron(axis, jnp.eye(2)),
        observation=jnp.eye(2, 6),
        process_noise=tracking.Factor(0.1 * jnp.eye(6)[:, 4:]),
        observation_noise=0.25 * jnp.eye(2),
        initial_mean=jnp.zeros(6),
        initial_covariance=jnp.zeros((6, 6)),
    )
    ys, states = tracking.simulate(truth, key, steps=steps, runs=runs)
    return ys, states[:, :, :2]


def constant_velocity(variance):
    axis = jnp.array([[1.0, 1.0], [0.0, 1.0]])
    return tracking.LinearGaussian(
        transition=jnp.kron(axis, jnp.eye(2)),
        observation=jnp.eye(2, 4),
        process_noise=variance * jnp.eye(4),
        observation_noise=0.25 * jnp.eye(2),
        initial_mean=jnp.zeros(4),
        initial_covariance=jnp.zeros((4, 4)),
    )


@pytest.mark.slow
def test_ten_augmented_iterations_beat_the_tuned_smoother_of_a_wrong_model():
    train, test = moving(400, jax.random.key(10)), moving(300, jax.random.key(11))

    @eqx.filter_jit
    def smoothed(variance, ys):
        return jax.vmap(tracking.RTSSmoother(constant_velocity(variance)))(ys).mean

    def errors(states, positions):
        return np.asarray(jnp.mean((states[:, :, :2] - positions) ** 2, axis=(1, 2)))

    variances = jnp.geomspace(1e-3, 10, 13)
    found = [np.mean(errors(smoothed(variance, train[0]), train[1])) for variance in variances]
    best = int(np.argmin(found))
    assert 0 < best < len(variances) - 1
    rule = tracking.NeuralAugmentedSmoother(
        constant_velocity(variances[best]), features=16, iterations=10, key=jax.random.key(2)
    )
    risk = mbdl.deep_supervision(
        train, lambda states, positions: mbdl.losses.mse(states[:, :2], positions), lambda k: 2 * (k + 1) / 10**2
    )
    optimiser = optax.adam(optax.cosine_decay_schedule(1e-2, 2000))
    options = {"steps": 2000, "batch_size": 16, "clip": 1.0, "key": jax.random.key(3)}
    trained = mbdl.fit(rule, risk, optimiser, **options).rule
    classical = errors(smoothed(variances[best], test[0]), test[1])
    gain = classical - errors(jax.vmap(trained)(test[0]), test[1])
    assert np.mean(gain) > 3 * np.std(gain) / np.sqrt(len(gain))


def test_a_scale_makes_the_corrections_smaller_and_is_not_learned():
    key, ys = jax.random.key(5), observations()
    rules = [
        tracking.NeuralAugmentedSmoother(linear(), features=4, iterations=1, scale=scale, key=key)
        for scale in (None, 0.25)
    ]
    places = [lambda r: r.refinement.raw.out.bias, lambda r: r.refinement.refinement.raw.out.bias]
    moved = [
        eqx.tree_at(where, rule, jnp.ones_like(where(rule)))(ys) - rule(ys)
        for where, rule in zip(places, rules, strict=True)
    ]
    np.testing.assert_allclose(moved[1], 0.25 * moved[0], rtol=1e-4)
    assert mbdl.spectrum(rules[0]).learned == mbdl.spectrum(rules[1]).learned
    assert mbdl.spectrum(rules[1]).strategy == "DNN-aided"
    with pytest.raises(ValueError, match="the scale"):
        tracking.NeuralAugmentedSmoother(linear(), features=4, scale=0.0, key=key)
