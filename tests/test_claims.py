"""What the paper claims of learned rules against their model-based parents, on small problems, from fixed seeds.

Each parent is tuned on the training data of its child. A claim holds where the paired difference on the test data is
larger than three of its standard errors.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mbdl
from mbdl import inverse, networks

SIGNAL, OBSERVED, SPIKES, LAYERS = 50, 25, 4, 8


@pytest.fixture(scope="module")
def problem():
    """A matrix with unit columns, and training and test pairs of sparse signals and their noisy observations."""
    matrix_key, place_key, value_key, noise_key = jax.random.split(jax.random.key(0), 4)
    A = jax.random.normal(matrix_key, (OBSERVED, SIGNAL))
    A = A / jnp.linalg.norm(A, axis=0)
    ranks = jnp.argsort(jnp.argsort(jax.random.uniform(place_key, (3000, SIGNAL))))
    ss = jax.random.normal(value_key, (3000, SIGNAL)) * (ranks < SPIKES)
    xs = ss @ A.T + 0.02 * jax.random.normal(noise_key, (3000, OBSERVED))
    return A, (xs[:2000], ss[:2000]), (xs[2000:], ss[2000:])


def errors(rule, data):
    xs, ss = data
    return np.asarray(jnp.sum((jax.vmap(rule)(xs) - ss) ** 2, axis=-1))


def tuned(make, data):
    """The rule of the best weight on a grid; the best lies inside it."""
    weights = np.geomspace(1e-5, 1.0, 21)
    found = [float(np.mean(errors(make(weight), data))) for weight in weights]
    best = int(np.argmin(found))
    assert 0 < best < len(weights) - 1
    return make(weights[best])


def claim(better, worse, data):
    """The paired gain of one rule over another is clear of its standard error."""
    gain = errors(worse, data) - errors(better, data)
    assert np.mean(gain) > 3 * np.std(gain) / np.sqrt(len(gain))


def parent(solver, A, iterations=LAYERS, prior=inverse.L1):
    return lambda weight: solver(inverse.LeastSquares(inverse.Matrix(A)), prior(float(weight)), iterations=iterations)


def trained(rule, data, *, rate, steps=600):
    risk = mbdl.supervised(data, mbdl.losses.mse)
    schedule = optax.cosine_decay_schedule(rate, steps)
    return mbdl.fit(rule, risk, optax.adam(schedule), steps=steps, batch_size=100, key=jax.random.key(1)).rule


def test_unfolding_beats_the_tuned_solvers_of_the_same_depth(problem):
    A, train, test = problem
    ista, fista = (tuned(parent(solver, A), train) for solver in (inverse.ISTA, inverse.FISTA))
    hyper = trained(
        mbdl.unfold(ista, LAYERS, untie=lambda r: (r.step_size, r.prior.weight), constraint=mbdl.positive),
        train,
        rate=0.03,
    )
    claim(hyper, ista, test)
    claim(hyper, fista, test)
    lista = mbdl.unfold(ista, LAYERS, untie=lambda r: (r.fidelity.operator.matrix, r.step_size, r.prior.weight))
    claim(trained(lista, train, rate=1e-3), fista, test)


def test_learning_a_weight_through_the_iterations_beats_its_search_at_few_iterations(problem):
    A, train, test = problem
    ista = tuned(parent(inverse.ISTA, A), train)
    learned = mbdl.learn(ista, lambda r: (r.step_size, r.prior.weight), constraint=mbdl.positive)
    claim(trained(learned, train, rate=0.03), ista, test)


def test_a_learned_matrix_repairs_a_wrong_model(problem):
    A, train, test = problem
    wrong = A + 0.1 * jax.random.normal(jax.random.key(5), A.shape)
    ista = tuned(parent(inverse.FISTA, wrong, 30), train)
    learned = mbdl.learn(ista, lambda r: r.fidelity.operator.matrix)
    claim(trained(learned, train, rate=3e-3, steps=400), ista, test)


def test_a_learned_prox_beats_a_quadratic_prior_on_a_curved_manifold(problem):
    A, _, _ = problem
    basis_key, value_key, noise_key = jax.random.split(jax.random.key(2), 3)
    basis = jax.random.normal(basis_key, (5, SIGNAL))
    ss = jnp.tanh(jax.random.normal(value_key, (3000, 5)) @ basis)
    xs = ss @ A.T + 0.02 * jax.random.normal(noise_key, (3000, OBSERVED))
    train, test = (xs[:2000], ss[:2000]), (xs[2000:], ss[2000:])
    ista = tuned(parent(inverse.FISTA, A, 100, inverse.SquaredL2), train)
    network = networks.MLP(SIGNAL, SIGNAL, width=64, depth=2, activation=jax.nn.relu, key=jax.random.key(3))
    aided = mbdl.substitute(mbdl.unfold(ista, 3), lambda r: r.prior, inverse.DenoiserPrior(network))
    claim(trained(aided, train, rate=3e-3), ista, test)
