"""Networks that stand where a component of a rule stands."""

from .cast import cast as cast
from .coarse_denoiser import CoarseDenoiser as CoarseDenoiser
from .conv import Conv as Conv
from .denoiser import AbstractDenoiser as AbstractDenoiser
from .dncnn import DnCNN as DnCNN
from .mlp import MLP as MLP
from .mlp import Linear as Linear
from .resampling import depth_to_space as depth_to_space
from .resampling import space_to_depth as space_to_depth
from .resampling import upsample as upsample
from .rule import NetworkRule as NetworkRule
from .unet import UNet as UNet
from .upsample_cnn import UpsampleCNN as UpsampleCNN
