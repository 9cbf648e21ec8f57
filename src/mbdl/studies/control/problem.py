"""Problems of the studies of control: a system and its cost, and the policies that are compared on it."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optax
from jaxtyping import PRNGKeyArray

from mbdl import control
from mbdl.core import RecursiveRule
from mbdl.studies.results import Strategy


@dataclass(frozen=True)
class Training:
    """How a policy is trained.

    Args:
        optimiser: an optax transformation.
        steps: the number of its steps.
        runs: the number of runs a step.
        risk: where it is not the cost of the closed loop, made from the run's key and a number of recorded runs;
            `(key, runs) -> risk`.
        recorded: that number of runs.
        objective: what that risk is.
        horizon: stages of a run; those of the problem by default.
        validations: how often the validation runs are looked at.
        published: published costs by the number of steps, less that of the problem's reference on the same runs. Those
            after whose step the validation runs are looked at are compared.
    """

    optimiser: optax.GradientTransformation
    steps: int
    runs: int
    risk: Callable[[PRNGKeyArray, int], Any] | None = None
    recorded: int = 0
    objective: str = ""
    horizon: int | None = None
    validations: int = 25
    published: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """A policy of a comparison.

    Args:
        name: its name, and that of its file.
        title: what a reader calls it.
        strategy: where it stands on the spectrum.
        make: makes it from a key.
        training: how it is trained; not at all by default.
        start: the name of the entry whose policy it begins from, in the place of `make`.
        change: what is made of that policy before the training: what of it is learned.
        deploy: what is made of the policy after it.
    """

    name: str
    title: str
    strategy: Strategy
    make: Callable[[PRNGKeyArray], RecursiveRule] | None
    training: Training | None = None
    start: str | None = None
    change: Callable[[Any], RecursiveRule] | None = None
    deploy: Callable[[Any], RecursiveRule] | None = None


@dataclass(frozen=True)
class Evaluation:
    """A simulation on which policies are scored: its name, its title, how long and how often it runs."""

    name: str
    title: str
    steps: int
    runs: int


@dataclass(frozen=True)
class Drawn:
    """What is drawn of the first test run: the components, and under which policies.

    Args:
        values: of simulated runs, those of the first, `(trajectories) -> [time component]`; of a path in the plane two,
            and two more of what lies behind it.
        components: their names, with units.
        entries: the names of the policies.
        path: whether it is a path in the plane.
    """

    values: Callable[[control.Trajectories], Any]
    components: Sequence[str]
    entries: Sequence[str]
    path: bool = False

    def name(self, problem: str) -> str:
        """That of its stage and its file."""
        return f"{'path' if self.path else 'run'}-{problem}"


@dataclass(frozen=True)
class Problem:
    """A system, its cost, and the policies that are compared on it.

    Args:
        name: what it is called in files.
        title: what a reader calls it.
        system: the system.
        cost: its cost.
        horizon: the number of stages of a training run.
        entries: the policies.
        reference: the name of the entry that paired differences are taken to.
        evaluations: the simulations on which they are scored.
        constraints: what has to be kept.
        bounds: lower bounds of the cost, by what they are; under the name of an evaluation, which they hold for.
        foresight: of simulated runs, the least cost of each for one who knows their noise in advance,
            `(trajectories) -> [runs]`. No policy that keeps the constraints costs less in any run.
        published: published costs by the name of an entry, of an evaluation; under its name.
        unit: of the cost.
        digits: decimals of a cost in a table.
        drawn: what of a run is drawn.
        trainings: how often each policy that is trained is, with random keys of its own. Its cost is the mean.
    """

    name: str
    title: str
    system: Any
    cost: control.AbstractCost
    horizon: int
    entries: Sequence[Entry]
    reference: str
    evaluations: Sequence[Evaluation]
    constraints: control.Constraints | None = None
    bounds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    foresight: Callable[[control.Trajectories], Any] | None = None
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    unit: str = ""
    digits: int = 4
    drawn: Sequence[Drawn] = ()
    trainings: int = 1

    def entry(self, name: str) -> Entry:
        """The entry of a name."""
        return next(entry for entry in self.entries if entry.name == name)

    def times(self, entry: Entry) -> range:
        """The numbers of the trainings of an entry; one that is not trained is found once."""
        return range(1 if entry.training is None else self.trainings)


@functools.cache
def stochastic_gradient(
    rate: float, later: float, change: int, clip: float | None = None
) -> optax.GradientTransformation:
    """Plain gradient steps with one rate up to a step and another after it, as the published studies have them."""
    schedule = optax.piecewise_constant_schedule(rate, {change: later / rate})
    steps = optax.sgd(schedule)
    return steps if clip is None else optax.chain(optax.clip_by_global_norm(clip), steps)


@functools.cache
def adam(rate: float, steps: int) -> optax.GradientTransformation:
    """Adam with a cosine schedule behind a clip; the same object for the same numbers, so that `fit` compiles once."""
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(rate, steps, 0.02)))
