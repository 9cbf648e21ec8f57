"""Risks, losses, metrics, fit and compare."""

from . import drift, losses, metrics
from .compare import compare
from .comparison import Comparison, Row
from .curriculum import curriculum
from .fit import fit
from .history import Fit, History, NonFiniteError
from .online import Block, Online, online
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
    "Block",
    "Comparison",
    "DeepSupervision",
    "Fit",
    "History",
    "NonFiniteError",
    "Online",
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
    "online",
    "supervised",
    "truncated",
    "unsupervised",
]
