"""The study of super-resolution, so small that all of it runs in seconds."""

TINY = {
    "photographs": 1,
    "crop": 48,
    "tuning_patches": 4,
    "border": 4,
    "margin": 4,
    "tv_iterations": 6,
    "tv_inner": 3,
    "wavelet_levels": 2,
    "wavelet_iterations": 6,
    "learned_iterations": 2,
    "learned_inner": 2,
    "unfolded_iterations": 2,
    "hyper_steps": 3,
    "layers": 2,
    "prox_width": 4,
    "prox_depth": 2,
    "small_width": 3,
    "small_depth": 1,
    "equal_depth": 1,
    "denoiser_width": 4,
    "denoiser_depth": 2,
    "plug_iterations": 2,
    "seeds": 2,
    "patches": 16,
    "patch": 16,
    "batch": 4,
    "network_steps": 4,
    "curve_patches": "4,8",
    "curve_blurs": "0.5,0.7",
}

ASSIGNMENTS = [f"{name}={value}" for name, value in TINY.items()]

ARGUMENTS = ["run", "super-resolution", "--curves", *(word for text in ASSIGNMENTS for word in ("--set", text))]
"""The command line of a tiny run, without its folder."""
