"""What one may set in the studies of tracking."""

from dataclasses import dataclass
from typing import Any

from mbdl.studies.settings import setting


@dataclass(frozen=True)
class TrackingSettings:
    """Sizes and budgets that the studies share."""

    train_runs: int = setting(1000, "training trajectories")
    validation_runs: int = setting(100, "validation trajectories")
    test_runs: int = setting(200, "test trajectories")
    batch: int = setting(30, "trajectories a training step")
    seeds: int = setting(3, "training seeds of the learned rules, where the model is wrong")
    few_steps: int = setting(200, "training steps of rules of which a few numbers are learned")
    few_rate: float = setting(0.03, "their first learning rate")
    network_steps: int = setting(800, "training steps of networks")
    network_rate: float = setting(0.001, "their first learning rate")
    weight_decay: float = setting(0.001, "weight decay of networks")
    width: int = setting(32, "units of the recurrent network without a model")
    particles: int = setting(500, "particles of the particle filter")
    tuning_runs: int = setting(100, "training trajectories on which the process noise is searched")
    curve_runs: tuple[int, ...] = setting((10, 30, 100, 300), "numbers of training trajectories of the curve")

    def __post_init__(self) -> None:
        for name in ("train_runs", "validation_runs", "test_runs", "batch", "seeds", "few_steps", "network_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"the setting {name} is {getattr(self, name)}; it is at least 1")
        if self.batch > self.train_runs:
            raise ValueError(f"a batch of {self.batch} trajectories is more than train_runs={self.train_runs}")


QUICK: dict[str, Any] = {
    "train_runs": 60,
    "validation_runs": 10,
    "test_runs": 20,
    "batch": 20,
    "seeds": 1,
    "few_steps": 20,
    "network_steps": 40,
    "particles": 100,
    "tuning_runs": 20,
    "curve_runs": (20, 40),
}
"""The settings of a quick run."""
