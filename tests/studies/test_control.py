"""The studies of control in small: they run, and their tables say what was simulated; their problems are the stated."""

import cvxpy
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from control.cvxpy_problems import PRECISE
from studies.tiny_control import TINY, assignments

import mbdl
from mbdl import control, report, studies
from mbdl.report.photographs import file_uri
from mbdl.studies.control import constrained_lqr, market, policies, portfolio, stochastic_control, supply_chain, vehicle
from mbdl.studies.control.measures import cost_axis, difference, mean_of, shown
from mbdl.studies.control.scoring import simulated
from mbdl.studies.control.steering import AngleSteering, Steerable

DRAWN = {
    "lqr": "control 1",
    "constrained-lqr": "control 1",
    "supply-chain": "stock of node 4",
    "portfolio": "value of the portfolio, of its first",
    "vehicle": "east, m",
    "stochastic-control": "position",
}
"""What is to be seen of a closed loop in the report of each study."""


def _check_steps(run, problem, table):
    """Before its first step a training costs what the policy costs that it begins from, less the reference."""
    published = [entry for entry in problem.entries if entry.training is not None and entry.training.published]
    assert (table is None) == (not published)
    for entry in published:
        runs = {"runs": run.settings.validation_runs, "key": run.key(problem.name, "validation")}
        risk = control.closed_loop(problem.system, problem.cost, horizon=problem.horizon, **runs)
        first, reference = (run.load_rule(f"{problem.name}-{name}") for name in (entry.start, problem.reference))
        cells = {row["name"]: row["cells"] for row in table["rows"]}[f"{problem.name}-{entry.name}-0"]
        np.testing.assert_allclose(cells["measured"], risk(first) - risk(reference), rtol=1e-4)
        np.testing.assert_allclose(cells["difference"], cells["measured"] - cells["published"], rtol=1e-4)


@pytest.mark.parametrize("name", TINY)
def test_a_study_runs_and_its_table_is_what_was_simulated(name, tmp_path):
    how = {"out": tmp_path / name, "assignments": assignments(TINY[name]), "seed": 1, "curves": True}
    run = studies.prepare(studies.study(name), **how)
    results = studies.execute(run)
    report.render(tmp_path / name)
    with jax.enable_x64(True):
        problem = run.memory["problems"][0]
        table = results["tables"][0]
        rows = {row["name"]: row for row in table["rows"]}
        assert len(rows) >= len(problem.entries)
        for entry in problem.entries:
            cells = rows[f"{problem.name}-{entry.name}"]["cells"]
            assert "cost" in cells
            trained = None if entry.training is None else entry.training.steps
            assert cells.get("steps") == trained
            assert trained is None or 0 <= cells["kept"] <= trained
        entry = problem.entries[-1]
        policy = run.load_rule(f"{problem.name}-{entry.name}")
        runs = simulated(run, problem, policy, problem.evaluations[0])
        cell = rows[f"{problem.name}-{entry.name}"]["cells"]["cost"]
        np.testing.assert_allclose(cell["value"], shown(problem, np.asarray(runs.run_costs))["value"], rtol=1e-4)
        _check_steps(run, problem, {table["name"]: table for table in results["tables"]}.get("published-steps"))
        # A policy's numbers are where the study says that it stands.
        for problem in run.memory["problems"]:
            for entry in problem.entries:
                assert mbdl.spectrum(run.load_rule(f"{problem.name}-{entry.name}")).strategy == entry.strategy
        # The runs in the page are those of the policies, one of them of what the study is about.
        page = (tmp_path / name / "report.html").read_text()
        pictures = [(problem, drawn) for problem in run.memory["problems"] for drawn in problem.drawn]
        assert DRAWN[name] in {component for _, drawn in pictures for component in drawn.components}
        for problem, drawn in pictures:
            kept = drawn.name(problem.name)
            assert file_uri(tmp_path / name / "figures" / f"trajectory-{kept}.png") in page
            with np.load(tmp_path / name / run[kept]["file"]) as lines:
                assert lines.files
                for entry in lines.files:
                    policy = run.load_rule(f"{problem.name}-{entry}")
                    runs = simulated(run, problem, policy, problem.evaluations[0])
                    np.testing.assert_allclose(lines[entry], drawn.values(runs), rtol=1e-4, atol=1e-6)


def test_costs_in_decibels_have_the_error_of_paired_runs():
    class Decibels:
        unit = "dB"

    generator = np.random.default_rng(0)
    common = generator.exponential(size=400)
    a, b = 2 * common + 0.01 * generator.normal(size=400), common
    found = difference(Decibels, a, b)  # pyright: ignore[reportArgumentType]
    np.testing.assert_allclose(found["value"], 10 * np.log10(a.mean() / b.mean()), rtol=1e-4)
    resampled = [10 * np.log10(a[i].mean() / b[i].mean()) for i in generator.integers(0, 400, (2000, 400))]
    np.testing.assert_allclose(found["error"], np.std(resampled), rtol=0.1)
    assert mean_of(np.array([1.0, np.nan, 3.0]))["value"] == 2.0


