"""Forward and backward of batches of quadratic programs, in double precision.

``min_x ½ xᵀPx + qᵀx`` subject to ``|x| ≤ 0.3``, with ``P = I + MᵀM``, M and q/3 standard normal. The bounds are given
as bounds, or as the rows of a general inequality. What is differentiated is a weighted sum of the solution, with
respect to a factor L of ``P = LᵀL`` and to q. Beside the times are the largest error of the solution and the relative
error of the gradient, both against the exact solution on the active set.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cvxpy
import jax
import jax.numpy as jnp
import numpy as np

from mbdl import control

from . import peers
from .timing import Contender, Tables, measure

WIDTH = 0.3
KINDS = ("bounds", "rows")
SIZES = ((64, 4), (64, 10), (64, 20), (1024, 10))


@dataclass(frozen=True)
class Batch:
    """Programs: factors `[batch, n, n]`, linear terms and weights `[batch, n]`."""

    factors: np.ndarray
    linear: np.ndarray
    weights: np.ndarray

    @staticmethod
    def draw(count: int, size: int, seed: int = 0) -> "Batch":
        """Draws a batch."""
        rng = np.random.default_rng(seed)
        root = rng.standard_normal((count, size, size))
        factors = np.linalg.cholesky(np.eye(size) + root.transpose(0, 2, 1) @ root).transpose(0, 2, 1)
        return Batch(factors, 3 * rng.standard_normal((count, size)), rng.standard_normal((count, size)))

    def exact(self, approximate: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The solutions and the gradients by factor and linear term, from the sides at which a solution is.

        Raises:
            ArithmeticError: when these sides are not those of the solution.
        """
        answers = []
        for L, q, v, near in zip(self.factors, self.linear, self.weights, approximate, strict=True):
            P, free = L.T @ L, np.abs(near) < WIDTH - 1e-7
            x, back = np.where(free, 0.0, WIDTH * np.sign(near)), np.zeros_like(q)
            block = P[np.ix_(free, free)]
            x[free] = np.linalg.solve(block, -(q + P @ x)[free])
            back[free] = np.linalg.solve(block, v[free])
            multipliers = -(P @ x + q)
            if np.any(np.abs(x) > WIDTH + 1e-9) or np.any(multipliers[~free] * x[~free] < -1e-9):
                raise ArithmeticError("the sides that the solution was taken to be at are not the right ones")
            answers.append((x, -L @ (np.outer(back, x) + np.outer(x, back)), -back))
        x, by_factor, by_linear = map(np.stack, zip(*answers, strict=True))
        return x, by_factor, by_linear


def run(*, rounds: int = 10, kinds: tuple[str, ...] = KINDS, sizes: tuple[tuple[int, int], ...] = SIZES) -> Tables:
    """Measures every tool on every batch.

    Args:
        rounds: repetitions.
        kinds: how the bounds are given.
        sizes: pairs of the number of programs and of variables.

    Yields:
        The title of each table with its measurements, once it is measured.
    """
    with jax.enable_x64(True):
        for kind in kinds:
            for count, size in sizes:
                batch = Batch.draw(count, size)
                answer = batch.exact(np.asarray(ours(batch, kind)()[0]))
                contenders = [_contender(name, make, batch, kind, answer) for name, make in TOOLS.items()]
                active = np.mean(np.abs(answer[0]) == WIDTH)
                title = (
                    f"{count} programs, {size} variables, {kind}, {100 * active:.0f} % active: x and gradient, float64"
                )
                yield title, measure(contenders, rounds=rounds)


def _contender(name: str, make: Any, batch: Batch, kind: str, answer: tuple[np.ndarray, ...]) -> Contender:
    def build() -> Callable[[], Any]:
        program = make(batch, kind)
        x, *slopes = map(np.asarray, program())
        error = np.max(np.abs(x - answer[0]))
        off = sum(np.sum((a - b) ** 2) for a, b in zip(slopes, answer[1:], strict=True))
        relative = np.sqrt(off / sum(np.sum(b**2) for b in answer[1:]))
        contender.note = f"error of x {error:.0e}, of the gradient {relative:.0e}"
        return program

    contender = Contender(name, build)
    return contender


