"""Image files as arrays and back: grey or colour, 8 or 16 bit, with or without alpha."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from mbdl.cli import png


@dataclass(frozen=True)
class ImageFile:
    """The content of an image file.

    Args:
        values: `[height width 1]` (grey) or `[height width 3]` (red, green, blue), in [0, 1], float32.
        alpha: `[height width]` in [0, 1], or `None`.
        bits: 8 or 16 a sample.
        profile: the embedded colour profile, if any.
    """

    values: Float[np.ndarray, "height width channels"]
    alpha: Float[np.ndarray, "height width"] | None
    bits: int
    profile: bytes | None = None

    def describe(self) -> str:
        """Size, colour and depth in words."""
        height, width, channels = self.values.shape
        colour = "grey" if channels == 1 else "colour"
        return f"{width}×{height} {colour}, {self.bits} bit{', with alpha' if self.alpha is not None else ''}"


def read_image(path: Path) -> ImageFile:
    """Reads a PNG, TIFF, JPEG or another file that Pillow reads, turned as its camera says.

    Args:
        path: the file.

    Returns:
        Its first image.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not an image, or one of a kind that is not read.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    if path.is_dir():
        raise ValueError(f"{path} is a folder; name one image file")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    found = png.header(path)
    if found is not None and found[2] == 16 and found[3] != 0:
        return _split(png.read(path), 16)
    if path.suffix.lower() in (".tif", ".tiff"):
        samples = _read_tiff(path)
        if samples is not None:
            return samples
    with warnings.catch_warnings():
        # What matters of a damaged file is raised.
        warnings.simplefilter("ignore")
        try:
            with Image.open(path) as opened:
                return _from_pillow(path, ImageOps.exif_transpose(opened), opened.info.get("icc_profile"))
        except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as error:
            raise ValueError(f"{path} is not an image that can be read ({error})") from error


def write_image(path: Path, image: ImageFile) -> str | None:
    """Writes a PNG, TIFF or JPEG, by the name's ending.

    Args:
        path: the file.
        image: what to write; values outside [0, 1] are clipped.

    Returns:
        What the format could not hold, in words, or `None`.

    Raises:
        ValueError: for another ending.
    """
    from PIL import Image

    ending = path.suffix.lower()
    if ending not in (".png", ".tif", ".tiff", ".jpg", ".jpeg"):
        raise ValueError(f"{path.name} ends in {ending or 'nothing'!s}; images are written as .png, .tif or .jpg")
    lost = []
    bits, alpha = image.bits, image.alpha
    if ending in (".jpg", ".jpeg"):
        lost = [what for what, there in (("16 bits", bits == 16), ("transparency", alpha is not None)) if there]
        bits, alpha = 8, None
    planes = image.values if alpha is None else np.concatenate([image.values, alpha[..., None]], axis=-1)
    top = 2**bits - 1
    samples = np.round(np.clip(planes, 0.0, 1.0) * top).astype(np.uint16 if bits == 16 else np.uint8)
    if bits == 16 and ending == ".png":
        png.write(path, samples)
    elif ending in (".tif", ".tiff"):
        _write_tiff(path, samples, image)
    else:
        options: dict[str, Any] = {"icc_profile": image.profile} if image.profile else {}
        if ending in (".jpg", ".jpeg"):
            options |= {"quality": 95, "subsampling": 0}
        Image.fromarray(samples[..., 0] if samples.shape[-1] == 1 else samples).save(path, **options)
    return f"a JPEG cannot hold {' or '.join(lost)}" if lost else None


def _from_pillow(path: Path, image: Any, profile: bytes | None) -> ImageFile:
    if image.mode.startswith("I;16") or (image.mode == "I" and png.header(path) is not None):
        return _split(np.asarray(image, dtype=np.uint16)[..., None], 16, profile)
    if image.mode in ("I", "F"):
        raise ValueError(f"{path} has {image.mode} samples (32 bits); 8 and 16 bits are read")
    plain = _with_plain_mode(image)
    return _split(np.atleast_3d(np.asarray(plain)), 8, None if image.mode == "CMYK" else profile)


def _with_plain_mode(image: Any) -> Any:
    transparent = "transparency" in image.info
    plain = {"1": "L", "P": "RGBA" if transparent else "RGB", "PA": "RGBA", "La": "LA", "RGBa": "RGBA"}
    wanted = plain.get(image.mode, image.mode if image.mode in ("L", "LA", "RGB", "RGBA") else "RGB")
    return image if image.mode == wanted else image.convert(wanted)


def _split(samples: np.ndarray, bits: int, profile: bytes | None = None) -> ImageFile:
    values = samples.astype(np.float32) / np.float32(2**bits - 1)
    alpha = values[..., -1] if values.shape[-1] in (2, 4) else None
    return ImageFile(values[..., : -1 if alpha is not None else None], alpha, bits, profile)


def _read_tiff(path: Path) -> ImageFile | None:
    """A TIFF with 16 bits a sample; `None` for one that Pillow reads without loss."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            page: Any = file.pages[0]
            if page.dtype != np.uint16:
                return None
            samples = np.asarray(page.asarray())
            axes, photometric = page.axes, page.photometric.name
    except (tifffile.TiffFileError, ValueError, RuntimeError, KeyError) as error:
        if "imagecodecs" in str(error):
            raise ValueError(
                f"{path} is compressed in a way that is not read; save it uncompressed or with zip"
            ) from error
        return None
    if axes not in ("YX", "YXS", "SYX") or photometric not in ("MINISBLACK", "MINISWHITE", "RGB"):
        raise ValueError(f"{path} is a TIFF with axes {axes} and colours {photometric}, which is not read")
    samples = np.moveaxis(samples, 0, -1) if axes == "SYX" else np.atleast_3d(samples)
    if photometric == "MINISWHITE":
        samples = np.uint16(65535) - samples
    if samples.shape[-1] > 4:
        raise ValueError(f"{path} has {samples.shape[-1]} channels; grey and colour are read, with or without alpha")
    return _split(samples, 16)


def _write_tiff(path: Path, samples: np.ndarray, image: ImageFile) -> None:
    import tifffile

    colours = image.values.shape[-1]
    tifffile.imwrite(
        path,
        samples[..., 0] if samples.shape[-1] == 1 else samples,
        photometric="rgb" if colours == 3 else "minisblack",
        extrasamples=["unassalpha"] if samples.shape[-1] > colours else None,
        planarconfig="contig" if samples.shape[-1] > 1 else None,
        compression="zlib",
        iccprofile=image.profile,
    )