@pytest.mark.parametrize(
    ("costs", "unit", "scale"),
    [((1.0, 20.0), "", "log"), ((1.0, 9.0), "", "linear"), ((-1.0, 20.0), "", "linear"), ((1.0, 20.0), "dB", "linear")],
)
def test_costs_that_differ_tenfold_have_a_logarithmic_axis(costs, unit, scale):
    assert cost_axis([{"y": [costs[0]]}, {"y": [costs[1]]}], unit)["scale"] == scale


def test_the_published_bound_problem(x64):
    problem = constrained_lqr.problems(constrained_lqr.ConstrainedLQRSettings())[0]
    np.testing.assert_allclose(problem.bounds["long"]["lower bound"], 10.69685, atol=2e-5)
    np.testing.assert_allclose(problem.bounds["long"]["LQR without bounds"], 6.0375, atol=2e-4)


def test_the_supply_chain_keeps_its_balance(x64):
    inflow, outflow = supply_chain.flows()
    assert inflow.sum() == 6
    assert outflow.sum() == 6
    plant, policy = supply_chain.system(), supply_chain.policy()
    runs = control.simulate(
        plant, policy, jax.random.key(0), steps=4, runs=20, cost=supply_chain.cost(False),
        constraints=supply_chain.limits(),
    )  # fmt: skip
    stock = np.asarray(runs.states[..., :4])
    bought, sold = np.asarray(runs.controls[..., :2]).sum(-1), np.asarray(runs.controls[..., 6:]).sum(-1)
    np.testing.assert_allclose(np.diff(stock.sum(-1), axis=1), bought - sold, atol=1e-9)
    assert float(runs.violations.max()) < 1e-9
    # A stage pays the price that is seen, the published one the next.
    paid = np.asarray(runs.costs) - np.asarray(0.05 * runs.controls[..., 2:6].sum(-1)) + 1.3 * sold
    paid -= 0.01 * (stock[:, :-1] + stock[:, :-1] ** 2).sum(-1)
    prices = np.asarray(runs.states[..., 4:6])
    np.testing.assert_allclose(paid, (prices[:, :-1] * np.asarray(runs.controls[..., :2])).sum(-1), atol=1e-9)
    stage = control.Stage(runs.states[0, 0], runs.controls[0, 0], runs.states[0, 1], jnp.asarray(0))
    other = supply_chain.cost(True).stage(stage) - supply_chain.cost(False).stage(stage)
    np.testing.assert_allclose(other, (prices[0, 1] - prices[0, 0]) @ np.asarray(runs.controls[0, 0, :2]), atol=1e-9)


def test_the_market_is_what_it_says(x64):
    mean, covariance = market.log_returns()
    assert np.linalg.eigvalsh(covariance)[0] > 0
    draws = np.exp(np.random.default_rng(0).multivariate_normal(mean, covariance, size=200_000))
    expected, spread = market.returns()
    np.testing.assert_allclose(draws.mean(0) - 1, expected, atol=4 * np.sqrt(np.diag(spread).max() / 200_000))
    np.testing.assert_allclose(np.cov(draws.T), spread, atol=5e-5)


def test_a_month_of_the_portfolio(x64):
    plant = portfolio.system()
    state = plant.initial(jax.random.key(0))
    growth = jnp.linspace(0.9, 1.2, 12)
    after = plant.move(state, jnp.zeros(12), growth, 1)
    np.testing.assert_allclose(after[-1], (growth * state[:-1]).sum())
    np.testing.assert_allclose(after[:-1].sum(), 1.0)
    lost = control.Stage(state, jnp.zeros(12), after.at[-1].set(0.9), jnp.asarray(0))
    np.testing.assert_allclose(portfolio.cost().stage(lost), 0.2)
    np.testing.assert_allclose(portfolio.cost().stage(lost._replace(following=after.at[-1].set(1.1))), -0.1)
    trade = jnp.zeros(12).at[0].set(-0.5).at[1].set(0.4)
    short = 0.5 - 1 / 12
    # What is shown, and what a trade costs, is nothing in the first month.
    for month, fee in ((0, 0.0), (1, 0.001), (23, 0.001)):
        seen = plant.observe(state, trade, jax.random.key(0), jnp.asarray(month))
        np.testing.assert_allclose(seen, [*state[:-1], fee])
        stage = control.Stage(state, trade, after, jnp.asarray(month))
        broken = portfolio.limits().inequality(stage)
        np.testing.assert_allclose(broken, [-0.1 + fee * 0.9 + 0.001 * short], atol=1e-12)


def best_trade(weights, fee, aversion=portfolio.AVERSION, months=1.0):
    """The trade of Markowitz's rule that another solver finds: from what a unit becomes, not from what it gains."""
    expected, spread = market.returns()
    u, psd = cvxpy.Variable(12), cvxpy.psd_wrap(spread)
    after = weights + u
    value = cvxpy.sum(after) + months * (expected @ after - aversion * cvxpy.quad_form(after, psd))
    fees = fee * cvxpy.norm1(u) + 0.001 * cvxpy.sum(cvxpy.neg(after))
    cvxpy.Problem(cvxpy.Maximize(value), [cvxpy.sum(u) + fees <= 0]).solve("CLARABEL", **PRECISE)
    return np.asarray(u.value)


