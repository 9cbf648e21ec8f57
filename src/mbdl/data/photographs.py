"""Photographs that lie inside installed packages, with fixed splits."""

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

Split = Literal["train", "validation", "test"]

_FOLDERS = {"scikit-image": ("skimage", "data"), "scikit-learn": ("sklearn", "datasets/images")}


@dataclass(frozen=True)
class Photograph:
    """One photograph in an installed package.

    Args:
        name: what the photograph is called here.
        split: `"train"`, `"validation"` or `"test"`.
        package: the distribution that holds it, `"scikit-image"` or `"scikit-learn"`.
        file: its file name there.
        note: what one should know about its origin.

    Example:
        >>> from mbdl import data
        >>> camera = data.photograph("camera")
        >>> camera.luminance().shape, camera.split, camera.jpeg
        ((512, 512), 'test', False)
    """

    name: str
    split: Split
    package: str
    file: str
    note: str = ""

    @property
    def path(self) -> Path:
        """The file inside the installed package; nothing is ever fetched.

        Raises:
            FileNotFoundError: if the package is not installed or does not hold the file.
        """
        module, folder = _FOLDERS[self.package]
        spec = importlib.util.find_spec(module)
        roots = (spec.submodule_search_locations if spec is not None else None) or []
        for root in roots:
            path = Path(root) / folder / self.file
            if path.is_file():
                return path
        state = "is not installed" if not roots else f"is installed, without {folder}/{self.file}"
        raise FileNotFoundError(
            f"the photograph {self.name!r} is read from {self.package}, which {state}. "
            f"Install a version that holds it: pip install '{self.package}'."
        )

    @property
    def jpeg(self) -> bool:
        """Whether the file is a JPEG, so that its finest detail has been through lossy compression."""
        with self.path.open("rb") as file:
            return file.read(3) == b"\xff\xd8\xff"

    def pixels(self) -> Float[np.ndarray, "height width *channels"]:
        """The photograph as stored, in [0, 1], `[height width]` if grey and `[height width 3]` if in colour."""
        from PIL import Image

        with Image.open(self.path) as image:
            return np.asarray(image, dtype=np.float32) / np.float32(255)

    def luminance(self) -> Float[np.ndarray, "height width"]:
        """The luminance of the photograph in [0, 1], float32."""
        pixels = self.pixels()
        return pixels if pixels.ndim == 2 else luminance(pixels)


PHOTOGRAPHS: tuple[Photograph, ...] = (
    Photograph("astronaut", "train", "scikit-image", "astronaut.png"),
    Photograph("chelsea", "train", "scikit-image", "chelsea.png"),
    Photograph("brick", "train", "scikit-image", "brick.png"),
    Photograph("grass", "train", "scikit-image", "grass.png"),
    Photograph("gravel", "train", "scikit-image", "gravel.png"),
    Photograph("coins", "train", "scikit-image", "coins.png"),
    Photograph("china", "train", "scikit-learn", "china.jpg"),
    Photograph("flower", "validation", "scikit-learn", "flower.jpg"),
    Photograph("moon", "validation", "scikit-image", "moon.png"),
    Photograph("camera", "test", "scikit-image", "camera.png"),
    Photograph("coffee", "test", "scikit-image", "coffee.png"),
    Photograph("rocket", "test", "scikit-image", "rocket.jpg"),
    Photograph(
        "motorcycle",
        "test",
        "scikit-image",
        "motorcycle_left.png",
        note="the left image of a stereo pair; the right one is never used",
    ),
)
"""Every photograph that a study may use. Each belongs to one split only."""


def photographs(split: Split) -> tuple[Photograph, ...]:
    """The photographs of one split, in a fixed order.

    Args:
        split: `"train"`, `"validation"` or `"test"`.

    Returns:
        The photographs; none of them is in another split in any form.

    Raises:
        ValueError: if there is no such split.

    Example:
        >>> from mbdl import data
        >>> [photograph.name for photograph in data.photographs("validation")]
        ['flower', 'moon']
    """
    chosen = tuple(photograph for photograph in PHOTOGRAPHS if photograph.split == split)
    if not chosen:
        raise ValueError(f"there is no split {split!r}; the splits are 'train', 'validation' and 'test'")
    return chosen


def photograph(name: str) -> Photograph:
    """The photograph of a name.

    Args:
        name: one of the names in `PHOTOGRAPHS`.

    Returns:
        The photograph, not yet read from disk.

    Raises:
        ValueError: if there is none of that name.
    """
    for candidate in PHOTOGRAPHS:
        if candidate.name == name:
            return candidate
    names = ", ".join(candidate.name for candidate in PHOTOGRAPHS)
    raise ValueError(f"there is no photograph {name!r}; there are {names}")


LUMINANCE_WEIGHTS = (0.299, 0.587, 0.114)
"""The weights of red, green and blue in the luminance of ITU-R BT.601, on gamma-coded values."""


def luminance(pixels: Float[np.ndarray, "height width 3"]) -> Float[np.ndarray, "height width"]:
    r"""The luminance of a colour image.

    $$y = 0.299\,r + 0.587\,g + 0.114\,b$$

    Args:
        pixels: red, green and blue in [0, 1], gamma-coded as in a file.

    Returns:
        The luminance in [0, 1], in the same dtype.

    Source:
        ITU-R BT.601.

    Example:
        >>> import numpy as np
        >>> from mbdl import data
        >>> float(data.luminance(np.ones((1, 1, 3), np.float32))[0, 0])
        1.0
    """
    if pixels.ndim != 3 or pixels.shape[-1] != 3:
        raise ValueError(f"luminance wants [height width 3] (red, green, blue), got an array of shape {pixels.shape}")
    weights = np.asarray(LUMINANCE_WEIGHTS, dtype=np.float64)
    return np.clip(pixels.astype(np.float64) @ weights, 0.0, 1.0).astype(pixels.dtype)


def fingerprint(image: np.ndarray) -> str:
    """A short digest of an image's values, by which two runs can tell that they saw the same photograph."""
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()[:16]
