"""What one may set in the study of super-resolution."""

from dataclasses import dataclass, fields
from typing import Any

from mbdl.studies.settings import setting


@dataclass(frozen=True)
class Settings:
    """The problem, the rules and the budgets. Sizes are in pixels of the large image unless said otherwise."""

    scale: int = setting(2, "how many times smaller each side of the observation is")
    blur: float = setting(0.8, "standard deviation of the Gaussian blur, pixels")
    noise: float = setting(0.015, "standard deviation of the noise, of a range of 1")

    photographs: int = setting(0, "how many photographs of each split are used; 0 for all")
    crop: int = setting(0, "largest side of the middle of a photograph that is used; 0 for all of it")
    border: int = setting(8, "pixels at each edge that are not scored")
    margin: int = setting(4, "pixels of the observation by which rules continue it, mirrored, at each edge")

    tuning_patches: int = setting(64, "training patches on which weights are searched")
    tv_iterations: int = setting(100, "iterations of FISTA with total variation")
    tv_inner: int = setting(20, "dual steps in each proximal map of total variation")
    wavelet: str = setting("db4", "orthogonal wavelet of the sparsity prior")
    wavelet_levels: int = setting(4, "levels of the wavelet transform")
    wavelet_iterations: int = setting(100, "iterations of FISTA with wavelets")

    learned_iterations: int = setting(15, "fixed iterations through which weight and step size are learned")
    learned_inner: int = setting(10, "dual steps in each proximal map there, and where these are unfolded")
    unfolded_iterations: int = setting(10, "layers of unfolded FISTA, each with its own weight and step size")
    hyper_steps: int = setting(150, "training steps of these two rules")
    hyper_rate: float = setting(0.03, "their first learning rate")

    layers: int = setting(4, "layers of unfolded ADMM with a learned prox")
    prox_width: int = setting(24, "channels of each layer's network")
    prox_depth: int = setting(5, "convolutions of each layer's network")
    small_width: int = setting(24, "channels of the small black box")
    small_depth: int = setting(2, "residual blocks of the small black box")
    equal_depth: int = setting(4, "residual blocks of the black box of equal size; its width follows")

    denoiser_width: int = setting(48, "channels of the denoiser")
    denoiser_depth: int = setting(6, "convolutions of the denoiser")
    denoiser_noise: tuple[float, ...] = setting((0.0, 0.12), "range of noise levels it is trained for")
    plug_iterations: int = setting(24, "iterations of plug-and-play ADMM")

    seeds: int = setting(3, "training seeds of each learned rule")
    patches: int = setting(4096, "training patches")
    patch: int = setting(64, "side of a training patch")
    batch: int = setting(8, "patches a training step")
    network_steps: int = setting(1500, "training steps of each network")
    network_rate: float = setting(0.001, "their first learning rate")

    curve_patches: tuple[int, ...] = setting((8, 32, 128, 512), "numbers of training patches of the first curve")
    curve_blurs: tuple[float, ...] = setting((0.5, 0.65, 0.8, 0.95, 1.1, 1.3), "true blurs of the second curve")

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            for number in value if isinstance(value, tuple) else (value,):
                if isinstance(number, (int, float)) and number < 0:
                    raise ValueError(f"the setting {item.name} is {value}; it may not be negative")
        for name in ("scale", "seeds", "patches", "batch", "layers", "network_steps", "hyper_steps", "tv_iterations"):
            if getattr(self, name) < 1:
                raise ValueError(f"the setting {name} is {getattr(self, name)}; it is at least 1")
        if not self.blur > 0:
            raise ValueError(f"the setting blur is {self.blur}; it is positive, in pixels")
        for name in ("patch", "border"):
            if getattr(self, name) % self.scale:
                raise ValueError(f"the setting {name} is {getattr(self, name)}; it is a multiple of scale={self.scale}")
        if self.patch <= 2 * self.border:
            raise ValueError(f"a patch of {self.patch} has nothing inside a border of {self.border}")
        if self.curve_patches and min(self.curve_patches) < self.batch:
            raise ValueError(f"curve_patches begins below a batch of {self.batch} patches")


QUICK: dict[str, Any] = {
    "photographs": 1,
    "crop": 192,
    "tuning_patches": 16,
    "tv_iterations": 40,
    "wavelet_iterations": 40,
    "seeds": 1,
    "patches": 256,
    "hyper_steps": 20,
    "network_steps": 60,
    "plug_iterations": 8,
    "curve_patches": (8, 64),
    "curve_blurs": (0.6, 0.8, 1.1),
}
"""The settings of a quick run."""
