"""Drawn trajectories: what lies where in the figures."""

import matplotlib.figure
import numpy as np
import pytest

from mbdl.report.trajectories import draw_trajectory


@pytest.fixture
def figures(monkeypatch):
    """The figures that would have been written."""
    drawn = []
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    return drawn


def lines(*names):
    return [{"name": name, "title": f"The {name}"} for name in names]


def test_a_path_lies_in_the_plane_with_the_road_behind_it(figures, tmp_path):
    along = np.linspace(0.0, 30.0, 40)
    road = np.stack([along, np.sin(along / 5)], axis=1)
    arrays = {name: np.concatenate([road + shift, road], axis=1) for name, shift in (("first", 0.5), ("second", 0.1))}
    trajectory = {"lines": lines("first", "second"), "components": ("east [m]", "north [m]"), "path": True}
    draw_trajectory(trajectory, arrays, tmp_path / "path.png")
    (figure,) = figures
    for axes, name in zip(figure.axes, arrays, strict=True):
        behind, path = axes.get_lines()
        np.testing.assert_array_equal(np.stack(path.get_data(), axis=1), arrays[name][:, :2])
        np.testing.assert_array_equal(np.stack(behind.get_data(), axis=1), road)
        assert (behind.get_linestyle(), axes.get_aspect(), axes.get_title()) == ("--", 1.0, f"The {name}")
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "east [m]"]
    assert [axes.get_ylabel() for axes in figure.axes] == ["north [m]"] * 2
    assert len({axes.get_xlim() for axes in figure.axes}) == len({axes.get_ylim() for axes in figure.axes}) == 1


def test_three_components_lie_in_space_with_the_truth_behind_the_estimates(figures, tmp_path):
    truth = np.random.default_rng(0).normal(size=(20, 3)).cumsum(axis=0)
    arrays = {"truth": truth, "estimate": truth + 1.0}
    trajectory = {"lines": lines(*arrays), "components": ("x", "y", "z")}
    draw_trajectory(trajectory, arrays, tmp_path / "space.png")
    (figure,) = figures
    assert [len(axes.get_lines()) for axes in figure.axes] == [1, 2]
    behind, estimate = figure.axes[1].get_lines()
    np.testing.assert_array_equal(np.stack(behind.get_data_3d(), axis=1), truth)
    np.testing.assert_array_equal(np.stack(estimate.get_data_3d(), axis=1), arrays["estimate"])
    assert figure.axes[0].get_zlabel() == "z"


def test_other_components_lie_against_whole_steps_of_time(figures, tmp_path):
    values = np.random.default_rng(0).normal(size=(4, 2))
    arrays = {"estimate": values, "estimate deviation": np.ones_like(values)}
    draw_trajectory({"lines": lines("estimate"), "components": ("stock 1", "stock 2")}, arrays, tmp_path / "time.png")
    (figure,) = figures
    for index, axes in enumerate(figure.axes[:2]):
        (line,) = axes.get_lines()
        np.testing.assert_array_equal(line.get_ydata(), values[:, index])
        assert all(float(tick).is_integer() for tick in axes.get_xticks())
        (band,) = axes.collections
        assert band.get_datalim(axes.transData).height == pytest.approx(np.ptp(values[:, index]) + 4)
