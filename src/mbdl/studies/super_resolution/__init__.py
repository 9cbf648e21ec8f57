"""Super-resolution of photographs: one problem, solved at every point of the spectrum."""

from mbdl.studies.super_resolution.study import STUDY

__all__ = [
    "STUDY",
]
