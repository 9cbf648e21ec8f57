"""Structural similarity of two images."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mbdl.training.losses import _same_shape

_WINDOW = 11
_SIGMA = 1.5


def crop_border(image: Float[Array, "height width *channel"], crop: int) -> Float[Array, "rows columns *channel"]:
    """Cuts `crop` pixels off each side of an image; 0 leaves it as it is, whatever its rank."""
    if crop == 0:
        return image
    if crop < 0 or jnp.ndim(image) not in (2, 3) or min(jnp.shape(image)[:2]) <= 2 * crop:
        raise ValueError(
            f"cannot crop {crop} pixels off each side of an image of shape {jnp.shape(image)}: the crop must be "
            "positive and leave at least one pixel of [height width] or [height width channel]."
        )
    return image[crop:-crop, crop:-crop]


def _smooth(image: Float[Array, "height width *channel"]) -> Float[Array, "rows columns *channel"]:
    """Gaussian mean over each full window: separable, as shifted sums (which XLA fuses; no convolution)."""
    offsets = np.arange(_WINDOW) - _WINDOW // 2
    taps = np.exp(-0.5 * (offsets / _SIGMA) ** 2)
    taps = [float(tap) for tap in taps / taps.sum()]
    height, width = image.shape[0] - _WINDOW + 1, image.shape[1] - _WINDOW + 1
    image = sum((tap * image[i : i + height] for i, tap in enumerate(taps)), start=jnp.zeros((), image.dtype))
    return sum((tap * image[:, i : i + width] for i, tap in enumerate(taps)), start=jnp.zeros((), image.dtype))


def ssim(
    decision: Float[Array, "height width *channel"],
    target: Float[Array, "height width *channel"],
    *,
    data_range: float | Array = 1.0,
    crop: int = 0,
) -> Float[Array, ""]:
    """Structural similarity of one image, the mean over windows of

        (2 μ₁μ₂ + C₁)(2 σ₁₂ + C₂) / ((μ₁² + μ₂² + C₁)(σ₁² + σ₂² + C₂)),  C₁ = (0.01 L)², C₂ = (0.03 L)²,

    with means and covariances weighted by an 11 × 11 Gaussian of standard deviation 1.5. Only windows that lie wholly
    inside the image count (a border of 5 pixels has no window centred on it), and channels are averaged. This is
    `skimage.metrics.structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)`.

    Args:
        decision: the image ŝ.
        target: the image s, of the same shape.
        data_range: L, the distance between the smallest and the largest possible value.
        crop: the number of pixels cut off at each side of both images first.

    Returns:
        At most 1, which equal images score; higher is better.

    Raises:
        ValueError: if the shapes differ, or if the cropped image is smaller than the window.

    Differentiable in both images.

    Source: Z. Wang, A. C. Bovik, H. R. Sheikh and E. P. Simoncelli, "Image quality assessment: from error visibility to
    structural similarity", IEEE Transactions on Image Processing 13(4), 2004.

    >>> import jax.numpy as jnp
    >>> image = jnp.arange(256.0).reshape(16, 16) / 256
    >>> round(float(ssim(image, image)), 6)
    1.0
    """
    _same_shape(decision, target, "ssim")
    a, b = crop_border(jnp.asarray(decision), crop), crop_border(jnp.asarray(target), crop)
    if a.ndim not in (2, 3) or min(a.shape[:2]) < _WINDOW:
        raise ValueError(
            f"ssim wants images [height width] or [height width channel] of at least {_WINDOW} × {_WINDOW} pixels "
            f"after the crop, but got shape {a.shape}."
        )
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mean_a, mean_b = _smooth(a), _smooth(b)
    variance_a = _smooth(a * a) - mean_a**2
    variance_b = _smooth(b * b) - mean_b**2
    covariance = _smooth(a * b) - mean_a * mean_b
    numerator = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return jnp.mean(numerator / ((mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2)))
