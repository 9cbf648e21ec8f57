"""State estimation under a partly known model: filters, smoothers, and what can be learned in them."""

from .cascade_network import CascadeHidden, CascadeNetwork
from .covariance import Factor, dense, factor_of, semidefinite_cholesky
from .estimates import Estimates
from .extended import ExtendedKalmanFilter
from .filter import AbstractFilter
from .fixed_gain import FixedGain
from .gain import AbstractGain, Features, Uncertainty
from .gain_network import AbstractGainNetwork, SingleUnitNetwork
from .input_features import Differences, InputFeatures
from .inputs import Inputs, Moment, nan_means_missing
from .kalman import KalmanFilter
from .kalman_gain import KalmanGain
from .kalmannet import KalmanNet
from .linear import LinearGaussian
from .linearised import FilterMemory
from .model import AbstractModel, TimeVarying
from .nonlinear import NonlinearGaussian
from .normalisation import AbstractNormalisation, Saturation, UnitNorm
from .objectives import likelihood, negative_log_likelihood, prediction_error, state_error
from .recurrent_gain import RecurrentGain, RecurrentMemory
from .riccati import riccati
from .simulate import Simulated, simulate
from .square_root_gain import SquareRootGain
from .steady_state import SteadyStateGain

__all__ = [
    "AbstractFilter",
    "AbstractGain",
    "AbstractGainNetwork",
    "AbstractModel",
    "AbstractNormalisation",
    "CascadeHidden",
    "CascadeNetwork",
    "Differences",
    "Estimates",
    "ExtendedKalmanFilter",
    "Factor",
    "Features",
    "FilterMemory",
    "FixedGain",
    "InputFeatures",
    "Inputs",
    "KalmanFilter",
    "KalmanGain",
    "KalmanNet",
    "LinearGaussian",
    "Moment",
    "NonlinearGaussian",
    "RecurrentGain",
    "RecurrentMemory",
    "Saturation",
    "Simulated",
    "SingleUnitNetwork",
    "SquareRootGain",
    "SteadyStateGain",
    "TimeVarying",
    "Uncertainty",
    "UnitNorm",
    "dense",
    "factor_of",
    "likelihood",
    "nan_means_missing",
    "negative_log_likelihood",
    "prediction_error",
    "riccati",
    "semidefinite_cholesky",
    "simulate",
    "state_error",
]