def test_the_portfolio_begins_where_its_rule_wants(x64):
    policy = portfolio.policy()
    starts = np.random.default_rng(0).dirichlet(np.ones(12), size=2)
    chosen = [start + np.asarray(policy(jnp.append(start, 0.0)[None])[0]) for start in starts]
    np.testing.assert_allclose(chosen[0], chosen[1], atol=1e-9)
    np.testing.assert_allclose(chosen[0], starts[0] + best_trade(starts[0], 0.0), atol=1e-6)
    # Where it is content, nothing is traded at a cost.
    assert float(jnp.abs(policy(jnp.append(chosen[0], 0.001)[None])).max()) < 1e-3


@pytest.mark.parametrize(("aversion", "months"), [(15.0, 1.0), (10.0, 8.0)])
def test_the_portfolio_weighs_its_costs(aversion, months, x64):
    start = np.full(12, 1 / 12)
    policy = portfolio.weighted(portfolio.policy(), aversion, months)
    traded = np.asarray(policy(jnp.append(start, 0.001)[None])[0])
    np.testing.assert_allclose(traded, best_trade(start, 0.001, aversion, months), atol=1e-6)
    fees = 0.001 * (np.abs(traded).sum() + np.maximum(-start - traded, 0).sum())
    np.testing.assert_allclose(traded.sum(), -fees, atol=1e-10)


def test_the_portfolio_learns_its_aversion_its_risk_and_its_returns_apart(x64):
    policy = policies.learned(portfolio.policy())
    assert mbdl.spectrum(policy).learned == 1 + 144 + 12
    seen = jnp.append(jnp.full(12, 1 / 12), 0.001)[None]

    def safe(policy):
        """How much of it is treasuries and bonds, after a trade."""
        return policy(seen)[0, 7:9].sum()

    def changed(name, value):
        return eqx.tree_at(lambda p: p.parameters[name], portfolio.policy(), value)

    slopes = {name: leaf.raw for name, leaf in eqx.filter_grad(safe)(policy).parameters.items()}
    values = mbdl.resolve(policy).parameters
    assert abs(float(slopes["sqrt_gamma"])) > 1e-3
    # The risk depends on the product of the two alone.
    product = jnp.sum(values["S"] * slopes["S"])
    np.testing.assert_allclose(values["sqrt_gamma"] * slopes["sqrt_gamma"], product, rtol=1e-6)
    for name, at in (("sqrt_gamma", ()), ("S", (8, 8)), ("mu", (8,))):
        step = 1e-5 * float(jnp.abs(values[name]).max())
        ends = [safe(changed(name, values[name].at[at].add(sign * step))) for sign in (1, -1)]
        np.testing.assert_allclose(slopes[name][at], (ends[0] - ends[1]) / (2 * step), rtol=1e-4)


def test_the_rotation_is_of_the_transition():
    turned, straight = stochastic_control.model(0.0, 20.0), stochastic_control.model(0.0)
    angle = np.deg2rad(20.0)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    np.testing.assert_allclose(turned.transition, rotation @ np.asarray(straight.transition), rtol=1e-5)


def test_the_steering_keeps_its_bound_by_a_clip_or_by_the_angle():
    class Says(mbdl.RecursiveRule):
        def init(self):
            return None

        def step(self, memory, x):
            return None, x[:2]

    states = jnp.array([[1.0, 0.5, 0, 0, 0, 0.1], [0.3, 0.2, 0, 0, 0, -0.3], [0.0, 0.1, 0, 0, 0, 0.3]])
    bend = 2.8 * states[:, 5]
    clipped, by_angle = (rule(states) for rule in (Steerable(Says(), 2.8, 0.68), AngleSteering(Says(), 2.8)))
    for controls in (clipped, by_angle):
        np.testing.assert_allclose(controls[:, 0], states[:, 0])
    np.testing.assert_allclose(clipped[:, 1] + bend, [0.68, -0.64, 0.68], rtol=1e-6)
    np.testing.assert_allclose(by_angle[:, 1] + bend, states[:, 1], atol=1e-6)


def test_a_path_lies_beside_its_road():
    """A road of constant curvature 0.1 is a circle around (0, 10); half a metre to the left is inside of it."""

    class Runs:
        states = np.stack([np.linspace(0, 40, 201), *np.full((4, 201), 0.5), np.full(201, 0.1)], axis=1)[None]

    path = vehicle.plane(Runs)  # pyright: ignore[reportArgumentType]
    for columns, radius in ((slice(2, 4), 10.0), (slice(0, 2), 9.5)):
        np.testing.assert_allclose(np.linalg.norm(path[:, columns] - [0, 10], axis=1), radius, rtol=1e-3)


def test_a_first_network_does_little():
    policy = policies.network(4, 2, 8, key=jax.random.key(0))
    assert float(jnp.abs(policy(jnp.ones((3, 4)))).max()) < 0.1
