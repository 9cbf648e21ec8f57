"""State estimation under a partly known model: filters, smoothers, and what can be learned in them."""

from .covariance import Factor, dense, factor_of, semidefinite_cholesky
from .em import EM, expectation_maximisation
from .estimates import Estimates
from .extended import ExtendedKalmanFilter
from .filter import AbstractFilter
from .gain import AbstractGain, Features, Uncertainty
from .inputs import Inputs, Moment, nan_means_missing
from .kalman import KalmanFilter
from .kalman_gain import KalmanGain
from .likelihood import negative_log_likelihood
from .linear import LinearGaussian
from .linearised import FilterMemory
from .model import AbstractModel, TimeVarying
from .nonlinear import NonlinearGaussian
from .parallel_kalman import ParallelKalmanFilter
from .parallel_rts import ParallelRTSSmoother
from .riccati_equation import riccati
from .rts import RTSSmoother
from .simulate import Simulated, simulate
from .smoother import AbstractSmoother, Smoothed
from .smoother_gain import AbstractSmootherGain, RTSGain, SmootherFeatures
from .square_root_gain import SquareRootGain
from .steady_state import SteadyState, SteadyStateGain
from .unscented import UnscentedKalmanFilter

__all__ = [
    "EM",
    "AbstractFilter",
    "AbstractGain",
    "AbstractModel",
    "AbstractSmoother",
    "AbstractSmootherGain",
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
    "ParallelKalmanFilter",
    "ParallelRTSSmoother",
    "RTSGain",
    "RTSSmoother",
    "Simulated",
    "Smoothed",
    "SmootherFeatures",
    "SquareRootGain",
    "SteadyState",
    "SteadyStateGain",
    "TimeVarying",
    "Uncertainty",
    "UnscentedKalmanFilter",
    "dense",
    "expectation_maximisation",
    "factor_of",
    "nan_means_missing",
    "negative_log_likelihood",
    "riccati",
    "semidefinite_cholesky",
    "simulate",
]
