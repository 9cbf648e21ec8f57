"""The studies of tracking, so small that all of them runs in seconds."""

SIZES = {
    "train_runs": 6,
    "validation_runs": 2,
    "test_runs": 3,
    "batch": 3,
    "seeds": 2,
    "few_steps": 2,
    "network_steps": 2,
    "width": 3,
    "particles": 10,
    "tuning_runs": 3,
    "curve_runs": "3,5",
}
LINEAR = {
    **SIZES,
    "levels": "0",
    "steps": 8,
    "turned_steps": 8,
    "sizes": "3",
    "sizes_steps": 8,
    "iterations": 3,
    "features": 4,
}
LORENZ = {
    **SIZES,
    "levels": "20",
    "steps": 6,
    "spherical_steps": 6,
    "decimated_steps": 6,
    "decimated_runs": 4,
    "decimated_validation_runs": 2,
    "decimated_test_runs": 2,
    "decimated_test_steps": 8,
    "fine": 0.01,
    "seeds": 1,
}
HYBRID = {
    "samples": "8,9",  # chains of one length, so that each training is compiled once
    "network_rates": "0.001,0.001",
    "rules": "observations,smoother-true,smoother-tuned,messages,smoother-noise,augmented,graph",
    "longest": 4,
    "test_runs": 3,
    "test_steps": 9,
    "iterations": 3,
    "features": 4,
    "few_steps": 2,
    "network_steps": 2,
    "tuning_runs": 2,
}


def assignments(settings):
    """The settings as the command line takes them."""
    return [f"{name}={value}" for name, value in settings.items()]
