"""Inverse problems: linear operators, fidelities, priors and the solvers that combine them."""

from .admm import ADMM, ADMMState
from .constraint import Box, NonNegative, Zero
from .convolution import Convolution, gaussian_kernel
from .denoiser import DenoiserPrior
from .downsample import Downsample
from .fista import FISTA, FISTAState
from .functional import AbstractFunctional, AbstractProximable, AbstractSmooth, Multiple
from .gradient import Gradient
from .gradient_descent import GradientDescent
from .identity import Identity
from .initial import AbstractInitial, ScaledAdjoint, Zeros
from .interpolation import Bicubic, Interpolated
from .ista import ISTA
from .l1 import L1, soft_threshold
from .least_squares import AbstractFidelity, LeastSquares
from .mask import Mask
from .matrix import FactoredMatrix, Matrix
from .operator import AbstractOperator, AbstractOrthogonalOperator, Adjoint, Composition, OrthogonalAdjoint, Scaled
from .reflected import Reflected
from .squared_l2 import SquaredL2
from .stack import Stack
from .sum import Separable, Sum
from .total_variation import TotalVariation
from .wavelet import Wavelet

__all__ = [
    "ADMM",
    "ADMMState",
    "AbstractFidelity",
    "AbstractFunctional",
    "AbstractInitial",
    "AbstractOperator",
    "AbstractOrthogonalOperator",
    "AbstractProximable",
    "AbstractSmooth",
    "Adjoint",
    "Bicubic",
    "Box",
    "Composition",
    "Convolution",
    "DenoiserPrior",
    "Downsample",
    "FISTA",
    "FISTAState",
    "FactoredMatrix",
    "Gradient",
    "GradientDescent",
    "ISTA",
    "Identity",
    "Interpolated",
    "L1",
    "LeastSquares",
    "Mask",
    "Matrix",
    "Multiple",
    "NonNegative",
    "OrthogonalAdjoint",
    "Reflected",
    "Scaled",
    "ScaledAdjoint",
    "Separable",
    "SquaredL2",
    "Stack",
    "Sum",
    "TotalVariation",
    "Wavelet",
    "Zero",
    "Zeros",
    "gaussian_kernel",
    "soft_threshold",
]
