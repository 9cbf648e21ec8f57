"""Risks, losses, metrics, fit and compare."""

from . import losses as losses, metrics as metrics
from .fit import fit as fit
from .history import Fit as Fit, History as History, NonFiniteError as NonFiniteError
from .program import Plan as Plan
from .risk import (
    AbstractExampleRisk as AbstractExampleRisk,
    DeepSupervision as DeepSupervision,
    Supervised as Supervised,
    Unsupervised as Unsupervised,
    deep_supervision as deep_supervision,
    supervised as supervised,
    unsupervised as unsupervised,
)
from .run import every as every
