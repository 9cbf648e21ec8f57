"""The spectrum itself: decision rules, what is learned in them, and the verbs that move them along it."""

from .constraints import AbstractConstraint, interval, positive, positive_definite, simplex, unconstrained
from .derivative import nondifferentiable, reads
from .fixed_point import ConvergenceError, Solution, Status
from .learned import Learned, PerLayer, combine, count, partition, resolve
from .leaves import as_leaf, dtype_of, settle
from .loops import holds_convolution, loop
from .precision import multiply_in_full
from .recursive import Course, RecursiveRule, first_bad_step, time_steps
from .registry import register
from .rule import DecisionRule, all_finite
from .saving import FileFormatError, load, save, write_atomically
from .solver import IterativeSolver
from .spectrum import Spectrum, spectrum
from .substitute import Gated, augment, substitute
from .unfold import unfold
from .verbs import freeze, learn, thaw, tuned

__all__ = [
    "AbstractConstraint",
    "ConvergenceError",
    "Course",
    "DecisionRule",
    "FileFormatError",
    "Gated",
    "IterativeSolver",
    "Learned",
    "PerLayer",
    "RecursiveRule",
    "Solution",
    "Spectrum",
    "Status",
    "all_finite",
    "as_leaf",
    "augment",
    "combine",
    "count",
    "dtype_of",
    "first_bad_step",
    "freeze",
    "holds_convolution",
    "interval",
    "learn",
    "load",
    "loop",
    "multiply_in_full",
    "nondifferentiable",
    "partition",
    "positive",
    "positive_definite",
    "reads",
    "register",
    "resolve",
    "save",
    "settle",
    "simplex",
    "spectrum",
    "substitute",
    "thaw",
    "time_steps",
    "tuned",
    "unconstrained",
    "unfold",
    "write_atomically",
]
