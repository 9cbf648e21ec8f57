"""The rules that are compared, in the order of the spectrum."""

from dataclasses import dataclass

from mbdl.studies.results import Strategy


@dataclass(frozen=True)
class Entry:
    """One rule of the comparison.

    Args:
        name: that of its files.
        title: what tables call it.
        strategy: where it stands on the spectrum.
        learned: whether it has training seeds.
    """

    name: str
    title: str
    strategy: Strategy
    learned: bool


ENTRIES: tuple[Entry, ...] = (
    Entry("bicubic", "bicubic interpolation", "model-based", False),
    Entry("wavelets", "FISTA, wavelets", "model-based", False),
    Entry("total-variation", "FISTA, total variation", "model-based", False),
    Entry("learned-weights", "FISTA-TV, learned weight and step", "learned optimisation", True),
    Entry("unfolded-weights", "FISTA-TV unfolded, weights per layer", "deep unfolding", True),
    Entry("unfolded-prox", "ADMM unfolded, network per layer", "deep unfolding", True),
    Entry("plug-and-play", "ADMM with a denoiser (plug-and-play)", "DNN-aided", True),
    Entry("black-box-small", "network, small", "black box", True),
    Entry("black-box-equal", "network, as many numbers", "black box", True),
)

BY_NAME = {entry.name: entry for entry in ENTRIES}

REFERENCE = "total-variation"
"""The rule to which all others are compared, photograph by photograph."""
