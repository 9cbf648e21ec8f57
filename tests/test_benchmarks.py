"""The benchmarks at a tiny size, with the peers left out, so that their code does not rot."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(not (ROOT / "benchmarks").is_dir(), reason="the benchmarks are not part of an install")


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import peers, timing

    def missing(*modules):
        raise timing.Missing("not installed")

    for peer in ("torch", "deepinv", "dynamax", "filterpy", "cvxpylayers", "qpax"):
        monkeypatch.setattr(peers, peer, missing)


def _by_name(tables):
    named = [{m.name: m for m in measured} for _, measured in tables]
    assert named
    return named


def test_contenders_alternate_and_ratios_are_of_the_same_round():
    from benchmarks import timing

    calls = []

    def contender(name):
        return timing.Contender(name, lambda: lambda: calls.append(name))

    def missing(*modules):
        raise timing.Missing("not installed")

    measured = timing.measure([contender("a"), timing.Contender("gone", missing), contender("b")], rounds=3, pause=0.0)
    assert calls == ["a", "b", *["a", "b"] * 3]  # a first call each, then the rounds
    assert [len(m.times) for m in measured] == [3, 0, 3]
    assert measured[1].reason == "not installed"

    slow, fast = timing.Measured("slow", [2.0, 40.0, 6.0]), timing.Measured("fast", [1.0, 10.0, 2.0])
    np.testing.assert_allclose(timing.ratios(slow, fast), [2.5, 3.0, 3.5])
    lines = timing.table("Title", [fast, slow, measured[1]]).splitlines()
    assert "3.00 ( 2.50 –  3.50)" in lines[3]
    assert lines[4].split() == ["gone", "not", "installed"]
    assert json.loads(json.dumps(timing.record([fast, measured[1]])))["gone"] == {"missing": "not installed"}


def test_lasso_methods_reach_the_gap_and_agree():
    from benchmarks import lasso

    tables = lasso.run(rounds=2, observed=12, signal=20, batch=3, weights=(0.2,), gaps=(1e-6,))
    (measured,) = _by_name(tables)
    assert set(measured) == set(lasso.METHODS)
    assert all(len(m.times) == 2 for m in measured.values())
    with jax.enable_x64(True):
        problem = lasso.Problem.draw(12, 20, 3, 0.2)
        decisions = []
        for make in lasso.METHODS.values():
            method = make(problem)
            tolerance, reached = lasso.tolerance_for(method, problem, 1e-8)
            assert reached <= 1e-8
            decisions.append(np.asarray(method.solve(tolerance)))
    # A gap of 1e-8 allows a distance of about its square root.
    for decision in decisions[1:]:
        np.testing.assert_allclose(decision, decisions[0], atol=2e-3)
    assert problem.gap(np.zeros((3, 20))) > 0.1


def test_policies_have_the_gradient_of_central_differences():
    from benchmarks import policies

    def short(make):
        return lambda: dataclasses.replace(make(), steps=3, runs=2)

    tables = policies.run(rounds=1, loops={"a": short(policies.regulator), "b": short(policies.chain)})
    for measured in _by_name(tables):
        assert set(measured) == set(policies.TOOLS)
        cost, slope = (float(part.split()[-1]) for part in measured["mbdl"].note.split(", "))
        assert cost < 1e-12
        assert slope < 1e-5


def test_latency_says_what_each_depth_costs(monkeypatch):
    from benchmarks import latency

    def number(note, name):
        return float(note.split(name)[1].split()[0])

    for searched in ("PENALTIES", "RELAXATIONS", "CONTROL_WEIGHTS"):
        monkeypatch.setattr(latency, searched, getattr(latency, searched)[:2])
    monkeypatch.setattr(latency, "MODELS", {"wrong": "predictive"})
    tables = _by_name(latency.run(rounds=1, depths=(1, 2), steps=1, pole_depths=(1,), pole_steps=1))
    splitting, pole = tables
    assert list(splitting) == [
        "solved",
        *("splitting, 1 iterations", "splitting, 2 iterations"),
        *("unfolded, 1 iterations", "unfolded, 2 iterations"),
    ]
    costs = {name: number(m.note, "cost ") for name, m in splitting.items()}
    assert costs["solved"] < costs["splitting, 1 iterations"]
    assert list(pole) == ["plain, 1 iterations", "searched, 1 iterations", "unfolded, 1 iterations"]
    notes = [m.note for m in pole.values()]
    costs = [number(note, "cost ") for note in notes]
    assert costs[1] != costs[0]
    for cost, note in zip(costs[1:], notes[1:], strict=True):
        # All have four digits.
        assert number(note, "less that of plain, 1 iterations: ") == pytest.approx(cost - costs[0], abs=3e-4)
        errors = [float(part.split("± ")[1]) for part in note.split("; ")]
        assert errors[1] < errors[0]  # on other noise the difference would have the larger error


def test_lasso_says_so_when_no_tolerance_is_small_enough():
    from benchmarks import lasso

    problem = lasso.Problem.draw(6, 8, 2, 0.1)
    with pytest.raises(RuntimeError, match="no tolerance reaches"):
        lasso.tolerance_for(lasso.Method(lambda _: np.zeros((2, 8))), problem, 1e-6)


def test_unfolded_network_is_measured_without_its_peers():
    from benchmarks import unfolded

    step, forward = _by_name(unfolded.run(rounds=1, batch=2, size=8, width=3, depth=2, layers=(2,)))
    for measured in (step, forward):
        assert len(measured["mbdl"].times) == 1
        assert all("not installed" in m.reason for name, m in measured.items() if name != "mbdl")


def test_the_measured_step_trains():
    from benchmarks import training_step, unfolded

    run = training_step.step(*unfolded.problem(2, batch=2, size=8, width=3, depth=2))
    losses = [float(run()) for _ in range(20)]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(("name", "numbers"), [("LISTA", 3 * (6 * 4 + 36 + 1)), ("LISTA-CP", 3 * (6 * 4 + 1))])
def test_lista_is_measured_and_begins_as_ista(name, numbers):
    from benchmarks import lista
    from mbdl import core, inverse

    rule, xs, _ = lista.problem(name, observed=4, signal=6, layers=3, batch=5)
    assert core.count(core.partition(rule)[0]) == numbers
    dictionary = lista.problem("LISTA-CP", observed=4, signal=6, layers=3, batch=5)[0].dictionary
    ista = inverse.ISTA(inverse.LeastSquares(inverse.Matrix(dictionary)), inverse.L1(0.1), iterations=3)
    np.testing.assert_allclose(jax.vmap(rule)(xs), jax.vmap(ista)(xs), rtol=1e-4, atol=1e-5)


def test_lista_tables_have_both_networks():
    from benchmarks import lista

    tables = lista.run(rounds=1, observed=4, signal=6, layers=2, batch=3)
    assert [len(next(iter(measured)).times) > 0 for _, measured in tables] == 4 * [True]


def test_forms_of_the_convolution_agree():
    from benchmarks import convolution

    kernel = jax.random.normal(jax.random.key(0), (3, 3, 2, 4))
    image = jax.random.normal(jax.random.key(1), (5, 6, 2))
    forms = (convolution.library, convolution.patches, convolution.shifted, convolution.product)
    for form in forms[1:]:
        np.testing.assert_allclose(form(kernel, image), forms[0](kernel, image), rtol=1e-4, atol=1e-5)
    tables = _by_name(convolution.run(rounds=1, batch=1, size=4, layers=((1, 2),)))
    assert len(tables) == 2
    assert all(m.times for measured in tables for m in measured.values())
    assert jnp.ones(1).dtype == jnp.float32


def test_filters_are_measured_without_their_peers():
    from benchmarks import filters

    tables = filters.run(rounds=1, sizes=(2,), steps=3, many=3, few=2, outputs=filters.OUTPUTS[::2])
    measured = _by_name(tables)
    assert [set(m) for m in measured] == 2 * [{"mbdl", "dynamax"}, {"mbdl", "dynamax", "filterpy"}]
    for table in measured:
        assert len(table["mbdl"].times) == 1
        assert all("not installed" in m.reason for name, m in table.items() if name != "mbdl")


def test_further_filters_are_measured_without_their_peer():
    from benchmarks import nonlinear, parallel

    for tables, outputs in (
        (nonlinear.run(rounds=1, steps=3, many=3, few=2, outputs=nonlinear.OUTPUTS[1::2]), 6),
        (parallel.run(rounds=1, sizes=(2,), lengths=((2, 3), (3, 4))), 6),
    ):
        measured = _by_name(tables)
        assert len(measured) == outputs
        assert all(len(table["mbdl"].times) == 1 for table in measured)
        assert all("not installed" in table["dynamax"].reason for table in measured)


def test_what_is_measured_in_parallel_is_what_is_measured_in_sequence():
    from benchmarks import filters, parallel

    model, ys = filters.problem(2, steps=5, runs=3)
    for output in filters.OUTPUTS:
        pairs = zip(parallel.ours(model, ys, output)(), filters.ours(model, ys, output)(), strict=True)
        for one, other in pairs:
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_what_is_measured_of_filters_is_the_posterior_of_all_states():
    from benchmarks import filters

    steps, size = 4, 2
    model, ys = filters.problem(size, steps=steps, runs=3)
    F, Q = np.asarray(model.transition, float), np.asarray(model.process_noise, float)
    # All states are G times what drives them: the first state, then the noises.
    G = np.zeros((steps * size, steps * size))
    for t in range(steps):
        for k in range(t + 1):
            G[t * size : (t + 1) * size, k * size : (k + 1) * size] = np.linalg.matrix_power(F, t - k)
    driving = np.kron(np.diag([0.0] + [1.0] * (steps - 1)), Q)
    driving[:size, :size] = np.asarray(model.initial_covariance)
    prior = G @ driving @ G.T
    K = prior @ np.linalg.inv(prior + np.eye(steps * size))  # every state is observed, with unit variance
    posterior = prior - K @ prior
    means = (np.asarray(ys, float).reshape(3, -1) @ K.T).reshape(3, steps, size)
    blocks = posterior.reshape(steps, size, steps, size)[np.arange(steps), :, np.arange(steps)]
    smoothed, covariances = filters.ours(model, ys, filters.OUTPUTS[2])()
    # Four steps of single precision.
    np.testing.assert_allclose(smoothed, means, atol=1e-5)
    np.testing.assert_allclose(covariances, np.broadcast_to(blocks, covariances.shape), atol=1e-5)
    (filtered,) = filters.ours(model, ys, filters.OUTPUTS[0])()
    np.testing.assert_allclose(filtered[:, -1], means[:, -1], atol=1e-5)
    assert np.max(np.abs(filtered[:, 0] - means[:, 0])) > 1e-2
    assert filters.difference((np.array([1.0, 2.2]),), (np.array([1.0, 2.0]),)) == pytest.approx(0.1)


@pytest.mark.parametrize(("system", "numbers"), [("linear 2×2", 5208), ("Lorenz 3×3", 23928)])
def test_kalmannet_has_the_size_of_the_paper_and_its_units_are_those_of_the_library(system, numbers):
    from benchmarks import kalmannet
    from mbdl import core, tracking

    rule, ys, _ = kalmannet.problem(system, steps=2, batch=1)
    assert core.count(core.partition(rule)[0]) == numbers
    plain = core.resolve(rule)
    # The first observation by hand: the state has not moved yet, and the observation differs from what was expected.
    estimates = rule(ys[0])
    innovation = np.asarray(estimates.innovation[0])
    direction, nothing = jnp.asarray(innovation / np.linalg.norm(innovation)), jnp.zeros(plain.model.state_size)
    differences = tracking.Differences(direction, direction, nothing, nothing)
    gain, units = kalmannet.nominal(rule)
    correction = units * np.asarray(plain.gain.network(plain.gain.initial, differences)[0]).reshape(gain.shape)
    expected = np.asarray(estimates.predicted_mean[0]) + (gain + correction) @ innovation
    np.testing.assert_allclose(estimates.mean[0], expected, rtol=1e-5, atol=1e-6)
    assert np.max(np.abs(correction @ innovation)) > 1e-3


def test_kalmannet_tables_have_the_step_and_the_forward_pass():
    from benchmarks import kalmannet

    tables = kalmannet.run(rounds=1, steps=2, batch=2, systems=("linear 2×2",), count=1, runs=4)
    step, forward, smoother, learning = _by_name(tables)
    for measured in (step, forward):
        ran = {"mbdl", "JAX, a plain scan"}
        assert {name for name, m in measured.items() if len(m.times) == 1} == ran
        assert all("not installed" in m.reason for name, m in measured.items() if name not in ran)
        assert measured["JAX, a plain scan"].note.startswith("first estimates differ by")
    assert len(smoother["mbdl"].times) == 1
    assert [part.rsplit(" ", 2)[0] for part in learning["mbdl"].note.split(", ")] == [
        *("Kalman filter", "untrained", "trained")
    ]


@pytest.mark.parametrize("system", ["linear 2×2", "Lorenz 3×3"])
def test_a_plain_scan_trains_kalmannet_as_the_library_does(system):
    from benchmarks import kalmannet, kalmannet_scan, training_step
    from mbdl import core, tracking

    rule, ys, states = kalmannet.problem(system, steps=3, batch=2)
    plain = core.resolve(rule)
    filtered = kalmannet_scan.filtering(plain.model, *kalmannet.nominal(rule))
    parameters = kalmannet_scan.parameters_of(plain.gain.network)
    np.testing.assert_allclose(filtered(parameters, ys), jax.vmap(rule)(ys).mean, rtol=1e-4, atol=1e-4)
    ours = training_step.step(rule, ys, states, loss=tracking.state_error)
    theirs = kalmannet_scan.train(filtered, parameters, ys, states, training_step.LEARNING_RATE)
    losses = np.array([[ours(), theirs()] for _ in range(3)])
    np.testing.assert_allclose(losses[:, 0], losses[:, 1], rtol=1e-4)
    assert losses[2, 0] < 0.999 * losses[0, 0]


def test_kalmannet_is_not_timed_against_what_computes_something_else(monkeypatch):
    from benchmarks import kalmannet, kalmannet_scan

    monkeypatch.setattr(kalmannet_scan, "normalise", lambda feature: feature)
    with pytest.raises(AssertionError, match="a plain scan computes something else"):
        list(kalmannet.run(rounds=1, steps=2, batch=2, systems=("linear 2×2",)))


def test_quadratic_programs_are_measured_against_the_active_set():
    from benchmarks import qp

    for kind, measured in zip(qp.KINDS, _by_name(qp.run(rounds=1, sizes=((4, 3),))), strict=True):
        assert set(measured) == set(qp.TOOLS), kind
        assert len(measured["mbdl"].times) == 1
        assert all("not installed" in m.reason for name, m in measured.items() if name != "mbdl")
        assert float(measured["mbdl"].note.split()[-1]) < 1e-9
    batch = qp.Batch.draw(4, 3)
    with pytest.raises(ArithmeticError, match="not the right ones"):
        batch.exact(np.full((4, 3), qp.WIDTH))


def test_a_table_is_kept_as_soon_as_it_is_measured(monkeypatch, tmp_path, capsys):
    from benchmarks import __main__ as command
    from benchmarks import convolution, timing

    def run():
        yield "First", [timing.Measured("a", [1.0, 2.0])]
        raise KeyboardInterrupt

    monkeypatch.setattr(convolution, "run", run)
    with pytest.raises(KeyboardInterrupt):
        command.main(["convolution", "--json", str(tmp_path / "times.json")])
    assert "First" in capsys.readouterr().out
    assert list(json.loads((tmp_path / "times.json").read_text())["results"]) == ["First"]


def test_the_command_lists_what_there_is(capsys):
    from benchmarks import __main__ as command

    with pytest.raises(SystemExit):
        command.main(["nonsense"])
    assert (
        "unknown: nonsense; there are lasso, unfolded, lista, convolution, filters, nonlinear, parallel, kalmannet, "
        "qp, policies, latency" in capsys.readouterr().err
    )
    settings = command.machine(False)
    assert "torch" in settings["Packages"]
