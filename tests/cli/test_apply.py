"""Rules are applied to images of any size and kind, in pieces where they are large."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mbdl
from mbdl import inverse, networks
from mbdl.cli.apply import _pieces, apply, enlargement
from mbdl.cli.images import ImageFile, read_image, write_image
from mbdl.cli.use import use

generator = np.random.default_rng(0)


def total_variation():
    operator = inverse.Downsample(2) @ inverse.Convolution(inverse.gaussian_kernel(0.7))
    solver = inverse.FISTA(inverse.LeastSquares(operator), inverse.TotalVariation(0.004), iterations=10)
    return inverse.Reflected(solver, 4)


def black_box():
    return networks.NetworkRule(networks.UpsampleCNN(3, width=4, depth=1, key=jax.random.key(0)))


@pytest.mark.parametrize(
    ("size", "tile", "overlap"), [(10, 16, 4), (16, 16, 4), (17, 16, 4), (100, 16, 4), (999, 64, 24)]
)
def test_pieces_cover_everything_once_with_room_around(size, tile, overlap):
    pieces = list(_pieces(size, tile, overlap))
    used = [place for _, _, begin, end in pieces for place in range(begin, end)]
    assert used == list(range(size))
    assert len({stop - start for start, stop, _, _ in pieces}) == 1
    for start, stop, begin, end in pieces:
        assert 0 <= start <= begin < end <= stop <= size
        assert start == 0 or begin - start >= overlap // 2
        assert stop == size or stop - end >= overlap // 2


@pytest.mark.parametrize("shape", [(40, 61, 1), (61, 40, 3)])
def test_pieces_give_what_the_whole_gives(shape):
    values = np.clip(generator.random(shape), 0.1, 0.9).astype(np.float32)
    # FISTA decides for each piece by itself when its momentum begins again, the network sees only what is near.
    for rule, tolerance in ((black_box(), 1e-5), (total_variation(), 5e-3)):
        whole = apply(rule, values)
        pieces = apply(rule, values, tile=36, overlap=28)
        assert whole.shape == (shape[0] * enlargement(rule), shape[1] * enlargement(rule), shape[2])
        np.testing.assert_allclose(pieces, whole, atol=tolerance)


def test_colours_are_treated_channel_by_channel():
    rule, values = total_variation(), generator.random((20, 24, 3)).astype(np.float32)
    together = apply(rule, values)
    for channel in range(3):
        np.testing.assert_array_equal(
            together[..., channel : channel + 1], apply(rule, values[..., channel : channel + 1])
        )
    assert together.min() >= 0
    assert together.max() <= 1


def test_progress_is_told():
    told = []
    apply(
        inverse.Bicubic(2),
        np.zeros((30, 50, 3), np.float32),
        tile=24,
        overlap=8,
        tell=lambda done, of: told.append((done, of)),
    )
    assert told == [(index + 1, 18) for index in range(18)]


class Sum(mbdl.DecisionRule):
    scale: jax.Array

    def decide(self, x):
        return self.scale * jnp.sum(x)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Sum(1.0), r"is not for images: of one of 256×258 it makes no array|makes \(\)"),
        (
            networks.NetworkRule(networks.DnCNN(width=2, depth=2, noise_conditioned=True, key=jax.random.key(0))),
            "is not for images",
        ),
        (inverse.ISTA(inverse.LeastSquares(inverse.Matrix(jnp.eye(3))), inverse.L1(0.1)), "is not for images"),
        (networks.DnCNN(width=2, depth=2, key=jax.random.key(0)), "a part of a rule"),
        ({"a": 1}, "holds a dict"),
    ],
)
def test_rules_that_are_not_for_images(rule, message):
    with pytest.raises(ValueError, match=message):
        enlargement(rule)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [False, True])
def test_files_of_every_kind(tmp_path, bits, channels, alpha):
    top = 2**bits - 1
    planes = np.round(generator.random((21, 34, channels + alpha)) * top).astype(np.float32) / np.float32(top)
    write_image(tmp_path / "in.png", ImageFile(planes[..., :channels], planes[..., -1] if alpha else None, bits))
    mbdl.save(tmp_path / "rule.mbdl", total_variation())
    lines = []
    use(tmp_path / "rule.mbdl", tmp_path / "in.png", tmp_path / "out.png", overwrite=False, say=lines.append)
    found = read_image(tmp_path / "out.png")
    assert found.values.shape == (42, 68, channels)
    assert found.bits == bits
    assert (found.alpha is not None) == alpha
    expected = apply(total_variation(), planes[..., :channels])
    np.testing.assert_allclose(found.values, expected, atol=0.6 / top)
    assert "34×21" in lines[-1]
    assert "68×42" in lines[-1]


def test_a_decision_that_is_not_finite_is_an_error():
    broken = eqx.tree_at(lambda r: r.rule.step_size, total_variation(), jnp.float32(jnp.nan))
    with pytest.raises(ValueError, match="not finite"):
        apply(broken, np.zeros((8, 8, 1), np.float32))


def test_errors_of_files(tmp_path):
    mbdl.save(tmp_path / "rule.mbdl", inverse.Bicubic(2))
    write_image(tmp_path / "in.png", ImageFile(np.zeros((8, 8, 1), np.float32), None, 8))

    def attempt(rule="rule.mbdl", image="in.png", out="out.png", overwrite=False):
        use(tmp_path / rule, tmp_path / image, tmp_path / out, overwrite=overwrite, say=lambda line: None)

    with pytest.raises(FileNotFoundError, match=r"no file .*none.mbdl"):
        attempt(rule="none.mbdl")
    with pytest.raises(ValueError, match="not a saved rule"):
        attempt(rule="in.png")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        attempt(image="none.png")
    with pytest.raises(ValueError, match="not an image"):
        attempt(image="rule.mbdl")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        attempt(out="nowhere/out.png")
    with pytest.raises(ValueError, match="written as"):
        attempt(out="out.webp")
    attempt()
    with pytest.raises(FileExistsError, match="--overwrite"):
        attempt()
    attempt(overwrite=True)
