"""The study of a portfolio: trading with costs, by Markowitz's rule before and after its parameters are learned."""

import functools
from dataclasses import dataclass
from typing import Any

import cvxpy
import equinox as eqx
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
from mbdl.studies.search import pair_search
from mbdl.studies.settings import setting
from mbdl.studies.study import Run, Stage, Study

AVERSION, TRADING, BORROWING = 15.0, 0.001, 0.001
"""The first aversion to risk, and the costs of trading and of holding a short position, of a unit."""

FUNDS = len(market.FUNDS)


@dataclass(frozen=True)
class PortfolioSettings(ControlSettings):
    """The published setting of the portfolio. The costs of its runs differ much, so that many choose and test."""

    test_runs: int = setting(2000, "test runs")
    validation_runs: int = setting(500, "validation runs, which choose the moment of a training that is kept")
    months: int = setting(24, "months of a run")
    batch: int = setting(10, "runs of a training step")
    sgd_steps: int = setting(400, "training steps")
    tuning_runs: int = setting(500, "runs on which two numbers of the rule are searched")


def trading(time: Any) -> jax.Array:
    """The cost of trading a unit, in a month: nothing in the first, in which a policy chooses where it begins."""
    return jnp.where(time == 0, 0.0, TRADING)


def system() -> control.System:
    """The weights of the funds, and last the growth of the whole over the month before; it shows the weights, and the
    cost of trading."""
    mean, covariance = market.log_returns()
    root = jnp.asarray(np.linalg.cholesky(covariance))

    def month(key: Any, time: Any) -> jax.Array:
        return jnp.exp(jnp.asarray(mean) + root @ jax.random.normal(key, (FUNDS,)))

    def moves(state: Any, trades: Any, growth: Any, time: Any) -> jax.Array:
        held = growth * (state[:-1] + trades)
        whole = jnp.sum(held)
        return jnp.append(held / whole, whole)

    return control.System(
        moves,
        noise=month,
        initial=jnp.append(jnp.full(FUNDS, 1 / FUNDS), 1.0),
        control_size=FUNDS,
        nominal=jnp.exp(jnp.asarray(mean)),
        observation=lambda state, key, time: jnp.append(state[:-1], trading(time)),
    )


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
        fees = trading(stage.time) * jnp.sum(jnp.abs(stage.control)) + BORROWING * jnp.sum(jnp.maximum(-after, 0))
        return jnp.atleast_1d(jnp.sum(stage.control) + fees)

    return control.Constraints(inequality=broken)


def policy() -> control.ConvexPolicy:
    r"""Markowitz's rule with costs: the largest $\mu^\top h^+ - \|\sqrt\gamma S h^+\|^2$ that pays for itself.

    What is lost by a cost counts as much as what is gained: $\mu$ is the mean of what a unit becomes, near one.
    """
    expected, covariance = market.returns()
    h, charge = cvxpy.Parameter(FUNDS, "h"), cvxpy.Parameter(name="charge", nonneg=True)
    sqrt_gamma = cvxpy.Parameter(name="sqrt_gamma")
    S, mu = cvxpy.Parameter((FUNDS, FUNDS), "S"), cvxpy.Parameter(FUNDS, "mu")
    u, after, spread = cvxpy.Variable(FUNDS, "u"), cvxpy.Variable(FUNDS, "after"), cvxpy.Variable(FUNDS, "spread")
    fees = charge * cvxpy.norm1(u) + BORROWING * cvxpy.sum(cvxpy.neg(after))
    # A variable for S h⁺: an expression with a product of two parameters is not affine in them.
    problem = cvxpy.Problem(
        cvxpy.Maximize(mu @ after - cvxpy.sum_squares(sqrt_gamma * spread)),
        [after == h + u, spread == S @ after, cvxpy.sum(u) + fees <= 0],
    )
    root = np.real(scipy.linalg.sqrtm(covariance))
    known = {sqrt_gamma: np.sqrt(AVERSION), S: root, mu: 1 + expected}
    return control.ConvexPolicy(problem, context=[h, charge], decision=u, known=known)


def weighted(policy: control.ConvexPolicy, aversion: float, months: float) -> control.ConvexPolicy:
    r"""The rule with another aversion to risk, whose gains and risk count for some months against the costs of one.

    The largest $\mathbf 1^\top h^+ + n ((\mu - \mathbf 1)^\top h^+ - \gamma \|S h^+\|^2)$ that pays for itself, for $n$
    months: a trade is paid for once, and what it brings stays.
    """
    expected, _ = market.returns()
    values = [jnp.sqrt(jnp.asarray(months * aversion)), 1 + months * jnp.asarray(expected)]
    return eqx.tree_at(lambda p: [p.parameters["sqrt_gamma"], p.parameters["mu"]], policy, values)


@functools.cache
def _optimiser() -> optax.GradientTransformation:
    """Plain gradient steps at 1e-3, halved every 100 steps, as published."""
    return optax.sgd(optax.exponential_decay(1e-3, 100, 0.5, staircase=True))


def problems(settings: PortfolioSettings) -> tuple[Problem, ...]:
    """The one problem of the study."""
    plant, price = system(), cost()

    def tuned(key: Any) -> control.ConvexPolicy:
        score = mean_cost(plant, price, horizon=settings.months, runs=settings.tuning_runs, key=key)
        found = pair_search(lambda *numbers: -score(weighted(policy(), *numbers)), (AVERSION, 1.0))
        return mbdl.tuned(
            weighted(policy(), *found.best), lambda p: [p.parameters[name] for name in ("sqrt_gamma", "mu")]
        )

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
                Entry("first", "Markowitz, γ = 15", "model-based", lambda key: policy()),
                Entry("tuned", "Markowitz, tuned", "model-based", tuned),
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
                    "Markowitz, learned from tuned",
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
        "Markowitz's rule is told the true mean and covariance of the returns, as in the published study. Its three "
        "parameters are learned: the root of the aversion to risk √γ, the root of the covariance S, and the mean μ of "
        "what a unit becomes. A cost of trading counts in it as much as a gain.",
        "The first trade of a run costs nothing, so that a run begins with the portfolio that the policy itself wants, "
        "wherever it stood. The published study begins each training step with the best portfolio of its present "
        "parameters, as if that did not depend on them; here the gradient goes through the first trade as well.",
        "Tuned: the aversion to risk γ and the number n of months for which gains and risk count against the costs of "
        f"one, searched in turn on {run.settings.tuning_runs} runs of their own. The first guess is γ = 15, n = 1.",
        "The utility of a month is its gain, a loss twice; the cost is its negative. Weights are of the whole, so that "
        "the size of the portfolio does not matter.",
        "No lower bound of the cost is known: one who knew the returns in advance would borrow without limit, and "
        "gain without limit.",
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
