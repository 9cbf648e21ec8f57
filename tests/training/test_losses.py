"""Losses against NumPy and SciPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from mbdl.training import losses, metrics

random = np.random.default_rng(0)
A, B = random.normal(size=(4, 5)), random.normal(size=(4, 5))


@pytest.mark.usefixtures("x64")
def test_regression_losses_are_their_formulas():
    a, b = jnp.asarray(A), jnp.asarray(B)
    np.testing.assert_allclose(losses.mse(a, b), np.mean((A - B) ** 2), rtol=1e-14)
    np.testing.assert_allclose(losses.mae(a, b), np.mean(np.abs(A - B)), rtol=1e-14)
    np.testing.assert_allclose(losses.huber(a, b, threshold=0.7), np.mean(special.huber(0.7, A - B)), rtol=1e-14)
    np.testing.assert_allclose(metrics.nmse(a, b), np.sum((A - B) ** 2) / np.sum(B**2), rtol=1e-14)
    np.testing.assert_allclose(metrics.nmse_db(a, b), 10 * np.log10(np.sum((A - B) ** 2) / np.sum(B**2)), rtol=1e-13)


@pytest.mark.usefixtures("x64")
def test_complex_errors_are_squared_magnitudes():
    a, b = A + 1j * B, B - 2j * A
    np.testing.assert_allclose(losses.mse(jnp.asarray(a), jnp.asarray(b)), np.mean(np.abs(a - b) ** 2), rtol=1e-14)
    assert metrics.nmse(jnp.asarray(a), jnp.asarray(b)).dtype == jnp.float64


@pytest.mark.usefixtures("x64")
def test_cross_entropy_of_labels_and_of_probabilities():
    labels = np.array([0, 4, 2, 2])
    log_probability = special.log_softmax(A, axis=-1)
    expected = -np.mean(log_probability[np.arange(4), labels])
    np.testing.assert_allclose(losses.cross_entropy(jnp.asarray(A), jnp.asarray(labels)), expected, rtol=1e-13)
    np.testing.assert_allclose(losses.cross_entropy(jnp.asarray(A), jnp.eye(5)[labels]), expected, rtol=1e-13)
    p = special.softmax(B, axis=-1)
    expected = np.mean(special.entr(p).sum(-1) + special.rel_entr(p, np.exp(log_probability)).sum(-1))
    np.testing.assert_allclose(losses.cross_entropy(jnp.asarray(A), jnp.asarray(p)), expected, rtol=1e-13)


@pytest.mark.usefixtures("x64")
def test_binary_cross_entropy_also_far_out():
    logits, target = np.array([-800.0, -1.0, 0.3, 800.0]), np.array([0, 1, 1, 1])
    expected = np.mean([0.0, -special.log_expit(-1.0), -special.log_expit(0.3), 0.0])
    np.testing.assert_allclose(
        losses.binary_cross_entropy(jnp.asarray(logits), jnp.asarray(target)), expected, rtol=1e-14
    )


@pytest.mark.parametrize("loss", [losses.mse, losses.mae, losses.huber, losses.binary_cross_entropy, metrics.psnr])
def test_shapes_that_would_broadcast_are_an_error(loss):
    with pytest.raises(ValueError, match=r"decision \(4, 1\) and target \(4,\)"):
        loss(jnp.zeros((4, 1)), jnp.zeros(4))


def test_labels_of_the_wrong_shape_are_an_error():
    with pytest.raises(ValueError, match="integer labels wants target of shape"):
        losses.cross_entropy(jnp.zeros((4, 3)), jnp.zeros((4, 1), jnp.int32))


def test_unsigned_integers_would_wrap_around():
    with pytest.raises(TypeError, match="wrap around"):
        metrics.psnr(jnp.zeros((8, 8), jnp.uint8), jnp.ones((8, 8), jnp.uint8))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "loss", [losses.mse, losses.mae, losses.huber, metrics.nmse_db, functools.partial(losses.cross_entropy)]
)
def test_gradients_against_central_differences(loss):
    target = jax.nn.softmax(jnp.asarray(B)) if isinstance(loss, functools.partial) else jnp.asarray(B)
    direction = jnp.asarray(random.normal(size=A.shape))
    _, slope = jax.jvp(lambda a: loss(a, target), (jnp.asarray(A),), (direction,))
    step = 1e-6
    difference = (loss(A + step * direction, target) - loss(A - step * direction, target)) / (2 * step)
    np.testing.assert_allclose(slope, difference, rtol=1e-7)


def test_single_precision_stays_single_precision(x64):
    a, b = jnp.asarray(A, jnp.float32), jnp.asarray(B, jnp.float32)
    for loss in (losses.mse, losses.mae, losses.huber, metrics.nmse_db, metrics.psnr):
        assert loss(a, b).dtype == jnp.float32
