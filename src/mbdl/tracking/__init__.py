"""State estimation under a partly known model: filters, smoothers, and what can be learned in them."""

from .covariance import Factor, dense, factor_of, semidefinite_cholesky
from .estimates import Estimates
from .extended import ExtendedKalmanFilter
from .filter import AbstractFilter
from .gain import AbstractGain, Features, Uncertainty
from .inputs import Inputs, Moment, nan_means_missing
from .kalman import KalmanFilter
from .kalman_gain import KalmanGain
from .linear import LinearGaussian
from .linearised import FilterMemory
from .model import AbstractModel, TimeVarying
from .nonlinear import NonlinearGaussian
from .riccati_equation import riccati
from .simulate import Simulated, simulate
from .square_root_gain import SquareRootGain
from .steady_state import SteadyState, SteadyStateGain
from .unscented import UnscentedKalmanFilter

__all__ = [
    "AbstractFilter",
    "AbstractGain",
    "AbstractModel",
    "Estimates",
    "ExtendedKalmanFilter",
    "Factor",
    "Features",
    "FilterMemory",
    "Inputs",
    "KalmanFilter",
    "KalmanGain",
    "LinearGaussian",
    "Moment",
    "NonlinearGaussian",
    "Simulated",
    "SquareRootGain",
    "SteadyState",
    "SteadyStateGain",
    "TimeVarying",
    "Uncertainty",
    "UnscentedKalmanFilter",
    "dense",
    "factor_of",
    "nan_means_missing",
    "riccati",
    "semidefinite_cholesky",
    "simulate",
]
