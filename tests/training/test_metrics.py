"""Image metrics against scikit-image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from mbdl.training import metrics

random = np.random.default_rng(1)
TRUE = np.clip(random.random((24, 31, 3)).cumsum(axis=1) / 16, 0, 1)
NOISY = TRUE + 0.05 * random.normal(size=TRUE.shape)


def reference_ssim(decision, target, data_range=1.0):
    return structural_similarity(
        decision,
        target,
        data_range=data_range,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        channel_axis=-1 if decision.ndim == 3 else None,
    )


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("image", [np.s_[..., 0], np.s_[...]], ids=["grey", "colour"])
@pytest.mark.parametrize("crop", [0, 2])
def test_psnr_and_ssim_are_those_of_scikit_image(image, crop):
    decision, target = NOISY[image], TRUE[image]
    inside = np.s_[crop : 24 - crop, crop : 31 - crop]
    np.testing.assert_allclose(
        metrics.ssim(jnp.asarray(decision), jnp.asarray(target), crop=crop),
        reference_ssim(decision[inside], target[inside]),
        rtol=1e-12,
    )
    np.testing.assert_allclose(
        metrics.psnr(jnp.asarray(decision), jnp.asarray(target), crop=crop),
        peak_signal_noise_ratio(target[inside], decision[inside], data_range=1.0),
        rtol=1e-12,
    )


@pytest.mark.usefixtures("x64")
def test_data_range_scales_out():
    decision, target = jnp.asarray(255 * NOISY), jnp.asarray(255 * TRUE)
    np.testing.assert_allclose(
        metrics.ssim(decision, target, data_range=255.0), reference_ssim(255 * NOISY, 255 * TRUE, 255.0), rtol=1e-12
    )
    np.testing.assert_allclose(
        metrics.psnr(decision, target, data_range=255.0), metrics.psnr(decision / 255, target / 255), rtol=1e-12
    )


def test_ssim_in_single_precision_is_close():
    value = metrics.ssim(jnp.asarray(NOISY, jnp.float32), jnp.asarray(TRUE, jnp.float32))
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, reference_ssim(NOISY, TRUE), atol=1e-5)


@pytest.mark.usefixtures("x64")
def test_ssim_has_the_gradient_of_its_central_difference():
    decision, target = jnp.asarray(NOISY[..., 0]), jnp.asarray(TRUE[..., 0])
    direction = jnp.asarray(random.normal(size=decision.shape))
    _, slope = jax.jvp(lambda a: metrics.ssim(a, target), (decision,), (direction,))
    difference = (
        metrics.ssim(decision + 1e-6 * direction, target) - metrics.ssim(decision - 1e-6 * direction, target)
    ) / 2e-6
    np.testing.assert_allclose(slope, difference, rtol=1e-6)


def test_an_image_smaller_than_the_window_is_an_error():
    with pytest.raises(ValueError, match="at least 11 × 11"):
        metrics.ssim(jnp.zeros((12, 12)), jnp.zeros((12, 12)), crop=1)


def test_a_crop_that_leaves_nothing_is_an_error():
    with pytest.raises(ValueError, match="leave at least one pixel"):
        metrics.psnr(jnp.zeros((8, 8)), jnp.zeros((8, 8)), crop=4)
