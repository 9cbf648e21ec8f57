"""Image files: grey and colour, 8 and 16 bit, with and without alpha, as they are in the file."""

import numpy as np
import pytest
from PIL import Image

from mbdl.cli.images import ImageFile, read_image, write_image

generator = np.random.default_rng(0)


@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [False, True])
def test_files_keep_every_sample(tmp_path, ending, bits, channels, alpha):
    top = 2**bits - 1
    planes = generator.integers(0, top + 1, (5, 8, channels + alpha)).astype(np.float32) / np.float32(top)
    image = ImageFile(planes[..., :channels], planes[..., -1] if alpha else None, bits)
    assert write_image(tmp_path / f"a{ending}", image) is None
    again = read_image(tmp_path / f"a{ending}")
    assert again.bits == bits
    np.testing.assert_array_equal(again.values, image.values)
    assert (again.alpha is None) == (not alpha)
    if alpha:
        np.testing.assert_array_equal(again.alpha, image.alpha)


def test_jpeg_says_what_it_cannot_hold(tmp_path):
    values = np.full((16, 16, 3), 0.5, np.float32)
    image = ImageFile(values, np.ones((16, 16), np.float32), 16)
    assert write_image(tmp_path / "a.jpg", image) == "a JPEG cannot hold 16 bits or transparency"
    again = read_image(tmp_path / "a.jpg")
    assert (again.bits, again.alpha, again.values.shape) == (8, None, (16, 16, 3))
    np.testing.assert_allclose(again.values, 0.5, atol=0.01)


def test_other_tools_agree_on_the_samples(tmp_path):
    import skimage.io
    import tifffile

    values = generator.random((6, 7, 3)).astype(np.float32)
    write_image(tmp_path / "a.tif", ImageFile(values, None, 16))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), np.round(values * 65535).astype(np.uint16))
    write_image(tmp_path / "a.png", ImageFile(values, None, 8))
    np.testing.assert_array_equal(skimage.io.imread(tmp_path / "a.png"), np.round(values * 255).astype(np.uint8))


def test_palettes_bilevel_and_grey_16_bit(tmp_path):
    Image.fromarray(generator.integers(0, 255, (4, 4, 3), np.uint8)).convert("P").save(tmp_path / "palette.png")
    assert read_image(tmp_path / "palette.png").values.shape == (4, 4, 3)
    Image.fromarray(np.eye(4) > 0).save(tmp_path / "bilevel.png")
    np.testing.assert_array_equal(read_image(tmp_path / "bilevel.png").values[..., 0], np.eye(4))
    samples = generator.integers(0, 65536, (4, 5)).astype(np.uint16)
    Image.fromarray(samples).save(tmp_path / "grey.png")
    found = read_image(tmp_path / "grey.png")
    assert found.bits == 16
    np.testing.assert_array_equal(np.round(found.values[..., 0] * 65535), samples)


def test_a_photograph_is_turned_as_its_camera_says(tmp_path):
    samples = np.zeros((8, 16, 3), np.uint8)
    samples[:, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(samples).save(tmp_path / "a.png", exif=exif)
    found = read_image(tmp_path / "a.png").values
    assert found.shape == (16, 8, 3)
    assert found[:8].min() == 1.0


def test_white_is_zero_tiff(tmp_path):
    import tifffile

    samples = generator.integers(0, 65536, (4, 5)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="miniswhite")
    np.testing.assert_array_equal(np.round(read_image(tmp_path / "a.tif").values[..., 0] * 65535), 65535 - samples)


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("missing.png", None, FileNotFoundError, "there is no file"),
        ("text.png", b"hello, this is no image", ValueError, "not an image"),
        ("text.tif", b"hello, this is no image", ValueError, "not an image"),
        ("empty.jpg", b"", ValueError, "not an image"),
    ],
)
def test_what_is_no_image(tmp_path, name, content, error, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message):
        read_image(tmp_path / name)


def test_other_errors(tmp_path):
    with pytest.raises(ValueError, match="a folder"):
        read_image(tmp_path)
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(ValueError, match="32 bits"):
        read_image(tmp_path / "float.tif")
    image = ImageFile(np.zeros((2, 2, 1), np.float32), None, 8)
    for name in ("a.gif", "a"):
        with pytest.raises(ValueError, match=r"written as .png, .tif or .jpg"):
            write_image(tmp_path / name, image)
    (tmp_path / "half.png").write_bytes((tmp_path / "float.tif").read_bytes()[:20])
    with pytest.raises(ValueError, match="not an image"):
        read_image(tmp_path / "half.png")
