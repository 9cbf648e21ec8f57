"""State estimation under a partly known model: filters, smoothers, and what can be learned in them."""

from .consistency import Consistency, consistency, normalised_estimation_error_squared
from .covariance import Factor, dense, factor_of, semidefinite_cholesky
from .estimates import Estimates
from .extended import ExtendedKalmanFilter
from .filter import AbstractFilter
from .gain import AbstractGain, Features, Uncertainty
from .information_gain import InformationGain
from .inputs import Inputs, Moment, nan_means_missing
from .kalman import KalmanFilter
from .kalman_gain import KalmanGain
from .linear import LinearGaussian
from .linearised import FilterMemory
from .model import AbstractModel, TimeVarying
from .nonlinear import NonlinearGaussian
from .particle import ParticleFilter
from .resampling import (
    multinomial_resampling,
    residual_resampling,
    stratified_resampling,
    systematic_resampling,
)
from .simulate import Simulated, simulate
from .square_root_gain import SquareRootGain
from .unscented import UnscentedKalmanFilter

__all__ = [
    "AbstractFilter",
    "AbstractGain",
    "AbstractModel",
    "Consistency",
    "Estimates",
    "ExtendedKalmanFilter",
    "Factor",
    "Features",
    "FilterMemory",
    "InformationGain",
    "Inputs",
    "KalmanFilter",
    "KalmanGain",
    "LinearGaussian",
    "Moment",
    "NonlinearGaussian",
    "ParticleFilter",
    "Simulated",
    "SquareRootGain",
    "TimeVarying",
    "Uncertainty",
    "UnscentedKalmanFilter",
    "consistency",
    "dense",
    "factor_of",
    "multinomial_resampling",
    "nan_means_missing",
    "normalised_estimation_error_squared",
    "residual_resampling",
    "semidefinite_cholesky",
    "simulate",
    "stratified_resampling",
    "systematic_resampling",
]
