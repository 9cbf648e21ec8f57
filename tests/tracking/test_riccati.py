"""The algebraic Riccati equation against scipy, and its derivative against differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from mbdl import tracking

_riccati = jax.jit(tracking.riccati)


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def _system(seed, radius, states=4, seen=2, moved=4):
    """A random system with a given spectral radius, observed in some components and moved by noise of some rank."""
    generator = np.random.default_rng(seed)
    F = generator.normal(size=(states, states))
    F *= radius / np.max(np.abs(np.linalg.eigvals(F)))
    H = generator.normal(size=(seen, states))
    L = generator.normal(size=(states, moved))
    M = generator.normal(size=(seen, seen))
    return F, H, L @ L.T, np.eye(seen) + M @ M.T


@pytest.mark.parametrize("radius", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("moved", [1, 4])
def test_it_is_scipys_solution_of_stable_and_unstable_systems_with_noise_of_any_rank(radius, moved):
    F, H, Q, R = _system(0, radius, moved=moved)
    expected = scipy.linalg.solve_discrete_are(F.T, H.T, Q, R)
    np.testing.assert_allclose(_riccati(F, H, Q, R), expected, rtol=0, atol=1e-9 * np.max(np.abs(expected)))


def test_a_closed_loop_that_decays_slowly_is_solved():
    # A random walk of variance q seen in unit noise has P = (q + sqrt(q² + 4 q)) / 2, and decays by sqrt(q) a step.
    q = 1e-12
    expected = (q + np.sqrt(q**2 + 4 * q)) / 2
    one = jnp.eye(1)
    np.testing.assert_allclose(_riccati(one, one, q * one, one)[0, 0], expected, rtol=1e-8)


def test_it_is_where_the_kalman_filter_ends_for_a_deterministic_component():
    # The second component decays without noise: Q is singular, and its prediction becomes certain.
    F, H = jnp.asarray([[1.0, 1.0], [0.0, 0.9]]), jnp.asarray([[1.0, 0.0]])
    Q, R = jnp.diag(jnp.asarray([0.1, 0.0])), jnp.eye(1)
    P = np.eye(2)
    for _ in range(500):
        P = F @ (P - P @ H.T @ np.linalg.inv(H @ P @ H.T + R) @ H @ P) @ F.T + Q
    np.testing.assert_allclose(_riccati(F, H, Q, R), P, atol=1e-12)


@pytest.mark.parametrize("radius", [0.9, 1.5])
def test_its_first_and_second_derivative_match_differences(radius):
    system = tuple(map(jnp.asarray, _system(1, radius, states=3, moved=3)))
    generator = np.random.default_rng(2)
    weight = jnp.asarray(generator.normal(size=(3, 3)))
    direction = tuple(jnp.asarray(generator.normal(size=part.shape)) for part in system)
    direction = (*direction[:2], *(part + part.T for part in direction[2:]))

    def value(t):
        return jnp.sum(weight * tracking.riccati(*(a + t * d for a, d in zip(system, direction, strict=True))))

    slope = jax.jit(jax.grad(value))
    step = 1e-6
    numeric = (value(step) - value(-step)) / (2 * step)
    np.testing.assert_allclose(slope(0.0), numeric, rtol=1e-7)
    np.testing.assert_allclose(jax.jvp(value, (0.0,), (1.0,))[1], numeric, rtol=1e-7)
    curvature = (slope(step) - slope(-step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(slope)(0.0), curvature, rtol=1e-6)


@pytest.mark.parametrize(
    ("F", "H", "Q"),
    [(1.0, 0.0, 1.0), (1.2, 0.0, 1.0), (1.0, 1.0, 0.0)],
    ids=["a mode on the unit circle unseen", "a growing mode unseen", "a mode on the unit circle without noise"],
)
def test_without_a_stabilising_solution_it_says_so_and_is_nan_under_a_transformation(F, H, Q):
    system = tuple(jnp.full((1, 1), value) for value in (F, H, Q, 1.0))
    with pytest.raises(ValueError, match="no stabilising solution"):
        tracking.riccati(*system)
    good = tuple(jnp.ones((1, 1)) for _ in system)
    batch = [jnp.stack([a, b]) for a, b in zip(system, good, strict=True)]
    both = jax.vmap(tracking.riccati)(*batch)
    assert np.isnan(both[0, 0, 0])
    np.testing.assert_allclose(both[1, 0, 0], (1 + np.sqrt(5)) / 2)


def test_what_is_no_system_is_refused():
    one = jnp.eye(2)
    with pytest.raises(ValueError, match=r"riccati: observation: expected a matrix \[any 2\]"):
        tracking.riccati(one, jnp.ones((1, 3)), one, jnp.eye(1))
    with pytest.raises(ValueError, match="riccati: process_noise: a covariance is positive semidefinite"):
        tracking.riccati(one, one, -one, one)
    with pytest.raises(ValueError, match="no stabilising solution"):
        tracking.riccati(one, one, one, jnp.zeros((2, 2)))
