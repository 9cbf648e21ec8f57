"""A training step of two convex policies: the gradient of the closed loop's cost through all its programs.

The problems are those of the studies ``constrained-lqr`` (8 states, 2 controls within bounds, 6 runs of 100 stages)
and ``supply-chain`` (8 controls, 26 sides, 5 runs of 20 stages), in double precision and on the same noise. The library
and cvxpylayers take the problem as it is stated in CVXPY; for qpax, its matrices are derived by hand. Beside the times
are the relative errors of the cost, against the library's, and of the gradient, against central differences.

Last, what a user of the library waits for: the whole training of ``constrained-lqr`` as published, 100 steps through
`mbdl.fit`, with the reading of the CVXPY problem and all compilation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

import mbdl
from mbdl import control
from mbdl.control.relaxation import proximal_problem
from mbdl.core.learned import combine, partition
from mbdl.studies.control import constrained_lqr, policies, supply_chain
from mbdl.studies.control.problem import stochastic_gradient

from . import peers
from .timing import Contender, Tables, measure


@dataclass(frozen=True)
class Loop:
    """A closed loop.

    Args:
        system: the system.
        cost: its cost.
        statement: the policy, as it is stated.
        proximal: the weight of the control in it.
        steps: stages of a run.
        runs: runs of a step.
        program: for qpax, the matrices ``P, q, G, h`` of a state, `(parameters, state) -> ...`.
        move: the next state of a state, a control and what the noise was, in either array library.
        noise: what the noise was, of simulated runs, `[runs time ...]`.
        stage: the cost of a stage in either array library, `(state, control) -> number`, for a batch of runs.
    """

    system: Any
    cost: control.AbstractCost
    statement: policies.Statement
    proximal: float | None
    steps: int
    runs: int
    program: Callable[[list[Any], Any], tuple[Any, Any, Any, Any]]
    move: Callable[[Any, Any, Any], Any]
    noise: Callable[[control.Trajectories], np.ndarray]
    stage: Callable[[Any, Any], Any]

    @property
    def values(self) -> list[np.ndarray]:
        return [np.asarray(value, np.float64) for value in self.statement.parameters.values()]

    def policy(self) -> control.ConvexPolicy:
        """The library's policy, all of it learned."""
        return policies.learned(self.statement.policy(proximal=self.proximal))

    def risk(self) -> control.ClosedLoop:
        return control.closed_loop(self.system, self.cost, horizon=self.steps, runs=self.runs, key=jax.random.key(0))

    def met(self) -> tuple[np.ndarray, np.ndarray]:
        """The first states and the noise of the runs, which no policy changes."""
        runs = control.simulate(
            self.system, self.policy(), jax.random.key(0), steps=self.steps, runs=self.runs, cost=self.cost
        )
        return np.asarray(runs.states[:, 0]), self.noise(runs)

    def exact(self) -> tuple[float, np.ndarray]:
        """The cost, and its gradient by central differences."""
        policy, risk = self.policy(), eqx.filter_jit(self.risk().__call__)
        names = [parameter.name() for parameter in self.statement.parameters]

        def cost(values: list[np.ndarray]) -> float:
            known = mbdl.resolve(policy)
            changed = eqx.tree_at(lambda p: [p.parameters[n] for n in names], known, list(map(jnp.asarray, values)))
            return float(risk(changed))

        slopes, size = [], 1e-6
        for i, value in enumerate(self.values):
            for place in np.ndindex(value.shape):
                ends = []
                for sign in (1, -1):
                    moved = [v.copy() for v in self.values]
                    moved[i][place] += sign * size
                    ends.append(cost(moved))
                slopes.append((ends[0] - ends[1]) / (2 * size))
        return cost(self.values), np.array(slopes)


