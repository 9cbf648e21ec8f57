"""Patches are parts of their images, and repeat for a key."""

import jax
import numpy as np
import pytest

from mbdl import data

images = [np.arange(30 * 40, dtype=np.float32).reshape(30, 40), 5000 + np.arange(400, dtype=np.float32).reshape(20, 20)]


def test_orientations_are_the_eight_symmetries_of_the_square():
    image = np.arange(9).reshape(3, 3)
    seen = {data.orientation(image, index).tobytes() for index in range(8)}
    assert len(seen) == 8
    np.testing.assert_array_equal(data.orientation(image, 0), image)
    with pytest.raises(ValueError, match="0 to 7"):
        data.orientation(image, 8)


def test_each_patch_is_a_turned_window_of_an_image():
    windows = set()
    for image in images:
        for view in np.lib.stride_tricks.sliding_window_view(image, (6, 6)).reshape(-1, 6, 6):
            windows.update(np.ascontiguousarray(data.orientation(view, index)).tobytes() for index in range(8))
    drawn = data.patches(images, 50, 6, key=jax.random.key(0))
    assert all(patch.tobytes() in windows for patch in drawn)


def test_patches_come_from_every_image_place_and_orientation():
    drawn = data.patches(images, 400, 19, key=jax.random.key(1))
    from_second = (drawn[:, 0, 0] >= 5000).mean()
    assert 0.4 < from_second < 0.6
    second = drawn[drawn[:, 0, 0] >= 5000]
    assert len({patch.tobytes() for patch in second}) == 32  # four places, eight orientations


def test_a_key_repeats_and_another_does_not():
    first, again, other = (data.patches(images, 4, 8, key=jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_without_augmentation_patches_keep_their_orientation():
    drawn = data.patches(images, 20, 8, key=jax.random.key(0), augment=False)
    assert np.all(np.diff(drawn, axis=2) == 1)


def test_errors():
    with pytest.raises(ValueError, match="image 1 is 20×20, smaller than a 25×25 patch"):
        data.patches(images, 1, 25, key=jax.random.key(0))
    with pytest.raises(ValueError, match="no image"):
        data.patches([], 1, 2, key=jax.random.key(0))
