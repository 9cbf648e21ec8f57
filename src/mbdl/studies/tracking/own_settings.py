"""What a user says of their own recordings: the file, the model, the budgets; and what follows from it."""

import importlib.util
import tempfile
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from mbdl import tracking
from mbdl.core import save
from mbdl.studies.settings import setting
from mbdl.studies.tracking.recordings import Recordings, read_recordings


@dataclass(frozen=True)
class OwnSettings:
    """The recordings, the model, and the budgets."""

    data: str = setting("", "the recordings: a .csv, .npz or .parquet file (also --data FILE)")
    model: str = setting(
        "constant-velocity",
        "constant-velocity, constant-acceleration, random-walk, or FILE.py:NAME for a model, or a function that "
        "returns one, of your own",
    )
    step: float = setting(1.0, "time between observations, where the recordings give no durations")
    q2: float = setting(1.0, "first process noise of a named model")
    r2: float = setting(1.0, "first observation noise of a named model, variance")
    cut: int = setting(0, "how many consecutive pieces each sequence is cut into; 0: five if there is one, else one")
    few_steps: int = setting(200, "training steps of the rule of which covariances are learned")
    few_rate: float = setting(0.03, "its first learning rate")
    network_steps: int = setting(600, "training steps of KalmanNet")
    network_rate: float = setting(0.001, "its first learning rate")
    batch: int = setting(16, "sequences a training step")

    def __post_init__(self) -> None:
        for name in ("few_steps", "network_steps", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"the setting {name} is {getattr(self, name)}; it is at least 1")
        for name in ("step", "q2", "r2"):
            if not getattr(self, name) > 0:
                raise ValueError(f"the setting {name} is {getattr(self, name)}; it is positive")
        if not self.data:
            raise ValueError("tracking-own needs recordings: mbdl run tracking-own --data FILE")
        _check_saved(model_of(self))


def model_of(settings: OwnSettings) -> tracking.AbstractModel:
    """The model that the settings name, with as many observed components as the recordings.

    Raises:
        ValueError: for a name that there is not, a file without it, or a model that observes another number.
    """
    recordings = splits(settings)["train"]  # what the others hold is not known yet
    axes = recordings.observations.shape[2]
    first = np.zeros(axes)
    for component in range(axes):
        seen = recordings.observations[..., component][recordings.present[..., component]]
        first[component] = seen.mean() if len(seen) else 0.0
    spread = float(np.var(recordings.observations[recordings.present])) + settings.r2
    named = {"constant-velocity": tracking.constant_velocity, "constant-acceleration": tracking.constant_acceleration}
    if settings.model in named:
        order = 2 if settings.model == "constant-velocity" else 3
        mean = np.concatenate([first, np.zeros((order - 1) * axes)])
        return named[settings.model](
            settings.step,
            q2=settings.q2,
            r2=settings.r2,
            axes=axes,
            initial_mean=mean,
            initial_covariance=spread * np.eye(order * axes),
            starts="at",
        )
    if settings.model == "random-walk":
        return tracking.LinearGaussian(
            transition=np.eye(axes),
            observation=np.eye(axes),
            process_noise=tracking.KinematicNoise(settings.q2, settings.step, order=1, axes=axes),
            observation_noise=settings.r2 * np.eye(axes),
            initial_mean=first,
            initial_covariance=spread * np.eye(axes),
            starts="at",
        )
    model = _imported(settings.model)
    moment = tracking.Moment(
        jnp.zeros((), jnp.int32),
        None if recordings.control is None else jnp.asarray(recordings.control[0, 0]),
        None if recordings.duration is None else jnp.asarray(recordings.duration[0, 0]),
    )
    size = model.observation_size(moment)
    if size != axes:
        raise ValueError(f"the model {settings.model} observes {size} components and the recordings have {axes}")
    if recordings.states is not None and recordings.states.shape[2] != model.state_size:
        raise ValueError(
            f"the model {settings.model} has {model.state_size} states and the recordings {recordings.states.shape[2]}"
        )
    return model


def _imported(name: str) -> tracking.AbstractModel:
    file, colon, attribute = name.rpartition(":")
    if not colon or not file.endswith(".py"):
        raise ValueError(
            f"there is no model {name!r}; there are constant-velocity, constant-acceleration, random-walk, and "
            "FILE.py:NAME"
        )
    path = Path(file)
    if not path.is_file():
        raise ValueError(f"there is no file {file} to take the model {attribute} from")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, attribute):
        raise ValueError(f"{file} has no {attribute!r}")
    found = getattr(module, attribute)
    model = found() if callable(found) and not isinstance(found, tracking.AbstractModel) else found
    if not isinstance(model, tracking.AbstractModel):
        raise ValueError(f"{name} is a {type(model).__name__}, not a state-space model of mbdl.tracking")
    return model


def _check_saved(model: tracking.AbstractModel) -> None:
    """Raise for a model that has no form in a file, before anything is trained."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            save(Path(folder) / "model.mbdl", model)
        except TypeError as error:
            raise ValueError(f"the rules of a study are saved, and this model cannot be: {error}") from error


def splits(settings: OwnSettings) -> dict[str, Recordings]:
    """The sequences for training, validation and test: three fifths, a fifth and a fifth, in the order of the file."""
    recordings = read_recordings(settings.data)
    parts = settings.cut or (5 if recordings.runs == 1 else 1)
    runs, length = parts * recordings.runs, recordings.observations.shape[1] // parts
    if runs < 3 or length < 2:
        raise ValueError(
            f"{settings.data}: {runs} sequences of {length} observations are too few for training, validation and "
            "test; --set cut=N cuts each into N pieces"
        )
    pieces = recordings.cut(parts) if parts > 1 else recordings
    held = max(1, pieces.runs // 5)
    return {
        "train": pieces.part(slice(0, pieces.runs - 2 * held)),
        "validation": pieces.part(slice(pieces.runs - 2 * held, pieces.runs - held)),
        "test": pieces.part(slice(pieces.runs - held, None)),
    }
