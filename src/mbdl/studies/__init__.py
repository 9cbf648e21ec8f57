"""The paper's comparisons, each one rule moved along the spectrum on one problem."""

from mbdl.studies.execute import execute as execute
from mbdl.studies.execute import prepare as prepare
from mbdl.studies.folder import RunFolder as RunFolder
from mbdl.studies.registry import names as names
from mbdl.studies.registry import study as study
from mbdl.studies.settings import describe as describe
from mbdl.studies.study import Run as Run
from mbdl.studies.study import Stage as Stage
from mbdl.studies.study import Study as Study
