"""State estimation under a partly known model: filters, smoothers, and what can be learned in them."""

from .bearing_range import BearingRange
from .canonical import canonical, random_canonical
from .coordinated_turn import CoordinatedTurn, CoordinatedTurnNoise, coordinated_turn
from .covariance import Factor, dense, factor_of, semidefinite_cholesky
from .decimated import decimated
from .estimates import Estimates
from .extended import ExtendedKalmanFilter
from .filter import AbstractFilter
from .gain import AbstractGain, Features, Uncertainty
from .inputs import Inputs, Moment, nan_means_missing
from .kalman import KalmanFilter
from .kalman_gain import KalmanGain
from .kinematic import KinematicNoise, KinematicTransition, constant_acceleration, constant_velocity
from .linear import LinearGaussian
from .linear_observation import LinearObservation
from .linearised import FilterMemory
from .lorenz import Lorenz, lorenz
from .model import AbstractModel, TimeVarying
from .nonlinear import NonlinearGaussian
from .pinhole import Pinhole
from .rotation import axes_rotation, plane_rotation
from .simulate import Simulated, simulate
from .spherical import Spherical
from .square_root_gain import SquareRootGain
from .taylor import taylor_transition
from .van_der_pol import VanDerPol, van_der_pol
from .wrapped_difference import WrappedDifference

__all__ = [
    "AbstractFilter",
    "AbstractGain",
    "AbstractModel",
    "BearingRange",
    "CoordinatedTurn",
    "CoordinatedTurnNoise",
    "Estimates",
    "ExtendedKalmanFilter",
    "Factor",
    "Features",
    "FilterMemory",
    "Inputs",
    "KalmanFilter",
    "KalmanGain",
    "KinematicNoise",
    "KinematicTransition",
    "LinearGaussian",
    "LinearObservation",
    "Lorenz",
    "Moment",
    "NonlinearGaussian",
    "Pinhole",
    "Simulated",
    "Spherical",
    "SquareRootGain",
    "TimeVarying",
    "Uncertainty",
    "VanDerPol",
    "WrappedDifference",
    "axes_rotation",
    "canonical",
    "constant_acceleration",
    "constant_velocity",
    "coordinated_turn",
    "decimated",
    "dense",
    "factor_of",
    "lorenz",
    "nan_means_missing",
    "plane_rotation",
    "random_canonical",
    "semidefinite_cholesky",
    "simulate",
    "taylor_transition",
    "van_der_pol",
]
