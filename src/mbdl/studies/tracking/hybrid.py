"""The study of hybrid inference: a smoother of a wrong model whose messages a graph network corrects."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import PRNGKeyArray

from mbdl import tracking
from mbdl.studies.settings import setting
from mbdl.studies.study import Run, Stage, Study
from mbdl.studies.tracking.case import Case
from mbdl.studies.tracking.collect import collect
from mbdl.studies.tracking.stages import stages

RULES = (
    *("observations", "smoother-true", "smoother-tuned", "messages", "smoother-noise", "smoother-model"),
    *("rtsnet", "augmented", "graph"),
)
"""The rules that are compared."""

GIVEN = {
    "smoother-noise": "smoother-tuned",
    "smoother-model": "smoother-tuned",
    "rtsnet": "smoother-tuned",
    "augmented": "messages",
}
"""Rules that begin with the process noise that another one has found."""


@dataclass(frozen=True)
class HybridSettings:
    """The conditions of the experiment, and its budgets."""

    samples: tuple[int, ...] = setting((100, 1000, 10_000), "numbers of samples, half of them for validation")
    rules: tuple[str, ...] = setting(RULES, "the rules that are compared")
    longest: int = setting(500, "samples of a training chain, at most")
    test_runs: int = setting(10, "test chains")
    test_steps: int = setting(1000, "samples of a test chain")
    drag: float = setting(0.06, "the true system's drag c")
    pull: float = setting(0.17, "its pull back τ")
    process_deviation: float = setting(0.1, "its process noise, a standard deviation")
    deviation: float = setting(0.5, "standard deviation λ of the observation noise")
    assumed_deviation: float = setting(0.5, "process noise σ of the assumed model before it is tuned")
    step_size: float = setting(0.03, "step size γ of the messages")
    iterations: int = setting(100, "iterations of the messages, and of the graph network")
    features: int = setting(48, "hidden features of each time in the graph network")
    seeds: int = setting(1, "training seeds of the learned rules")
    batch: int = setting(1, "chains a training step")
    few_steps: int = setting(200, "training steps of rules of which a few numbers are learned")
    few_rate: float = setting(0.03, "their first learning rate")
    network_steps: int = setting(200, "training steps of networks")
    network_rates: tuple[float, ...] = setting((0.0003, 0.001, 0.003), "their first learning rates, by samples")
    weight_decay: float = setting(0.001, "weight decay of networks")
    tuning_runs: int = setting(20, "chains of each split on which the process noise is searched, at most")

    def __post_init__(self) -> None:
        counts = ("longest", "test_runs", "test_steps", "iterations", "seeds", "batch", "few_steps", "network_steps")
        for name in counts:
            if getattr(self, name) < 1:
                raise ValueError(f"the setting {name} is {getattr(self, name)}; it is at least 1")
        if len(self.network_rates) != len(self.samples):
            raise ValueError(
                f"there are {len(self.samples)} numbers of samples and {len(self.network_rates)} network_rates; give "
                "one for each"
            )
        unknown = sorted({*self.rules} - {*RULES})
        if unknown:
            raise ValueError(f"there is no rule {unknown[0]!r} in this study; there are {', '.join(RULES)}")
        for rule, other in GIVEN.items():
            if rule in self.rules and other not in self.rules:
                raise ValueError(
                    f"the rule {rule} is given the process noise that {other} finds; add that to the rules"
                )
        for samples in self.samples:
            if samples < 4:
                raise ValueError(f"samples is {samples}; of each number half is for validation, and it is at least 4")


MEASURED = {
    "observations": 0.2498,
    "smoother-true": 0.0708,
    "smoother-tuned": 0.0978,
    "messages": 0.0978,
    "graph": 0.171,
}
"""Squared errors with the published settings and 1,000 samples."""

BURN_IN = 1000
"""Samples before those that train and validate, as published."""

POSITION = (0, 1)
"""The position in the states of both models, and what is known of the truth."""


def _parts(settings: HybridSettings, samples: int) -> tuple[int, int]:
    """How many chains there are in each half of the samples, and how long they are."""
    steps = min(samples // 2, settings.longest)
    return samples // 2 // steps, steps


def true_model(settings: HybridSettings) -> tracking.LinearGaussian:
    """A constant acceleration with drag and a pull back, in two dimensions; the initial state is all but unknown."""
    rate = np.array([[0.0, 1.0, 0.0], [0.0, -settings.drag, 1.0], [0.0, -settings.pull, 0.0]])
    chain = np.eye(3) + rate + rate @ rate / 2
    noise = settings.process_deviation**2 * np.diag([1 / 3, 1.0, 3.0])
    return _in_the_plane(chain, noise, settings.deviation)


def assumed_model(settings: HybridSettings) -> tracking.LinearGaussian:
    """A constant velocity with noise of one size in position and velocity."""
    chain = np.array([[1.0, 1.0], [0.0, 1.0]])
    return _in_the_plane(chain, settings.assumed_deviation**2 * np.eye(2), settings.deviation)


def _in_the_plane(chain: np.ndarray, noise: np.ndarray, deviation: float) -> tracking.LinearGaussian:
    """The same in both axes; the state holds both positions, then both velocities, and so on."""
    size = 2 * len(chain)
    return tracking.LinearGaussian(
        transition=np.kron(chain, np.eye(2)),
        observation=np.eye(2, size),
        process_noise=np.kron(noise, np.eye(2)),
        observation_noise=deviation**2 * np.eye(2),
        initial_mean=np.zeros(size),
        initial_covariance=1000 * np.eye(size),
        starts="at",
    )


def _chains(key: PRNGKeyArray, runs: int, split: str, settings: HybridSettings, steps: int) -> tracking.Simulated:
    """One long trajectory cut into chains, each with its first observation as the origin."""
    steps, passed = (settings.test_steps, 0) if split == "test" else (steps, BURN_IN)
    model = true_model(settings)
    start = tracking.LinearGaussian(
        transition=model.transition,
        observation=model.observation,
        process_noise=model.process_noise,
        observation_noise=model.observation_noise,
        initial_mean=np.array([0.0, 0.0, 0.1, 0.1, 0.0, 0.0]),
        initial_covariance=np.zeros((6, 6)),
        starts="at",
    )
    drawn = tracking.simulate(start, key, steps=passed + runs * steps, runs=1)
    observations, states = (np.asarray(a)[0, passed:].reshape(runs, steps, -1) for a in drawn)
    origin = observations[:, :1]
    moved = np.concatenate([states[..., :2] - origin, states[..., 2:]], axis=-1)
    return tracking.Simulated(observations - origin, moved)  # pyright: ignore[reportArgumentType]


def cases(settings: HybridSettings) -> tuple[Case, ...]:
    """One condition a number of samples, with the same test trajectories."""
    found = []
    for samples, rate in zip(settings.samples, settings.network_rates, strict=True):
        runs, steps = _parts(settings, samples)
        usual = samples == 1000
        found.append(
            Case(
                name=f"samples-{samples}",
                title=f"{samples:,} samples",
                truth=true_model(settings),
                assumed=assumed_model(settings),
                steps=steps,
                rules=settings.rules,
                mismatch=_transition,
                samples=partial(_chains, settings=settings, steps=steps),
                runs={"train": runs, "validation": runs},
                published={name: 10 * float(np.log10(error)) for name, error in MEASURED.items()} if usual else {},
                samples_known=samples,
                drawn=samples == max(settings.samples),
                drawn_steps=100,
                shown=("smoother-true", "smoother-tuned", "augmented", "graph"),
                components=POSITION,
                searched=("train", "validation"),
                given=GIVEN,
                step_size=settings.step_size,
                network_rate=rate,
                test="test",
            )
        )
    return tuple(found)


def _transition(model: Any) -> Any:
    return model.transition


def study_stages(run: Run) -> list[Stage]:
    """The stages of the study."""
    return stages(run, cases(run.settings))


def study_results(run: Run) -> dict[str, Any]:
    """The results of the study."""
    found = cases(run.settings)
    return collect(
        run,
        "Hybrid inference: a smoother whose messages a graph network corrects",
        statements(run.settings),
        found,
        components=["position 1", "position 2"],
        spectrum=found[-1],
        reference=REFERENCE,
    )


REFERENCE = (
    "reference",
    "The references are no figures of the paper, which draws them, but were measured with its settings: 1,000 samples, "
    "40 passes over them, on other draws of the trajectories. In squared units: "
    + ", ".join(f"{error:g}" for error in MEASURED.values())
    + ". There is none for the hybrid.",
)


def statements(settings: HybridSettings) -> list[str]:
    """The problem, the data and the choices."""
    return [
        f"The true system: in each of two axes ṗ = v, v̇ = a − c v, ȧ = −τ v with c = {settings.drag:g} and "
        f"τ = {settings.pull:g}, to second order over a time of one, with noise of variance "
        f"{settings.process_deviation**2:g}·(1/3, 1, 3). Positions are observed with noise of standard deviation "
        f"λ = {settings.deviation:g}. The settings are those of the paper on hybrid inference.",
        "The rules are given a constant velocity, four states in the place of six, with noise of standard deviation σ "
        "in positions and velocities, and λ as it is. “True model” is given the system itself, and is a bound.",
        "Of n samples half train and half validate, as published, each half from one trajectory that is cut into "
        f"chains of at most {settings.longest} (published: 1,000). σ is searched on both halves. Validation chooses "
        f"the moment of a training that is kept. The test is {settings.test_runs} chains of {settings.test_steps}, the "
        "same for all n. Each chain has its first observation as its origin, and an initial state of variance 1,000.",
        "Known of the states, and scored, are the positions alone.",
        f"Messages: {settings.iterations} steps of γ = {settings.step_size:g} along the gradient of the log posterior, "
        "nothing learned; they go where the smoother of the same model gets in one pass. The neural-augmented smoother "
        "begins there, with σ as it was tuned for the messages, and adds γ times the correction of a graph network to "
        "each step. The graph network without messages corrects the observations, and knows no model. Both are "
        "trained on what they have after every iteration.",
        "Learned covariances: Q and R, through the smoother. Learned model: these and the transition of the four "
        "states. Both, and RTSNet, begin with σ as it was tuned for the smoother.",
        f"Networks are trained by {settings.network_steps} steps on {settings.batch} "
        f"chain{'s' if settings.batch > 1 else ''} each, whatever n is (published: by 25 to 60 passes), at rates that "
        f"grow with n, as published: {', '.join(f'{rate:g}' for rate in settings.network_rates)}.",
    ]


STUDY = Study(
    name="tracking-hybrid",
    summary="hybrid inference: messages of a wrong linear model, corrected by a graph network; by number of samples",
    settings=HybridSettings,
    quick={
        "samples": (100, 400),
        "network_rates": (0.001, 0.001),
        "rules": tuple(name for name in RULES if name != "rtsnet"),
        "longest": 100,
        "test_runs": 4,
        "test_steps": 100,
        "iterations": 40,
        "features": 8,
        "few_steps": 20,
        "network_steps": 30,
        "tuning_runs": 5,
    },
    stages=study_stages,
    results=study_results,
)