def _program(solve: Callable[[jax.Array, jax.Array], jax.Array], batch: Batch) -> Callable[[], Any]:
    """Forward and backward of a JAX function of one hessian and linear term."""
    arguments = tuple(map(jnp.asarray, (batch.factors, batch.linear, batch.weights)))

    @jax.jit
    def run(factors: jax.Array, linear: jax.Array, weights: jax.Array) -> Any:
        def weighed(factors: jax.Array, linear: jax.Array) -> Any:
            x = jax.vmap(lambda factor, q: solve(factor.T @ factor, q))(factors, linear)
            return jnp.sum(weights * x), x

        slopes, x = jax.grad(weighed, argnums=(0, 1), has_aux=True)(factors, linear)
        return (x, *slopes)

    return lambda: run(*arguments)


def ours(batch: Batch, kind: str) -> Callable[[], Any]:
    """A program of the library."""
    eye = jnp.eye(batch.linear.shape[1])
    sides = {"bounds": (-WIDTH, WIDTH)} if kind == "bounds" else {"inequality": (eye, -WIDTH, WIDTH)}
    return _program(lambda P, q: control.solve_qp(control.QuadraticProgram(P, q, **sides)).x, batch)


def qpax(tolerance: float, smoothing: float) -> Callable[[Batch, str], Callable[[], Any]]:
    """A program of qpax; it has no bounds of its own."""

    def make(batch: Batch, kind: str) -> Callable[[], Any]:
        library = peers.qpax()
        size = batch.linear.shape[1]
        none, nothing = jnp.zeros((0, size)), jnp.zeros(0)
        G, h = jnp.concatenate([jnp.eye(size), -jnp.eye(size)]), jnp.full(2 * size, WIDTH)

        def solve(P: jax.Array, q: jax.Array) -> jax.Array:
            return library.solve_qp_primal(P, q, none, nothing, G, h, solver_tol=tolerance, target_kappa=smoothing)

        return _program(solve, batch)

    return make


def cvxpylayers(**arguments: Any) -> Callable[[Batch, str], Callable[[], Any]]:
    """A program of cvxpylayers under PyTorch."""

    def make(batch: Batch, kind: str) -> Callable[[], Any]:
        library, torch = peers.cvxpylayers(), peers.torch()
        size = batch.linear.shape[1]
        x, factor, linear = cvxpy.Variable(size), cvxpy.Parameter((size, size)), cvxpy.Parameter(size)
        objective = 0.5 * cvxpy.sum_squares(factor @ x) + linear @ x
        problem = cvxpy.Problem(cvxpy.Minimize(objective), [x <= WIDTH, x >= -WIDTH])
        layer = library(problem, parameters=[factor, linear], variables=[x])
        factors, linears, weights = map(torch.from_numpy, (batch.factors, batch.linear, batch.weights))

        def run() -> Any:
            inputs = [a.clone().requires_grad_() for a in (factors, linears)]
            (solution,) = layer(*inputs, solver_args=dict(arguments))
            (weights * solution).sum().backward()
            return [a.detach().numpy() for a in (solution, *(a.grad for a in inputs))]

        return run

    return make


TOOLS: dict[str, Callable[[Batch, str], Callable[[], Any]]] = {
    "mbdl": ours,
    "qpax, 1e-8, κ 1e-8": qpax(1e-8, 1e-8),
    "qpax, 1e-6, κ 1e-3 (default)": qpax(1e-6, 1e-3),
    "cvxpylayers, torch, default": cvxpylayers(),
    "cvxpylayers, torch, SCS 1e-8": cvxpylayers(solve_method="SCS", eps=1e-8),
}