def regulator() -> Loop:
    """The regulator with bounded controls."""
    problem = constrained_lqr.problems(constrained_lqr.ConstrainedLQRSettings())[0]
    A, B = policies.published_system(8, 2, seed=1)
    root = np.real(scipy.linalg.sqrtm(np.asarray(control.LQR(problem.system, problem.cost).value().matrix)))
    limit = constrained_lqr.LIMIT

    def program(parameters: list[Any], x: Any) -> tuple[Any, Any, Any, Any]:
        theta, q = parameters
        steered = theta @ B
        P = 2 * (jnp.eye(2) + steered.T @ steered)
        return P, 2 * steered.T @ (theta @ (A @ x)) + B.T @ q, jnp.vstack([jnp.eye(2), -jnp.eye(2)]), jnp.full(4, limit)

    return Loop(
        problem.system,
        problem.cost,
        policies.regulator(A, B, root, limit=limit, slope=np.zeros(8)),
        None,
        100,
        6,
        program,
        lambda x, u, w: x @ _like(x, A.T) + u @ _like(x, B.T) + w,
        lambda runs: np.asarray(runs.states[:, 1:] - runs.states[:, :-1] @ A.T - runs.controls @ B.T),
        lambda x, u: (x**2).sum(-1) + (u**2).sum(-1),
    )


def chain() -> Loop:
    """The supply chain, at the price that is seen."""
    inflow, outflow = supply_chain.flows()
    moved, most = inflow - outflow, supply_chain.MOST

    def program(parameters: list[Any], state: Any) -> tuple[Any, Any, Any, Any]:
        theta, q = parameters
        stock, prices, demand = state[:4], state[4:6], state[6:]
        steered = theta @ moved
        price = jnp.concatenate([prices, jnp.full(4, supply_chain.SHIPPING), jnp.full(2, -supply_chain.RETAIL)])
        P = 2 * steered.T @ steered + supply_chain.PROXIMAL * jnp.eye(8)
        G = jnp.vstack([moved, jnp.eye(8), -jnp.eye(8), outflow, jnp.eye(8)[6:]])
        h = jnp.concatenate([supply_chain.CAPACITY - stock, jnp.full(8, most), jnp.zeros(8), stock, demand])
        return P, price + 2 * steered.T @ (theta @ stock) + moved.T @ q, G, h

    def stage(x: Any, u: Any) -> Any:
        stock = x[:, :4]
        traded = (x[:, 4:6] * u[:, :2]).sum(-1) + supply_chain.SHIPPING * u[:, 2:6].sum(-1)
        return traded - supply_chain.RETAIL * u[:, 6:].sum(-1) + supply_chain.STORAGE * (stock + stock**2).sum(-1)

    return Loop(
        supply_chain.system(),
        supply_chain.cost(False),
        supply_chain.statement(),
        supply_chain.PROXIMAL,
        20,
        5,
        program,
        lambda x, u, w: _joined(x, x[:, :4] + u @ _like(x, moved.T), w),
        lambda runs: np.asarray(runs.states[:, 1:, 4:]),
        stage,
    )


def _like(array: Any, constant: np.ndarray) -> Any:
    """A constant in the array library of an array."""
    return jnp.asarray(constant) if isinstance(array, jax.Array) else peers.torch().from_numpy(constant)


def _joined(like: Any, *parts: Any) -> Any:
    return jnp.concatenate(parts, axis=1) if isinstance(like, jax.Array) else peers.torch().cat(parts, dim=1)


def run(*, rounds: int = 10, loops: dict[str, Callable[[], Loop]] | None = None) -> Tables:
    """Measures every tool on both closed loops.

    Args:
        rounds: repetitions.
        loops: the closed loops by name; both by default.

    Yields:
        The title of each table with its measurements, once it is measured.
    """
    with jax.enable_x64(True):
        for name, make in (loops or {"constrained-lqr": regulator, "supply-chain": chain}).items():
            loop = make()
            exact, met = loop.exact(), loop.met()
            contenders = [_contender(tool, build, loop, met, exact) for tool, build in TOOLS.items()]
            title = f"a training step of {name}, {loop.runs} runs of {loop.steps} stages, float64"
            yield title, measure(contenders, rounds=rounds)
        if loops is None:
            title = "the training of constrained-lqr, 100 steps, with compilation, float64"
            yield title, measure([_training()], rounds=min(rounds, 5))


