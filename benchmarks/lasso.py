"""One hundred LASSO problems that share a dictionary, to equal duality gap, in double precision.

``min_s ½‖A s − x‖² + λ‖s‖₁`` for 100 observations ``x = A s + w`` (a tenth of the entries of ``s`` are standard normal,
the columns of A have unit norm, 20 dB), each scaled so that the smallest λ with ``s = 0`` is 1. Each method's own
tolerance is lowered until the largest relative duality gap of the hundred, ``(P − D) / P``, is below the target; then
all are timed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mbdl import inverse

from . import timing
from .timing import Contender, Missing, Tables, measure

GAPS = (1e-4, 1e-6, 1e-8)
WEIGHTS = (0.1, 0.01)


@dataclass(frozen=True)
class Problem:
    """A dictionary `[observed, signal]`, observations `[batch, observed]` and a weight."""

    dictionary: np.ndarray
    observations: np.ndarray
    weight: float

    @staticmethod
    def draw(observed: int, signal: int, batch: int, weight: float, seed: int = 0) -> "Problem":
        """Draws a problem."""
        rng = np.random.default_rng(seed)
        dictionary = rng.standard_normal((observed, signal))
        dictionary /= np.linalg.norm(dictionary, axis=0)
        support = rng.random((batch, signal)) < 0.1
        support[:, 0] = True  # no signal is zero, however short
        signals = rng.standard_normal((batch, signal)) * support
        clean = signals @ dictionary.T
        noise = rng.standard_normal(clean.shape)
        observations = clean + 0.1 * np.linalg.norm(clean) / np.linalg.norm(noise) * noise
        observations /= np.abs(observations @ dictionary).max(axis=1, keepdims=True)
        return Problem(dictionary, observations, weight)

    def gap(self, signals: np.ndarray) -> float:
        """The largest relative duality gap of the batch."""
        residual = self.observations - signals @ self.dictionary.T
        primal = 0.5 * np.sum(residual**2, axis=1) + self.weight * np.sum(np.abs(signals), axis=1)
        correlation = np.abs(residual @ self.dictionary).max(axis=1)
        feasible = residual * np.minimum(1, self.weight / correlation)[:, None]
        dual = 0.5 * np.sum(self.observations**2, axis=1) - 0.5 * np.sum((self.observations - feasible) ** 2, axis=1)
        return float(np.max((primal - dual) / primal))


@dataclass(frozen=True)
class Method:
    """A way to solve the batch: from a tolerance to the decisions `[batch, signal]`, and seconds of compilation."""

    solve: Callable[[float], Any]
    compilation: float = 0.0


def run(
    *,
    rounds: int = 10,
    observed: int = 250,
    signal: int = 500,
    batch: int = 100,
    weights: tuple[float, ...] = WEIGHTS,
    gaps: tuple[float, ...] = GAPS,
) -> Tables:
    """Measures every method at every weight and gap.

    Args:
        rounds: repetitions.
        observed: rows of the dictionary.
        signal: columns of the dictionary.
        batch: number of problems.
        weights: values of λ, relative to the smallest that gives zero.
        gaps: targets of the relative duality gap.

    Yields:
        The title of each table with its measurements, once it is measured.
    """
    with jax.enable_x64(True):
        for weight in weights:
            problem = Problem.draw(observed, signal, batch, weight)
            methods = {name: _made(make, problem) for name, make in METHODS.items()}
            for gap in gaps:
                contenders = [_contender(name, method, problem, gap) for name, method in methods.items()]
                title = (
                    f"{batch} LASSOs {observed}×{signal}, λ = {weight:g} λmax, relative duality gap {gap:g}, float64"
                )
                yield title, measure(contenders, rounds=rounds)


def tolerance_for(method: Method, problem: Problem, gap: float) -> tuple[float, float]:
    """The first tolerance, lowered by factors of √10, with which all gaps are below the target.

    Args:
        method: how it is solved.
        problem: what it solves.
        gap: the target.

    Returns:
        The tolerance and the largest gap.

    Raises:
        RuntimeError: if none down to 1e-15 reaches it.
    """
    for exponent in np.arange(2, 15.5, 0.5):
        tolerance = 10.0**-exponent
        reached = problem.gap(np.asarray(method.solve(tolerance)))
        if reached <= gap:
            return tolerance, reached
    raise RuntimeError(f"no tolerance reaches a relative duality gap of {gap:g}; the smallest gap was {reached:.1e}")


def solver(rule: Any) -> Callable[[Problem], Method]:
    """A rule of the library, run until convergence on the batch."""

    def make(problem: Problem) -> Method:
        fitted = rule(jnp.asarray(problem.dictionary), problem.weight)
        xs = jnp.asarray(problem.observations)
        program = jax.jit(
            lambda tolerance: jax.vmap(
                lambda x: fitted.solve(x, tolerance=tolerance, maximum=100_000, throw=False).decision
            )(xs)
        )
        start = timing.clock()
        compiled = program.lower(jnp.asarray(1.0)).compile()
        return Method(lambda tolerance: compiled(jnp.asarray(tolerance)), timing.clock() - start)

    return make


def fista(dictionary: jax.Array, weight: float) -> inverse.FISTA:
    """FISTA with restart and the library's step size."""
    return inverse.FISTA(inverse.LeastSquares(inverse.Matrix(dictionary)), inverse.L1(weight))


def admm(dictionary: jax.Array, weight: float) -> inverse.ADMM:
    """ADMM on the factored dictionary, with a penalty that it balances by itself."""
    return inverse.ADMM(inverse.LeastSquares(inverse.Matrix(dictionary).factored()), inverse.L1(weight), adaptive=True)


def scikit_learn(gram: bool) -> Callable[[Problem], Method]:
    """Coordinate descent of scikit-learn: a loop over the problems, or all at once with a shared Gram matrix."""

    def make(problem: Problem) -> Method:
        try:
            from sklearn.linear_model import Lasso
        except ImportError as error:
            raise Missing(f"not installed ({error})") from error
        matrix = np.asfortranarray(problem.dictionary)
        product = problem.dictionary.T @ problem.dictionary
        alpha = problem.weight / matrix.shape[0]

        def solve(tolerance: float) -> np.ndarray:
            model = Lasso(
                alpha, fit_intercept=False, tol=tolerance, max_iter=1_000_000, precompute=product if gram else False
            )
            if gram:
                return np.atleast_2d(model.fit(matrix, problem.observations.T).coef_)
            return np.stack([model.fit(matrix, x).coef_ for x in problem.observations])

        return Method(solve)

    return make


METHODS: dict[str, Callable[[Problem], Method]] = {
    "mbdl ADMM, factored": solver(admm),
    "mbdl FISTA, restart": solver(fista),
    "scikit-learn, Gram, multi-target": scikit_learn(True),
    "scikit-learn, loop": scikit_learn(False),
}


def _made(make: Callable[[Problem], Method], problem: Problem) -> Method | Missing:
    try:
        return make(problem)
    except Missing as error:
        return error


def _contender(name: str, method: Method | Missing, problem: Problem, gap: float) -> Contender:
    def build() -> Callable[[], Any]:
        if isinstance(method, Missing):
            raise method
        tolerance, reached = tolerance_for(method, problem, gap)
        contender.note = f"tolerance {tolerance:.0e}, gap {reached:.0e}"
        contender.preparation = method.compilation
        return lambda: method.solve(tolerance)

    contender = Contender(name, build)
    return contender
