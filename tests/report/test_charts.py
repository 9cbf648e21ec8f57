"""What a chart draws of a curve: its axes as the results ask for them."""

from pathlib import Path

import pytest

from mbdl.report import charts


@pytest.mark.parametrize(("scale", "labelled"), [("linear", False), ("log", True)])
def test_the_vertical_axis_has_the_scale_that_is_asked_for(scale, labelled, monkeypatch):
    drawn = []
    monkeypatch.setattr(charts, "_write", lambda figure, path: drawn.append(figure))
    line = {"title": "one", "strategy": "model-based", "x": [1.0, 2.0, 4.0], "y": [0.1, 3.0, 200.0]}
    axis = {"title": "cost", "unit": "", "scale": scale}
    curve = {"title": "A curve", "x": {"title": "runs", "unit": "", "scale": "linear"}, "y": axis, "lines": [line]}
    charts.draw_curve(curve, Path("unused.png"))
    (figure,) = drawn
    figure.canvas.draw()
    axes = figure.axes[0]
    assert axes.get_yscale() == scale
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert ({"0.1", "1", "10", "100"} <= set(labels)) == labelled
