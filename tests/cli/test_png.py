"""16-bit PNG files are read and written exactly, whatever filters they use."""

import struct
import zlib

import numpy as np
import pytest

from mbdl.cli import png

generator = np.random.default_rng(0)


def encode(samples, filters, colour, interlace=0):
    """A PNG whose rows use given filters, written as the standard says, one byte at a time."""
    height, width, channels = samples.shape
    size = 2 * channels
    raw = samples.astype(">u2").tobytes()
    stride = width * size
    rows = [raw[i * stride : (i + 1) * stride] for i in range(height)]
    lines = []
    for index, (row, kind) in enumerate(zip(rows, filters, strict=True)):
        above = rows[index - 1] if index else bytes(stride)
        line = bytearray([kind])
        for place in range(stride):
            left = row[place - size] if place >= size else 0
            corner = above[place - size] if place >= size else 0
            up = above[place]
            estimate = left + up - corner
            nearest = min(
                (abs(estimate - left), 0, left), (abs(estimate - up), 1, up), (abs(estimate - corner), 2, corner)
            )
            predicted = (0, left, up, (left + up) // 2, nearest[2])[kind]
            line.append((row[place] - predicted) % 256)
        lines.append(bytes(line))

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    packed = zlib.compress(b"".join(lines))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, interlace))
    half = len(packed) // 2
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + chunk(b"IDAT", packed[:half])
        + chunk(b"IDAT", packed[half:])
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("channels", "colour"), [(2, 4), (3, 2), (4, 6)])
def test_every_filter_is_undone(tmp_path, channels, colour):
    samples = generator.integers(0, 65536, (10, 7, channels)).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(encode(samples, [0, 1, 2, 3, 4, 4, 3, 2, 1, 0], colour))
    np.testing.assert_array_equal(png.read(tmp_path / "a.png"), samples)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_what_is_written_is_read(tmp_path, channels):
    samples = generator.integers(0, 65536, (6, 9, channels)).astype(np.uint16)
    png.write(tmp_path / "a.png", samples)
    np.testing.assert_array_equal(png.read(tmp_path / "a.png"), samples)
    assert png.header(tmp_path / "a.png")[:3] == (9, 6, 16)


def test_pillow_reads_what_is_written(tmp_path):
    from PIL import Image

    samples = generator.integers(0, 65536, (6, 9, 3)).astype(np.uint16)
    png.write(tmp_path / "a.png", samples)
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(image), samples >> 8)


def test_errors(tmp_path):
    samples = generator.integers(0, 65536, (2, 2, 3)).astype(np.uint16)
    (tmp_path / "interlaced.png").write_bytes(encode(samples, [0, 0], 2, interlace=1))
    with pytest.raises(ValueError, match="interlaced"):
        png.read(tmp_path / "interlaced.png")
    whole = encode(samples, [0, 0], 2)
    broken = bytearray(whole)
    broken[45] ^= 255
    (tmp_path / "broken.png").write_bytes(bytes(broken))
    with pytest.raises(ValueError, match="damaged"):
        png.read(tmp_path / "broken.png")
    (tmp_path / "no.png").write_bytes(b"text")
    assert png.header(tmp_path / "no.png") is None
    with pytest.raises(ValueError, match="not a PNG"):
        png.read(tmp_path / "no.png")
