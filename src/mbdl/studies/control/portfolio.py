"""The study of a portfolio: trading with costs, by Markowitz's rule before and after its parameters are learned."""

import functools
from dataclasses import dataclass
from typing import Any

import cvxpy
import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.linalg

import mbdl
from mbdl import control
from mbdl.studies.control import market
from mbdl.studies.control.collect import collect
from mbdl.studies.control.policies import learned
from mbdl.studies.control.problem import Drawn, Entry, Evaluation, Problem, Training
from mbdl.studies.control.settings import QUICK, ControlSettings
from mbdl.studies.control.stages import problems_of, stages
from mbdl.studies.control.training import mean_cost
from mbdl.studies.search import log_search
from mbdl.studies.settings import setting
from mbdl.studies.study import Run, Stage, Study

AVERSION, TRADING, BORROWING = 15.0, 0.001, 0.001
"""The first aversion to risk, and the costs of trading and of holding a short position, of a unit."""


@dataclass(frozen=True)
class PortfolioSettings(ControlSettings):
    """The published setting of the portfolio."""

    months: int = setting(24, "months of a run")
    batch: int = setting(10, "runs of a training step")
    sgd_steps: int = setting(400, "training steps")
    tuning_runs: int = setting(50, "runs on which the aversion to risk is searched")


def system() -> control.System:
    """The weights of the funds, and last the growth of the whole over the month before; it shows the weights."""
    mean, covariance = market.log_returns()
    root = jnp.asarray(np.linalg.cholesky(covariance))
    first = jnp.concatenate([jnp.asarray(markowitz()), jnp.ones(1)])

    def month(key: Any, time: Any) -> jax.Array:
        return jnp.exp(jnp.asarray(mean) + root @ jax.random.normal(key, (len(mean),)))

    def moves(state: Any, trades: Any, growth: Any, time: Any) -> jax.Array:
        held = growth * (state[:-1] + trades)
        whole = jnp.sum(held)
        return jnp.append(held / whole, whole)

    return control.System(
        moves,
        noise=month,
        initial=first,
        control_size=len(mean),
        nominal=jnp.exp(jnp.asarray(mean)),
        observation=lambda state, key, time: state[:-1],
    )


def markowitz() -> np.ndarray:
    """The weights that Markowitz's rule wants without costs, by which a run begins."""
    mean, covariance = market.returns()
    inverse = np.linalg.inv(2 * AVERSION * covariance)
    price = (np.sum(inverse @ mean) - 1) / np.sum(inverse)
    return inverse @ (mean - price)


def cost() -> control.Cost:
    """The utility of a month with its sign turned: a loss counts twice."""

    def stage(stage: control.Stage) -> Any:
        gain = stage.following[-1] - 1
        return -jnp.minimum(2 * gain, gain)

    return control.Cost(stage)


def limits() -> control.Constraints:
    """What is traded pays for itself, with its costs."""

    def broken(stage: control.Stage) -> Any:
        after = stage.state[:-1] + stage.control
        fees = TRADING * jnp.sum(jnp.abs(stage.control)) + BORROWING * jnp.sum(jnp.maximum(-after, 0))
        return jnp.atleast_1d(jnp.sum(stage.control) + fees)

    return control.Constraints(inequality=broken)


def policy(aversion: float) -> control.ConvexPolicy:
    r"""Markowitz's rule with costs: the largest $\mu^\top h^+ - \|\theta h^+\|^2$ that pays for itself."""
    expected, covariance = market.returns()
    funds = len(expected)
    h = cvxpy.Parameter(funds, "h")
    theta, mu = cvxpy.Parameter((funds, funds), "theta"), cvxpy.Parameter(funds, "mu")
    u, after = cvxpy.Variable(funds, "u"), cvxpy.Variable(funds, "after")
    fees = TRADING * cvxpy.norm1(u) + BORROWING * cvxpy.sum(cvxpy.neg(after))
    problem = cvxpy.Problem(
        cvxpy.Maximize(mu @ after - cvxpy.sum_squares(theta @ after)), [after == h + u, cvxpy.sum(u) + fees <= 0]
    )
    root = np.sqrt(aversion) * np.real(scipy.linalg.sqrtm(covariance))
    return control.ConvexPolicy(problem, context=[h], decision=u, known={theta: root, mu: expected})


@functools.cache
def _optimiser() -> optax.GradientTransformation:
    """Plain gradient steps at 1e-3, halved every 100 steps, as published."""
    return optax.sgd(optax.exponential_decay(1e-3, 100, 0.5, staircase=True))


def problems(settings: PortfolioSettings) -> tuple[Problem, ...]:
    """The one problem of the study."""
    plant, price = system(), cost()

    def tuned(key: Any) -> control.ConvexPolicy:
        score = mean_cost(plant, price, horizon=settings.months, runs=settings.tuning_runs, key=key)
        best = log_search(lambda aversion: -score(policy(aversion)), AVERSION, factor=2.0, refinements=2)
        return mbdl.tuned(policy(best.best), lambda p: p.parameters["theta"])

    return (
        Problem(
            name="portfolio",
            title="A portfolio of twelve simulated funds",
            system=plant,
            cost=price,
            constraints=limits(),
            horizon=settings.months,
            reference="first",
            digits=6,
            entries=(
                Entry("first", "Markowitz, γ = 15", "model-based", lambda key: policy(AVERSION)),
                Entry("tuned", "Markowitz, tuned γ", "model-based", tuned),
                Entry(
                    "sgd",
                    "Markowitz, learned from γ = 15",
                    "learned optimisation",
                    None,
                    Training(_optimiser(), settings.sgd_steps, settings.batch),
                    start="first",
                    change=learned,
                ),
                Entry(
                    "further",
                    "Markowitz, learned from tuned γ",
                    "learned optimisation",
                    None,
                    Training(_optimiser(), settings.sgd_steps, settings.batch),
                    start="tuned",
                    change=learned,
                ),
            ),
            evaluations=(Evaluation("cost", "cost (utility, sign turned)", settings.months, settings.test_runs),),
            drawn=(
                Drawn(
                    lambda runs: np.cumprod(runs.states[0, 1:, -1:], axis=0),
                    ("value of the portfolio, of its first",),
                    ("first", "tuned", "sgd"),
                ),
            ),
        ),
    )


def study_stages(run: Run) -> list[Stage]:
    """The stages of the study."""
    return stages(run, problems)


def study_results(run: Run) -> dict[str, Any]:
    """The results of the study."""
    statements = [
        "Twelve funds are traded each month for two years, with costs of trading and of short positions. The problem "
        "and the training are those of “Learning convex optimization control policies” (Agrawal, Barratt, Boyd, "
        "Stellato), the returns are not: its data cannot be shipped. The market is simulated, log-normal, with the "
        "expected returns, volatilities and factors that `mbdl.studies.control.market` states; no published figure is "
        "claimed.",
        "Markowitz's rule knows the true mean and covariance of the returns. Learned are θ = √γ·Σ^½ and μ.",
        "The utility of a month is its gain, a loss twice; the cost is its negative. Weights are of the whole, so that "
        "the size of the portfolio does not matter.",
    ]
    return collect(run, "A portfolio, before and after learning", statements, problems_of(run, problems))


STUDY = Study(
    name="portfolio",
    summary="trading twelve simulated funds with costs: Markowitz's rule before and after its parameters are learned",
    settings=PortfolioSettings,
    quick={**QUICK, "sgd_steps": 20, "tuning_runs": 20},
    stages=study_stages,
    results=study_results,
)
