"""State estimation under a partly known model: filters, smoothers, and what can be learned in them."""

from .augmented_smoother import NeuralAugmentedSmoother
from .bearing_range import BearingRange
from .calibrated_covariance import CalibratedCovariance
from .canonical import canonical, random_canonical
from .cascade_network import CascadeHidden, CascadeNetwork
from .consistency import Consistency, consistency, normalised_estimation_error_squared
from .coordinated_turn import CoordinatedTurn, CoordinatedTurnNoise, coordinated_turn
from .covariance import Factor, dense, draw, factor_of, semidefinite_cholesky
from .covariance_readout import AbstractReadout, GainCovariance, ModelCovariance, WithCovariance
from .decimated import decimated
from .em import EM, expectation_maximisation
from .estimates import Estimates
from .extended import ExtendedKalmanFilter, kalman_filter_of
from .filter import AbstractFilter
from .fixed_gain import FixedGain
from .gain import AbstractGain, Features, Uncertainty
from .gain_network import AbstractGainNetwork, SingleUnitNetwork
from .graph_refinement import GraphRefinement
from .graph_tracker import GraphTracker, GraphTrackerState
from .identification import least_squares
from .information_gain import InformationGain
from .input_features import Differences, InputFeatures
from .inputs import Inputs, Moment, nan_means_missing
from .kalman import KalmanFilter
from .kalman_gain import KalmanGain
from .kalmannet import KalmanNet
from .kinematic import KinematicNoise, KinematicTransition, constant_acceleration, constant_velocity
from .linear import LinearGaussian
from .linear_observation import LinearObservation
from .linearised import FilterMemory
from .lorenz import Lorenz, lorenz
from .message_smoother import MessageSmoother, MessageSmootherState
from .messages import Messages
from .model import AbstractModel, TimeVarying, at
from .nonlinear import NonlinearGaussian
from .normalisation import AbstractNormalisation, Saturation, UnitNorm
from .objectives import likelihood, negative_log_likelihood, prediction_error, state_error
from .parallel_kalman import ParallelKalmanFilter
from .parallel_rts import ParallelRTSSmoother
from .particle import ParticleFilter
from .pinhole import Pinhole
from .recurrent_gain import RecurrentGain, RecurrentMemory
from .recurrent_smoother_gain import (
    BackwardHidden,
    BackwardNetwork,
    FixedSmootherGain,
    RecurrentSmootherGain,
    SteadyStateSmootherGain,
)
from .recurrent_tracker import BidirectionalTracker, RecurrentTracker, Tracked
from .refinement import AbstractRefinement, NoRefinement, ScaledRefinement
from .resampling import multinomial_resampling, residual_resampling, stratified_resampling, systematic_resampling
from .residual_model import ResidualModel
from .riccati_equation import riccati, stabilising_solution
from .rotation import axes_rotation, plane_rotation
from .rts import RTSSmoother
from .rtsnet import RTSNet
from .simulate import Simulated, simulate
from .smoother import AbstractSmoother, Smoothed
from .smoother_gain import AbstractSmootherGain, RTSGain, SmootherFeatures
from .spherical import Spherical
from .split_gain import SplitGain
from .split_kalmannet import SplitKalmanNet
from .square_root_gain import SquareRootGain
from .standardisation import Standardisation
from .steady_state import SteadyState, SteadyStateGain
from .taylor import taylor_transition
from .two_pass import StateObserved, TwoPassSmoother
from .unscented import UnscentedKalmanFilter
from .van_der_pol import VanDerPol, van_der_pol
from .wrapped_difference import WrappedDifference

__all__ = [
    "AbstractFilter",
    "AbstractGain",
    "AbstractGainNetwork",
    "AbstractModel",
    "AbstractNormalisation",
    "AbstractReadout",
    "AbstractRefinement",
    "AbstractSmoother",
    "AbstractSmootherGain",
    "BackwardHidden",
    "BackwardNetwork",
    "BearingRange",
    "BidirectionalTracker",
    "CalibratedCovariance",
    "CascadeHidden",
    "CascadeNetwork",
    "Consistency",
    "CoordinatedTurn",
    "CoordinatedTurnNoise",
    "Differences",
    "EM",
    "Estimates",
    "ExtendedKalmanFilter",
    "Factor",
    "Features",
    "FilterMemory",
    "FixedGain",
    "FixedSmootherGain",
    "GainCovariance",
    "GraphRefinement",
    "GraphTracker",
    "GraphTrackerState",
    "InformationGain",
    "InputFeatures",
    "Inputs",
    "KalmanFilter",
    "KalmanGain",
    "KalmanNet",
    "KinematicNoise",
    "KinematicTransition",
    "LinearGaussian",
    "LinearObservation",
    "Lorenz",
    "MessageSmoother",
    "MessageSmootherState",
    "Messages",
    "ModelCovariance",
    "Moment",
    "NeuralAugmentedSmoother",
    "NoRefinement",
    "NonlinearGaussian",
    "ParallelKalmanFilter",
    "ParallelRTSSmoother",
    "ParticleFilter",
    "Pinhole",
    "RTSGain",
    "RTSNet",
    "RTSSmoother",
    "RecurrentGain",
    "RecurrentMemory",
    "RecurrentSmootherGain",
    "RecurrentTracker",
    "ResidualModel",
    "Saturation",
    "ScaledRefinement",
    "Simulated",
    "SingleUnitNetwork",
    "Smoothed",
    "SmootherFeatures",
    "Spherical",
    "SplitGain",
    "SplitKalmanNet",
    "SquareRootGain",
    "StateObserved",
    "Standardisation",
    "SteadyState",
    "SteadyStateGain",
    "SteadyStateSmootherGain",
    "TimeVarying",
    "Tracked",
    "TwoPassSmoother",
    "Uncertainty",
    "UnitNorm",
    "UnscentedKalmanFilter",
    "VanDerPol",
    "WithCovariance",
    "WrappedDifference",
    "at",
    "axes_rotation",
    "canonical",
    "consistency",
    "constant_acceleration",
    "constant_velocity",
    "coordinated_turn",
    "decimated",
    "dense",
    "draw",
    "expectation_maximisation",
    "factor_of",
    "kalman_filter_of",
    "least_squares",
    "likelihood",
    "lorenz",
    "multinomial_resampling",
    "nan_means_missing",
    "negative_log_likelihood",
    "normalised_estimation_error_squared",
    "plane_rotation",
    "prediction_error",
    "random_canonical",
    "residual_resampling",
    "riccati",
    "semidefinite_cholesky",
    "simulate",
    "stabilising_solution",
    "state_error",
    "stratified_resampling",
    "systematic_resampling",
    "taylor_transition",
    "van_der_pol",
]
