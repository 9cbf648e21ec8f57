"""What one may set in the studies of control."""

from dataclasses import dataclass
from typing import Any

from mbdl.studies.settings import setting


@dataclass(frozen=True)
class ControlSettings:
    """Budgets that the studies share."""

    test_runs: int = setting(500, "test runs")
    validation_runs: int = setting(32, "validation runs, which choose the moment of a training that is kept")
    network_steps: int = setting(1000, "training steps of networks")
    network_rate: float = setting(0.003, "their first learning rate")
    width: int = setting(64, "units of a hidden layer of networks")

    def __post_init__(self) -> None:
        for name in ("test_runs", "validation_runs", "network_steps", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"the setting {name} is {getattr(self, name)}; it is at least 1")


QUICK: dict[str, Any] = {"test_runs": 50, "validation_runs": 8, "network_steps": 60}
"""The settings of a quick run."""
