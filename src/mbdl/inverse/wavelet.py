"""The orthogonal discrete wavelet transform of images."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .checks import image
from .operator import AbstractOrthogonalOperator


class Wavelet(AbstractOrthogonalOperator):
    r"""The separable periodised wavelet transform of images, exactly orthogonal for images of any size.

    The coefficients are laid out in an array of the image's shape, the coarse ones in the corner at the origin and
    around them the details, from coarse to fine. On sizes divisible by $2^{\text{levels}}$ they are those of
    PyWavelets' mode `"periodization"`. Where a level meets an odd size, the last row or column skips that level's
    filter in its direction and stays as it is: that costs some sparsity along the edge and keeps $W^T W = I$, which
    padding would not. A level that has a single row or column left does nothing in that direction.

    Args:
        name: an orthogonal wavelet: `"haar"`, `"db2"` to `"db20"`, `"sym2"` to `"sym20"`, `"coif1"` to `"coif5"`.
        levels: how often the coarse part is split again; at least 1.

    Raises:
        ValueError: for an unknown wavelet, one that is not orthogonal, or a number of levels below 1.

    Source: S. Mallat, "A theory for multiresolution signal decomposition", IEEE Trans. PAMI 11, 1989. The filters
    are those of the package `jaxwavelets`.

    >>> import jax.numpy as jnp
    >>> from mbdl import inverse
    >>> inverse.Wavelet("haar", 1)(jnp.ones((2, 2))).round(6).tolist()
    [[2.0, 0.0], [0.0, 0.0]]
    """

    name: str = eqx.field(static=True)
    levels: int = eqx.field(static=True)

    def __init__(self, name: str, levels: int = 3):
        if not isinstance(levels, (int, np.integer)) or isinstance(levels, bool) or levels < 1:
            raise ValueError(f"Wavelet: expected at least one level, got levels={levels!r}")
        _orthogonal_filters(name)
        self.name = name
        self.levels = int(levels)

    @property
    def filters(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The taps of the coarse and the detail filter."""
        return _orthogonal_filters(self.name)

    def __call__(self, s: Float[Array, "height width *channel"]) -> Float[Array, "height width *channel"]:
        image(s, "Wavelet")
        for rows, columns in _blocks(s.shape, self.levels):
            block = s[:rows, :columns]
            for axis in (0, 1):
                block = _analyse(block, axis, self.filters)
            s = _with_corner(s, block)
        return s

    def adjoint(self, x: Float[Array, "height width *channel"]) -> Float[Array, "height width *channel"]:
        image(x, "Wavelet (adjoint)")
        for rows, columns in reversed(_blocks(x.shape, self.levels)):
            block = x[:rows, :columns]
            for axis in (0, 1):
                block = _synthesise(block, axis, self.filters)
            x = _with_corner(x, block)
        return x

    def sparse(self, coefficients: Array) -> Bool[Array, "height width *one"]:
        """`True` for the details, `False` for the coarse part, which is an image and not sparse."""
        shape = coefficients.shape
        details = np.zeros(shape[:2], bool)
        for rows, columns in _blocks(shape, self.levels):
            details[rows // 2 : 2 * (rows // 2), :columns] = True
            details[:rows, columns // 2 : 2 * (columns // 2)] = True
        return jnp.asarray(details.reshape(details.shape + (1,) * (len(shape) - 2)))


def _blocks(shape: tuple[int, ...], levels: int) -> list[tuple[int, int]]:
    """The sizes of the part that each level splits."""
    rows, columns = shape[:2]
    blocks = []
    for _ in range(levels):
        if rows < 2 and columns < 2:
            break
        blocks.append((rows, columns))
        rows, columns = max(rows // 2, 1), max(columns // 2, 1)
    return blocks


def _with_corner(s: Array, block: Array) -> Array:
    return block if block.shape == s.shape else jax.lax.dynamic_update_slice(s, block, (0,) * s.ndim)


def _slice(s: Array, axis: int, start: int, stop: int) -> Array:
    return jax.lax.slice_in_dim(s, start, stop, axis=axis)


def _wrapped(s: Array, axis: int, before: int, after: int) -> Array:
    """The array repeated periodically along an axis, for any number of entries before and after."""
    size = s.shape[axis]
    repeats = -(-before // size), -(-after // size)
    tiled = jnp.concatenate([s] * (1 + sum(repeats)), axis)
    start = repeats[0] * size - before
    return _slice(tiled, axis, start, start + before + size + after)


def _analyse(s: Array, axis: int, filters: tuple[tuple[float, ...], tuple[float, ...]]) -> Array:
    """Split one axis: coarse, details, and an odd last entry as it is."""
    size, half = s.shape[axis], s.shape[axis] // 2
    if half == 0:
        return s
    taps = len(filters[0])
    even = _slice(s, axis, 0, 2 * half)
    # Coefficient k is the sum over j of filter[j] times entry 2 k + taps / 2 - j, periodically: PyWavelets' convention.
    phases = even.reshape(*s.shape[:axis], half, 2, *s.shape[axis + 1 :])
    before, after = taps // 2, taps // 4 + 1
    wrapped = [_wrapped(jax.lax.index_in_dim(phases, p, axis + 1, keepdims=False), axis, before, after) for p in (0, 1)]
    bands = []
    for taps_of_band in filters:
        terms = []
        for j, tap in enumerate(taps_of_band):
            shift, phase = divmod(taps // 2 - j, 2)
            terms.append(tap * _slice(wrapped[phase], axis, before + shift, before + shift + half))
        bands.append(sum(terms[1:], start=terms[0]))
    return jnp.concatenate([*bands, _slice(s, axis, 2 * half, size)], axis)


def _synthesise(s: Array, axis: int, filters: tuple[tuple[float, ...], tuple[float, ...]]) -> Array:
    """The transpose, and so the inverse, of `_analyse`."""
    size, half = s.shape[axis], s.shape[axis] // 2
    if half == 0:
        return s
    taps = len(filters[0])
    before, after = taps // 4 + 1, taps // 2
    bands = [_wrapped(_slice(s, axis, b * half, (b + 1) * half), axis, before, after) for b in (0, 1)]
    phases: list[Any] = [0.0, 0.0]
    for band, taps_of_band in zip(bands, filters, strict=True):
        for j, tap in enumerate(taps_of_band):
            shift, phase = divmod(taps // 2 - j, 2)
            phases[phase] = phases[phase] + tap * _slice(band, axis, before - shift, before - shift + half)
    merged = jnp.stack(phases, axis + 1).reshape(*s.shape[:axis], 2 * half, *s.shape[axis + 1 :])
    return jnp.concatenate([merged, _slice(s, axis, 2 * half, size)], axis)


@functools.cache
def _orthogonal_filters(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The analysis filters, coarse and detail, in double precision."""
    from jaxwavelets import get_wavelet

    try:
        with jax.ensure_compile_time_eval(), jax.enable_x64(True):
            bank = [np.asarray(taps) for taps in get_wavelet(name)]
    except (KeyError, TypeError):
        raise ValueError(
            f'Wavelet: unknown wavelet {name!r}; expected an orthogonal one such as "haar", "db4", "sym8" or "coif2"'
        ) from None
    coarse, detail, synthesis, _ = bank
    products = np.convolve(coarse, coarse[::-1])[len(coarse) - 1 :: 2]
    if (
        len(coarse) % 2
        or not np.allclose(synthesis, coarse[::-1])
        or not np.allclose(products, np.eye(len(products))[0], atol=1e-6)
    ):
        raise ValueError(f'Wavelet: {name!r} is not orthogonal; expected one such as "haar", "db4", "sym8" or "coif2"')
    return tuple(map(float, coarse)), tuple(map(float, detail))
