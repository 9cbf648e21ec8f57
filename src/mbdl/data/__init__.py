"""The data that studies use, from installed packages, with their splits."""

from mbdl.data.patches import orientation, patches
from mbdl.data.photographs import (
    LUMINANCE_WEIGHTS,
    PHOTOGRAPHS,
    Photograph,
    Split,
    fingerprint,
    luminance,
    photograph,
    photographs,
)

__all__ = [
    "LUMINANCE_WEIGHTS",
    "PHOTOGRAPHS",
    "Photograph",
    "Split",
    "fingerprint",
    "luminance",
    "orientation",
    "patches",
    "photograph",
    "photographs",
]
