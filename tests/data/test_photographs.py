"""The photographs lie in installed packages, and no split leaks into another."""

import socket

import numpy as np
import pytest

from mbdl import data


def test_every_photograph_is_read_without_a_network_connection(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a photograph was fetched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for photograph in data.PHOTOGRAPHS:
        image = photograph.luminance()
        assert image.dtype == np.float32
        assert image.ndim == 2
        assert min(image.shape) >= 300
        assert 0.0 <= image.min() < 0.3
        assert 0.5 < image.max() <= 1.0


def test_luminance_agrees_with_scikit_image():
    from skimage.color import rgb2ycbcr

    pixels = data.photograph("coffee").pixels()
    oracle = (rgb2ycbcr(pixels)[..., 0] - 16.0) / 219.0
    np.testing.assert_allclose(data.luminance(pixels), oracle, atol=2e-5)


def test_photographs_agree_with_the_packages_own_loaders():
    import skimage.data

    np.testing.assert_array_equal(np.round(data.photograph("camera").luminance() * 255), skimage.data.camera())
    np.testing.assert_array_equal(np.round(data.photograph("astronaut").pixels() * 255), skimage.data.astronaut())


def test_splits_are_those_that_the_study_states_and_do_not_overlap():
    names = {split: [p.name for p in data.photographs(split)] for split in ("train", "validation", "test")}
    assert names["train"] == ["astronaut", "chelsea", "brick", "grass", "gravel", "coins", "china"]
    assert names["validation"] == ["flower", "moon"]
    assert names["test"] == ["camera", "coffee", "rocket", "motorcycle"]
    files = [p.path for p in data.PHOTOGRAPHS]
    assert len(set(files)) == len(files) == 13
    assert not any("motorcycle_right" in str(path) for path in files)
    assert len({data.fingerprint(p.luminance()) for p in data.PHOTOGRAPHS}) == 13


def test_jpegs_are_told_by_their_bytes():
    assert {p.name for p in data.PHOTOGRAPHS if p.jpeg} == {"china", "flower", "rocket"}


def test_errors_say_what_there_is():
    with pytest.raises(ValueError, match="there are astronaut, chelsea"):
        data.photograph("lena")
    with pytest.raises(ValueError, match="'train', 'validation' and 'test'"):
        data.photographs("holdout")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"\(4, 4\)"):
        data.luminance(np.zeros((4, 4), np.float32))
    missing = data.Photograph("none", "test", "scikit-image", "no-such-file.png")
    with pytest.raises(FileNotFoundError, match="no-such-file"):
        missing.luminance()
