"""Inverse problems: linear operators, fidelities, priors and the solvers that combine them."""

from .admm import ADMM as ADMM
from .admm import ADMMState as ADMMState
from .constraint import Box as Box
from .constraint import NonNegative as NonNegative
from .constraint import Zero as Zero
from .convolution import Convolution as Convolution
from .convolution import gaussian_kernel as gaussian_kernel
from .denoiser import DenoiserPrior as DenoiserPrior
from .downsample import Downsample as Downsample
from .fista import FISTA as FISTA
from .fista import FISTAState as FISTAState
from .functional import (
    AbstractFunctional as AbstractFunctional,
)
from .functional import (
    AbstractProximable as AbstractProximable,
)
from .functional import (
    AbstractSmooth as AbstractSmooth,
)
from .functional import (
    Multiple as Multiple,
)
from .gradient import Gradient as Gradient
from .gradient_descent import GradientDescent as GradientDescent
from .identity import Identity as Identity
from .initial import AbstractInitial as AbstractInitial
from .initial import ScaledAdjoint as ScaledAdjoint
from .initial import Zeros as Zeros
from .interpolation import Bicubic as Bicubic
from .interpolation import Interpolated as Interpolated
from .ista import ISTA as ISTA
from .l1 import L1 as L1
from .l1 import soft_threshold as soft_threshold
from .least_squares import AbstractFidelity as AbstractFidelity
from .least_squares import LeastSquares as LeastSquares
from .mask import Mask as Mask
from .matrix import FactoredMatrix as FactoredMatrix
from .matrix import Matrix as Matrix
from .operator import (
    AbstractOperator as AbstractOperator,
)
from .operator import (
    AbstractOrthogonalOperator as AbstractOrthogonalOperator,
)
from .operator import (
    Adjoint as Adjoint,
)
from .operator import (
    Composition as Composition,
)
from .operator import (
    OrthogonalAdjoint as OrthogonalAdjoint,
)
from .operator import (
    Scaled as Scaled,
)
from .reflected import Reflected as Reflected
from .squared_l2 import SquaredL2 as SquaredL2
from .stack import Stack as Stack
from .sum import Separable as Separable
from .sum import Sum as Sum
from .total_variation import TotalVariation as TotalVariation
from .wavelet import Wavelet as Wavelet
