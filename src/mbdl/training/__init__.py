"""Risks, losses, metrics, fit and compare."""

from . import drift, losses, metrics
from .compare import compare
from .comparison import Comparison, Row
from .curriculum import curriculum
from .fit import fit
from .history import Fit, History, NonFiniteError
from .program import Plan
from .risk import (
    AbstractExampleRisk,
    DeepSupervision,
    Supervised,
    Unsupervised,
    deep_supervision,
    supervised,
    unsupervised,
)
from .run import every
from .truncated import Truncated, truncated

__all__ = [
    "AbstractExampleRisk",
    "Comparison",
    "DeepSupervision",
    "Fit",
    "History",
    "NonFiniteError",
    "Plan",
    "Row",
    "Supervised",
    "Truncated",
    "Unsupervised",
    "compare",
    "curriculum",
    "drift",
    "deep_supervision",
    "every",
    "fit",
    "losses",
    "metrics",
    "supervised",
    "truncated",
    "unsupervised",
]
