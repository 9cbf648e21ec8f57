"""Colours and marks of the strategies, on light and on dark ground."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Theme:
    """The colours of one ground. Colours of the strategies stay apart for the colour-blind (after Okabe and Ito)."""

    name: str
    ground: str
    text: str
    faint: str
    grid: str
    strategies: dict[str, str]


LIGHT = Theme(
    name="light",
    ground="#ffffff",
    text="#1b1f24",
    faint="#57606a",
    grid="#d8dee4",
    strategies={
        "model-based": "#57606a",
        "learned optimisation": "#0072b2",
        "deep unfolding": "#c64600",
        "DNN-aided": "#008060",
        "black box": "#a3307b",
    },
)

DARK = Theme(
    name="dark",
    ground="#14181d",
    text="#e6eaef",
    faint="#9aa5b1",
    grid="#313942",
    strategies={
        "model-based": "#aab4bf",
        "learned optimisation": "#58b3ea",
        "deep unfolding": "#ff9a4d",
        "DNN-aided": "#3fcf9f",
        "black box": "#ec86c4",
    },
)

MARKERS = {
    "model-based": "o",
    "learned optimisation": "s",
    "deep unfolding": "D",
    "DNN-aided": "^",
    "black box": "X",
}
"""One mark a strategy, so that nothing hangs on colour alone."""
