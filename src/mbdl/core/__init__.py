"""The spectrum itself: decision rules, what is learned in them, and the verbs that move them along it."""

from .constraints import (
    AbstractConstraint as AbstractConstraint,
    interval as interval,
    positive as positive,
    positive_definite as positive_definite,
    simplex as simplex,
    unconstrained as unconstrained,
)
from .derivative import nondifferentiable as nondifferentiable, reads as reads
from .fixed_point import ConvergenceError as ConvergenceError, Solution as Solution, Status as Status
from .learned import (
    Learned as Learned,
    PerLayer as PerLayer,
    combine as combine,
    count as count,
    partition as partition,
    resolve as resolve,
)
from .leaves import as_leaf as as_leaf, dtype_of as dtype_of, settle as settle
from .loops import holds_convolution as holds_convolution, loop as loop
from .rule import DecisionRule as DecisionRule, all_finite as all_finite
from .solver import IterativeSolver as IterativeSolver
from .verbs import (
    augment as augment,
    freeze as freeze,
    learn as learn,
    substitute as substitute,
    thaw as thaw,
    tuned as tuned,
    unfold as unfold,
)
