"""Networks that stand where a component of a rule stands."""

from .cast import cast
from .coarse_denoiser import CoarseDenoiser
from .conv import Conv
from .denoiser import AbstractDenoiser
from .dncnn import DnCNN
from .gru import GRU
from .input_convex import InputConvex
from .mlp import MLP, Linear
from .resampling import depth_to_space, space_to_depth, upsample
from .rule import NetworkRule
from .unet import UNet
from .upsample_cnn import UpsampleCNN

__all__ = [
    "AbstractDenoiser",
    "CoarseDenoiser",
    "Conv",
    "DnCNN",
    "GRU",
    "InputConvex",
    "Linear",
    "MLP",
    "NetworkRule",
    "UNet",
    "UpsampleCNN",
    "cast",
    "depth_to_space",
    "space_to_depth",
    "upsample",
]
