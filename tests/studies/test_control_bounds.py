"""What one who knows the future would pay: less than any policy in every run, and what another solver finds."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from studies.tiny_control import TINY, assignments

from mbdl import control, studies
from mbdl.studies.control import supply_chain
from mbdl.studies.control.collect import collect
from mbdl.studies.control.measures import mean_of
from mbdl.studies.control.stages import problems_of, stages


def simulated(policy, pays_next_price, steps=20, runs=12):
    how = {"steps": steps, "runs": runs, "constraints": supply_chain.limits()}
    cost = supply_chain.cost(pays_next_price)
    return control.simulate(supply_chain.system(), policy, jax.random.key(3), cost=cost, **how)


@pytest.mark.parametrize("pays_next_price", [False, True])
def test_no_policy_costs_less_than_foresight_in_any_run(pays_next_price, x64):
    policy = supply_chain.policy()
    policies = [policy, *(supply_chain.weighted(policy, np.array(pair)) for pair in ((0.1, 1.5), (0.5, 1.0)))]
    every = [simulated(policy, pays_next_price) for policy in policies]
    bounds = [supply_chain.foresight(runs, pays_next_price) for runs in every]
    for runs, bound in zip(every, bounds, strict=True):
        assert runs.violations.max() < 1e-8
        assert np.all(bound <= np.asarray(runs.run_costs) + 1e-7)
        np.testing.assert_allclose(bound, bounds[0], atol=1e-7)  # The noise is the same, whoever met it.


@pytest.mark.parametrize("pays_next_price", [False, True])
def test_foresight_is_the_optimum_of_the_simulated_cost(pays_next_price, x64):
    """By another solver, on the costs and the constraints of the simulation itself."""
    steps = 4  # Fewer do not pay for what is bought in the first: it is shipped, then sold.
    runs = simulated(supply_chain.policy(), pays_next_price, steps=steps, runs=3)
    plant, limits, cost = supply_chain.system(), supply_chain.limits(), supply_chain.cost(pays_next_price)

    def played(controls, noise, first):
        """The mean cost of a stage, and by how much the constraints are kept."""
        state, total, kept = first, 0.0, []
        for time, decided in enumerate(controls.reshape(steps, 8)):
            following = plant.move(state, decided, noise[time], jnp.asarray(time + 1))
            stage = control.Stage(state, decided, following, jnp.asarray(time))
            total += cost.stage(stage)
            assert limits.inequality is not None
            kept.append(-limits.inequality(stage))
            state = following
        return total / steps, jnp.concatenate(kept)

    @jax.jit
    def program(noise, first):
        """The quadratic cost and the affine margins, as they are at zero."""
        nothing = jnp.zeros(8 * steps)
        total, kept = (lambda u, part=part: played(u, noise, first)[part] for part in (0, 1))
        quadratic = total(nothing), jax.grad(total)(nothing), jax.hessian(total)(nothing)
        return quadratic, (kept(nothing), jax.jacobian(kept)(nothing))

    for states, bound in zip(runs.states, supply_chain.foresight(runs, pays_next_price), strict=True):
        (c, g, H), (room, slope) = jax.tree.map(np.asarray, program(states[1:, 4:], states[0]))
        found = scipy.optimize.minimize(
            lambda u, c=c, g=g, H=H: (c + g @ u + u @ H @ u / 2, g + H @ u),
            np.zeros(8 * steps),
            jac=True,
            bounds=[(0.0, supply_chain.MOST)] * (8 * steps),
            constraints={
                "type": "ineq",
                "fun": lambda u, room=room, slope=slope: room + slope @ u,
                "jac": lambda u, slope=slope: slope,
            },
            method="SLSQP",
            options={"ftol": 1e-12, "maxiter": 500},
        )
        assert found.success, found.message
        np.testing.assert_allclose(bound, found.fun, atol=1e-6)


def problems(settings):
    every = supply_chain.problems(settings)
    return tuple(replace(problem, entries=problem.entries[:1], drawn=(), published={}) for problem in every)


def test_the_table_of_the_study_shows_the_bound(tmp_path):
    study = replace(
        supply_chain.STUDY,
        stages=lambda run: stages(run, problems),
        results=lambda run: collect(run, "bounded", [], problems_of(run, problems)),
    )
    settings = {**TINY["supply-chain"], "test_runs": 6}
    run = studies.prepare(study, out=tmp_path / "run", assignments=assignments(settings), seed=1)
    results = studies.execute(run)
    assert len(results["tables"]) == 2
    for name, table in zip(("seen", "next"), results["tables"], strict=True):
        cells = {row["name"]: row["cells"] for row in table["rows"]}["foresight"]
        least = np.asarray(run[f"bound-{name}"]["cost"])
        first = np.asarray(run[f"score-{name}-first"]["cost"]["costs"])
        assert np.all(least <= first + 1e-7)
        assert cells["cost"] == mean_of(least)
        assert cells["cost-less"] == mean_of(least - first)
