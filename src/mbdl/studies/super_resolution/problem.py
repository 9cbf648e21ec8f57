"""The problem: photographs, blurred, decimated and noisy, and what is scored."""

import zlib
from dataclasses import dataclass
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mbdl import data
from mbdl.inverse import AbstractOperator, Convolution, Downsample, gaussian_kernel
from mbdl.studies.study import Run
from mbdl.studies.super_resolution.settings import Settings
from mbdl.training import metrics

SURROUND = 8
"""How far, in pixels of the observation, the scene goes on around what is observed, so that no blur wraps around."""

NOISE_SEED = 20_220_523
"""Test and validation noise is one draw, the same for every seed of training."""


@dataclass(frozen=True)
class Scene:
    """A photograph and what is observed of it.

    Args:
        name: that of the photograph.
        truth: the scene, `[height width]`, in [0, 1].
        observed: `[height/scale width/scale]`.
    """

    name: str
    truth: Float[np.ndarray, "height width"]
    observed: Float[np.ndarray, "rows columns"]


def forward(settings: Settings, blur: float | None = None) -> AbstractOperator:
    """The operator $A$: Gaussian blur, then decimation. Works on images of any size.

    The kernel's size does not depend on its width, so that rules that assume another one are compiled once.
    """
    width = settings.blur if blur is None else blur
    return Downsample(settings.scale) @ Convolution(gaussian_kernel(width, radius=6))


def scenes(run: Run, split: data.Split, blur: float | None = None) -> list[Scene]:
    """The photographs of a split, and what is observed of them.

    A rim of each photograph is seen by the blur only, and neither observed nor scored: real surroundings, so that the
    simulation needs no assumption about what lies beyond an edge.
    """
    settings: Settings = run.settings
    operator = forward(settings, blur)
    made = []
    for photograph in chosen(settings, split):
        image = middle(photograph.luminance(), settings.crop, settings.scale)
        key = jax.random.fold_in(jax.random.key(NOISE_SEED), zlib.crc32(photograph.name.encode()))
        observed, truth = observe(operator, settings, image[None], key)
        made.append(Scene(photograph.name, truth[0], observed[0]))
    return made


def chosen(settings: Settings, split: data.Split) -> tuple[data.Photograph, ...]:
    """The photographs of a split that the settings use."""
    found = data.photographs(split)
    return found[: settings.photographs] if settings.photographs else found


def middle(image: np.ndarray, size: int, scale: int) -> np.ndarray:
    """The middle of an image, no larger than a size (0 for any), with sides that are multiples of the scale."""
    slices = []
    for side in image.shape:
        kept = min(side, size + 2 * SURROUND * scale) if size else side
        kept -= kept % scale
        slices.append(slice((side - kept) // 2, (side - kept) // 2 + kept))
    return image[tuple(slices)]


def observe(
    operator: AbstractOperator, settings: Settings, images: Float[np.ndarray, "count height width"], key: Any
) -> tuple[np.ndarray, np.ndarray]:
    """What is observed of images without their rim, and the images without it."""
    rim = SURROUND * settings.scale
    clean = jax.jit(jax.vmap(operator))(jnp.asarray(images))[:, SURROUND:-SURROUND, SURROUND:-SURROUND]
    noise = settings.noise * jax.random.normal(key, clean.shape, clean.dtype)
    return np.asarray(clean + noise), np.ascontiguousarray(images[:, rim:-rim, rim:-rim])


def training_pairs(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """The training patches: observations `[patches rows columns]` and truths `[patches height width]`."""

    def make() -> tuple[np.ndarray, np.ndarray]:
        settings: Settings = run.settings
        images = [photograph.luminance() for photograph in chosen(settings, "train")]
        size = settings.patch + 2 * SURROUND * settings.scale
        drawn = data.patches(images, settings.patches, size, key=run.key("patches"))
        return observe(forward(settings), settings, drawn, run.key("patch noise"))

    return run.remember("training pairs", make)


def validation_pairs(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Patches of the validation photographs, by which the best moment of a training is chosen."""

    def make() -> tuple[np.ndarray, np.ndarray]:
        settings: Settings = run.settings
        images = [photograph.luminance() for photograph in chosen(settings, "validation")]
        size = settings.patch + 2 * SURROUND * settings.scale
        count = min(64, settings.patches)
        drawn = data.patches(images, count, size, key=jax.random.key(NOISE_SEED), augment=False)
        return observe(forward(settings), settings, drawn, jax.random.key(NOISE_SEED + 1))

    return run.remember("validation pairs", make)


def tuning_pairs(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """The first of the training patches, on which weights are searched."""
    xs, ss = training_pairs(run)
    return xs[: run.settings.tuning_patches], ss[: run.settings.tuning_patches]


def loss(settings: Settings) -> "Shortfall":
    """What all searches and trainings make small."""
    return Shortfall(settings.border, 0.05 * settings.noise**2)


class Shortfall(eqx.Module):
    """The loss of all trainings: what is scored, PSNR, with the opposite sign, of a patch without a border.

    A plain mean of squared errors would be ruled by the roughest textures, in which every rule errs most. The floor
    keeps patches without any detail from ruling in their turn.
    """

    border: int = eqx.field(static=True)
    floor: float = eqx.field(static=True)

    def __call__(self, decision: Float[Array, "height width"], target: Float[Array, "height width"]) -> Array:
        inside = (slice(self.border, -self.border),) * 2
        error = jnp.mean((decision[inside] - target[inside]) ** 2)
        return 10 * jnp.log10(error + self.floor)


def score(settings: Settings, decision: Any, truth: Any) -> dict[str, float]:
    """PSNR (dB) and SSIM of a decision, clipped to [0, 1] as in an image file, without the border."""
    values = _scores(jnp.clip(decision, 0.0, 1.0), jnp.asarray(truth), settings.border)
    return {"psnr": round(float(values[0]), 4), "ssim": round(float(values[1]), 5)}


@partial(jax.jit, static_argnames="border")
def _scores(decision: Array, truth: Array, border: int) -> tuple[Array, Array]:
    return metrics.psnr(decision, truth, crop=border), metrics.ssim(decision, truth, crop=border)
