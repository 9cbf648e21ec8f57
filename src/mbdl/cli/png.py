"""PNG files with 16 bits a sample in several channels, which Pillow reduces to 8 bits."""

import struct
import zlib
from pathlib import Path

import numpy as np

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}


def header(path: Path) -> tuple[int, int, int, int, bool] | None:
    """Width, height, bits a sample, colour type and whether it is interlaced; `None` for what is no PNG."""
    with path.open("rb") as file:
        start = file.read(33)
    if len(start) < 33 or not start.startswith(_SIGNATURE) or start[12:16] != b"IHDR":
        return None
    width, height, bits, colour, _, _, interlace = struct.unpack(">IIBBBBB", start[16:29])
    return width, height, bits, colour, bool(interlace)


def read(path: Path) -> np.ndarray:
    """The samples of a PNG with 16 bits a sample.

    Args:
        path: the file.

    Returns:
        `[height width channels]`, `uint16`; the channels are grey, grey and alpha, colours, or colours and alpha.

    Raises:
        ValueError: if the file is interlaced, damaged, or not of 16 bits.
    """
    found = header(path)
    if found is None or found[2] != 16 or found[3] not in _CHANNELS:
        raise ValueError(f"{path} is not a PNG with 16 bits a sample")
    width, height, _, colour, interlaced = found
    if interlaced:
        raise ValueError(
            f"{path} is an interlaced PNG with 16 bits a sample, which is not read; save it without interlace"
        )
    content = path.read_bytes()
    place, data = len(_SIGNATURE), []
    while place + 12 <= len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        if content[place + 4 : place + 8] == b"IDAT":
            data.append(content[place + 8 : place + 8 + length])
        place += 12 + length
    size = 2 * _CHANNELS[colour]
    try:
        raw = np.frombuffer(zlib.decompress(b"".join(data)), np.uint8).reshape(height, 1 + width * size)
    except (zlib.error, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    samples = _unfilter(raw[:, 1:].reshape(height, width, size), raw[:, 0])
    return np.ascontiguousarray(samples).view(">u2").astype(np.uint16).reshape(height, width, _CHANNELS[colour])


def write(path: Path, samples: np.ndarray) -> None:
    """Writes samples as a PNG with 16 bits a sample.

    Args:
        path: the file.
        samples: `[height width channels]`, `uint16`, with 1 to 4 channels.
    """
    height, width, channels = samples.shape
    colour = {count: code for code, count in _CHANNELS.items()}[channels]
    rows = np.ascontiguousarray(samples.astype(">u2")).view(np.uint8).reshape(height, width * 2 * channels)
    # Each row less the one above: the filter "up".
    filtered = rows.copy()
    filtered[1:] -= rows[:-1]
    lines = np.concatenate([np.full((height, 1), 2, np.uint8), filtered], axis=1)

    def chunk(name: bytes, content: bytes) -> bytes:
        checked = name + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    start = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0))
    path.write_bytes(_SIGNATURE + start + chunk(b"IDAT", zlib.compress(lines.tobytes(), 6)) + chunk(b"IEND", b""))


def _unfilter(rows: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """Undoes the rows' prediction filters, all rows at once along diagonals.

    A sample is predicted from its left, upper and upper left neighbours, so that those of one diagonal are independent.
    """
    height, width, size = rows.shape
    if filters.max(initial=0) > 4:
        raise ValueError(f"a PNG has no filter {filters.max()}")
    done = np.zeros((height + 1, width + 1, size), np.int32)
    for diagonal in range(height + width - 1):
        row = np.arange(max(0, diagonal - width + 1), min(height, diagonal + 1))
        column = diagonal - row
        left, up, corner = done[row + 1, column], done[row, column + 1], done[row, column]
        kind = filters[row][:, None]
        estimate = left + up - corner
        to_left, to_up, to_corner = abs(estimate - left), abs(estimate - up), abs(estimate - corner)
        paeth = np.where((to_left <= to_up) & (to_left <= to_corner), left, np.where(to_up <= to_corner, up, corner))
        predicted = np.select([kind == 1, kind == 2, kind == 3, kind == 4], [left, up, (left + up) // 2, paeth], 0)
        done[row + 1, column + 1] = (rows[row, column] + predicted) & 255
    return done[1:, 1:].astype(np.uint8)