def _training() -> Contender:
    """The published training, all of it compiled anew each time."""

    def build() -> Callable[[], Any]:
        loop = regulator()
        risk = control.closed_loop(loop.system, loop.cost, horizon=loop.steps, runs=loop.runs)
        rates = stochastic_gradient(0.1, 0.01, 50)

        def train() -> Any:
            jax.clear_caches()
            return mbdl.fit(loop.policy(), risk, rates, steps=100, key=jax.random.key(1), progress=False).rule

        def runs(policy: Any) -> control.Trajectories:
            return control.simulate(loop.system, policy, jax.random.key(0), steps=loop.steps, runs=500, cost=loop.cost)

        problem = constrained_lqr.problems(constrained_lqr.ConstrainedLQRSettings())[0]
        bound: Any = problem.entry("bound").make(jax.random.key(0))  # pyright: ignore[reportOptionalCall]
        trained = runs(train())
        contender.note = f"cost {trained.cost()}, less the policy of the bound {trained.difference(runs(bound))}"
        return train

    contender = Contender("mbdl.fit", build)
    return contender


def _contender(name: str, make: Any, loop: Loop, met: Any, exact: tuple[float, np.ndarray]) -> Contender:
    def build() -> Callable[[], Any]:
        program = make(loop, met)
        cost, slopes = program()
        slopes = np.concatenate([np.ravel(slope) for slope in slopes])
        error = np.linalg.norm(slopes - exact[1]) / np.linalg.norm(exact[1])
        contender.note = f"error of the cost {abs(float(cost) / exact[0] - 1):.0e}, of the gradient {error:.0e}"
        return program

    contender = Contender(name, build)
    return contender


def ours(loop: Loop, met: Any) -> Callable[[], Any]:
    """A program of the library."""
    learned, rest = partition(loop.policy())
    risk = loop.risk()
    names = [parameter.name() for parameter in loop.statement.parameters]

    @jax.jit
    def step(learned: Any) -> Any:
        cost, slopes = jax.value_and_grad(lambda learned: risk(combine(learned, rest)))(learned)
        return cost, [slopes.parameters[name].raw for name in names]

    return lambda: step(learned)


def qpax(loop: Loop, met: Any, tolerance: float, smoothing: float) -> Callable[[], Any]:
    """A program of qpax."""
    library = peers.qpax()

    def decide(parameters: list[Any], state: Any) -> Any:
        P, q, G, h = loop.program(parameters, state)
        none, nothing = jnp.zeros((0, len(q))), jnp.zeros(0)
        return library.solve_qp_primal(P, q, none, nothing, G, h, solver_tol=tolerance, target_kappa=smoothing)

    @jax.jit
    def step(parameters: list[Any], states: Any, noise: Any) -> Any:
        def cost(parameters: list[Any]) -> Any:
            def move(states: Any, noise: Any) -> tuple[Any, Any]:
                controls = jax.vmap(partial(decide, parameters))(states)
                return loop.move(states, controls, noise), loop.stage(states, controls)

            return jnp.mean(jax.lax.scan(move, states, jnp.swapaxes(noise, 0, 1))[1])

        return jax.value_and_grad(cost)(parameters)

    arguments = list(map(jnp.asarray, loop.values)), *map(jnp.asarray, met)
    return lambda: step(*arguments)


def cvxpylayers(loop: Loop, met: Any) -> Callable[[], Any]:
    """A program of cvxpylayers under PyTorch, with a loop over time."""
    library, torch = peers.cvxpylayers(), peers.torch()
    statement = loop.statement
    problem = statement.problem
    if loop.proximal is not None:
        problem = proximal_problem(problem, statement.decision, loop.proximal)
    layer = library(problem, parameters=[*statement.context, *statement.parameters], variables=[statement.decision])
    sizes = [parameter.size for parameter in statement.context]
    first, noise = (torch.from_numpy(np.array(part)) for part in met)

    def step() -> Any:
        parameters = [torch.from_numpy(value).clone().requires_grad_() for value in loop.values]
        states, costs = first, []
        for t in range(loop.steps):
            (controls,) = layer(*torch.split(states, sizes, dim=1), *parameters)
            costs.append(loop.stage(states, controls))
            states = loop.move(states, controls, noise[:, t])
        cost = torch.stack(costs).mean()
        cost.backward()
        return cost.detach().numpy(), [parameter.grad.numpy() for parameter in parameters]

    return step


TOOLS: dict[str, Callable[[Loop, Any], Callable[[], Any]]] = {
    "mbdl": ours,
    "qpax, 1e-8, κ 1e-8": partial(qpax, tolerance=1e-8, smoothing=1e-8),
    "qpax, 1e-6, κ 1e-3 (default)": partial(qpax, tolerance=1e-6, smoothing=1e-3),
    "cvxpylayers, torch, default": cvxpylayers,
}
