"""The paper's comparisons, each one rule moved along the spectrum on one problem."""

from mbdl.studies.execute import execute, prepare
from mbdl.studies.folder import RunFolder
from mbdl.studies.registry import names, study
from mbdl.studies.settings import describe
from mbdl.studies.study import Run, Stage, Study

__all__ = [
    "Run",
    "RunFolder",
    "Stage",
    "Study",
    "describe",
    "execute",
    "names",
    "prepare",
    "study",
]
