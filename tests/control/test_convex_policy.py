"""Policies that are stated in CVXPY, against CVXPY with Clarabel, and central differences."""

import cvxpy as cp
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from control.cvxpy_problems import PRECISE, PROBLEMS

import mbdl
from mbdl import control, core


def made(name):
    """The policy, contexts as one vector each, the problem, and where CVXPY puts them."""
    problem, context, decision, values, draw = PROBLEMS[name]()
    policy = control.ConvexPolicy(problem, context=context, decision=decision, parameters=values)
    for parameter, value in values.items():
        parameter.value = value
    draws = np.random.default_rng(0)
    contexts = [draw(draws) for _ in range(4)]
    xs = jnp.asarray([np.concatenate([np.ravel(part) for part in parts]) for parts in contexts])
    return policy, xs, contexts, (problem, context, decision)


def at_once(policy, xs):
    """Decisions for a batch of contexts, each from the first memory."""
    rule = core.resolve(policy)
    return jax.vmap(lambda x: rule.step(rule.init(), x)[1])(xs)


@pytest.mark.parametrize("name", PROBLEMS)
def test_decisions_are_those_of_cvxpy_and_gradients_those_of_central_differences(name, x64):
    policy, xs, contexts, (problem, context, decision) = made(name)
    learned, rest = core.partition(policy)
    weights = jax.random.normal(jax.random.key(0), (len(xs), *decision.shape))

    def total(learned, xs):
        decided = at_once(core.combine(learned, rest), xs)
        return jnp.sum(weights * jnp.sin(decided)), decided

    total_and_slopes = jax.jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True))
    (_, decided), slopes = total_and_slopes(learned, xs)
    for values, found in zip(contexts, decided, strict=True):
        for parameter, value in zip(context, values, strict=True):
            parameter.value = value
        problem.solve(cp.CLARABEL, **PRECISE)
        np.testing.assert_allclose(found, decision.value, atol=1e-6)

    draws = np.random.default_rng(1)
    leaves, structure = jax.tree.flatten((learned, xs))
    direction = [jnp.asarray(draws.standard_normal(leaf.shape)) for leaf in leaves]
    step = 1e-6

    def along(t):
        moved = structure.unflatten([leaf + t * d for leaf, d in zip(leaves, direction, strict=True)])
        return total_and_slopes(*moved)[0][0]

    exact = sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(slopes), direction, strict=True))
    # The difference of two values of size one, rounded to 1e-16 and solved to 1e-10, over 2e-6.
    np.testing.assert_allclose(exact, (along(step) - along(-step)) / (2 * step), rtol=1e-4, atol=1e-4)
    assert all(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(slopes))


def limited(**options):
    """The policy that follows a context from above, up to one."""
    u, c, price = cp.Variable(2, "u"), cp.Parameter(2, "c"), cp.Parameter(2, "price", nonneg=True)
    above = u >= c
    problem = cp.Problem(cp.Minimize(cp.sum_squares(u) + price @ u), [above, u <= 1])
    elastic = {above: 10.0} if options.pop("soft", False) else None
    values = {price: jnp.array([0.5, 1.0])}
    return control.ConvexPolicy(problem, context=[c], decision=u, parameters=values, elastic=elastic, **options)


def test_a_step_without_solution_has_a_status_and_leaves_the_others_as_they_are():
    policy = limited()
    xs = jnp.array([[0.3, -1.0], [0.3, 1.5], [0.9, 0.2]])
    found = jax.vmap(lambda x: policy.solve(x, throw=False))(xs)
    assert (found.status == control.QPStatus.solved).tolist() == [True, False, True]
    assert (found.status == control.QPStatus.infeasible).tolist() == [False, True, False]
    # Below the context the cost is least where 2 u = -price.
    np.testing.assert_allclose(found.decision[::2], [[0.3, -0.5], [0.9, 0.2]], atol=1e-6)
    np.testing.assert_array_equal(found.variables["u"], found.decision)
    assert jnp.isnan(found.decision[1]).all()
    slopes = jax.vmap(jax.jacobian(lambda x: policy.solve(x, throw=False).decision))(xs)
    np.testing.assert_allclose(slopes, [np.diag([1.0, 0.0]), np.zeros((2, 2)), np.eye(2)], atol=1e-6)
    with pytest.raises(mbdl.ConvergenceError, match="the program is infeasible: no point fulfils its constraints"):
        policy.solve(xs[1])
    with pytest.raises(ValueError, match="first at step 1 of 3. The problem of that context is infeasible: no control"):
        policy.run(xs)
    with pytest.raises(ValueError, match="not finite although the input is valid: The problem of that context is inf"):
        policy.advance(policy.start(), xs[1])
    with pytest.raises(ValueError, match="the input is not valid"):
        policy.solve(jnp.array([jnp.nan, 0.0]))
    # A stream goes on after a step without solution.
    course = policy.run(xs, throw=False)
    assert int(course.diverged_at) == 1
    np.testing.assert_allclose(course.output[2], found.decision[2], atol=1e-6)


def test_a_constraint_on_the_context_alone_makes_a_step_infeasible_and_the_horizon_is_condensed():
    """Predictive control with bounds on all states, the first one, which is given, among them."""
    A, B = np.array([[1.0, 0.5], [0.0, 1.0]]), np.array([[0.1], [0.5]])
    x, states, controls, u = (
        cp.Parameter(2, "x"),
        cp.Variable((2, 4), "states"),
        cp.Variable((1, 3)),
        cp.Variable(1, "u"),
    )
    constraints = [states[:, 0] == x, states[:, 1:] == A @ states[:, :-1] + B @ controls, cp.abs(states) <= 2]
    cost = cp.sum_squares(states) + cp.sum_squares(controls)
    problem = cp.Problem(cp.Minimize(cost), [*constraints, cp.abs(controls) <= 1, u == controls[:, 0]])
    policy = control.ConvexPolicy(problem, context=[x], decision=u)
    assert policy.program.left == 3
    xs = jnp.array([[1.9, -1.0], [2.1, -1.0], [-1.0, 2.0]])
    found = jax.vmap(lambda x: policy.solve(x, throw=False))(xs)
    assert (found.status == control.QPStatus.infeasible).tolist() == [False, True, False]
    assert jnp.isnan(found.decision[1]).all()
    for at in (0, 2):
        x.value = np.asarray(xs[at], float)
        problem.solve(cp.CLARABEL, **PRECISE)
        np.testing.assert_allclose(found.decision[at], u.value, atol=1e-5)
        np.testing.assert_allclose(found.variables["states"][at], states.value, atol=1e-5)


def test_constraints_that_may_be_broken_are_kept_where_they_can_be():
    policy = limited(soft=True)
    xs = jnp.array([[0.3, -1.0], [0.3, 1.5], [0.9, 0.2]])
    np.testing.assert_allclose(policy(xs), [[0.3, -0.5], [0.3, 1.0], [0.9, 0.2]], atol=1e-5)
    np.testing.assert_allclose(policy.solve(xs[1]).variables["slack of constraint 0"], [0.0, 0.5], atol=1e-5)


def test_a_proximal_term_makes_one_solution_of_many(x64):
    u, c = cp.Variable(3, "u"), cp.Parameter(name="c")
    problem = cp.Problem(cp.Maximize(-cp.square(cp.sum(u) - c)), [u <= 0.5])
    policy = control.ConvexPolicy(problem, context=[c], decision=u, proximal=1e-3)
    # Stationarity: 2 (3 u - c) + 1e-3 u = 0.
    np.testing.assert_allclose(policy.solve(jnp.asarray(0.9)).decision, np.full(3, 1.8 / 6.001), atol=1e-9)


def test_parameters_are_learned_within_the_sets_of_their_attributes_by_name():
    Q, r, d = cp.Parameter((2, 2), "Q", PSD=True), cp.Parameter(2, "r", nonneg=True), cp.Parameter(2, "d")
    share, symmetric = cp.Parameter(name="share", bounds=[0, 1]), cp.Parameter((2, 2), "symmetric", symmetric=True)
    u, c = cp.Variable(2, "u"), cp.Parameter(2, "c")
    cost = cp.quad_form(u, Q) + r @ cp.abs(u) + (d + c) @ u + share * cp.sum(u) + cp.sum(symmetric @ u)
    values = {Q: np.eye(2), r: [0.1, 0.2], d: np.zeros(2), share: 0.5, symmetric: np.eye(2)}
    options = {"context": [c], "decision": u, "parameters": values, "constraints": {d: mbdl.interval(-1.0, 1.0)}}
    policy = control.ConvexPolicy(cp.Problem(cp.Minimize(cost), [cp.norm1(u) <= 3]), **options)
    sets = {name: type(held.constraint).__name__ for name, held in policy.parameters.items()}
    assert sets == {
        "Q": "PositiveDefinite",
        "r": "Positive",
        "d": "Interval",
        "share": "Interval",
        "symmetric": "Unconstrained",
    }
    place = mbdl.spectrum(policy)
    assert (place.learned, place.strategy) == (3 + 2 + 2 + 1 + 4, "learned optimisation")
    frozen = mbdl.freeze(policy, lambda p: (p.parameters["Q"], p.parameters["symmetric"]))
    moving, _ = core.partition(frozen)
    assert sum(leaf.size for leaf in jax.tree.leaves(moving)) == 2 + 2 + 1
    x = jnp.array([[-3.0, 1.0]])
    np.testing.assert_array_equal(frozen(x), policy(x))


def test_what_depends_on_parameters_alone_is_computed_at_the_start_and_searches_start_warm(x64):
    policy = limited()
    x = jnp.array([0.1, -0.2])
    memory = policy.start()
    other = mbdl.core.change.with_fields(policy, parameters={"price": jnp.array([5.0, 5.0])})
    np.testing.assert_allclose(other.advance(memory, x)[1], [0.1, -0.2], atol=1e-6)
    np.testing.assert_allclose(other.advance(other.start(), x)[1], [0.1, -0.2], atol=1e-6)
    x = jnp.array([-9.0, -9.0])
    np.testing.assert_allclose(other.advance(memory, x)[1], [-0.25, -0.5], atol=1e-6)
    np.testing.assert_allclose(other.advance(other.start(), x)[1], [-2.5, -2.5], atol=1e-6)
    x = jnp.array([-0.1, -9.0])
    cold, warm = policy.solve(x, memory), policy.solve(x, policy.advance(memory, x)[0])
    assert int(cold.program.iterations) > 1
    assert int(warm.program.iterations) == 1


def test_a_fixed_number_of_iterations_goes_on_from_the_step_before(x64):
    exact = limited()
    xs = jnp.array([[0.9, -0.1], [0.8, -0.2], [0.7, -0.3], [0.6, -0.4]])
    for solver in (control.OperatorSplitting(iterations=100), control.InteriorPoint(iterations=20)):
        policy = limited(solver=solver)
        np.testing.assert_allclose(policy(xs), exact(xs), atol=1e-8)
        assert bool(policy.solve(xs[0]).status == control.QPStatus.solved)
    xs = jnp.full((4, 2), -9.0)
    short = limited(solver=control.OperatorSplitting(penalty=10.0, iterations=2))
    assert bool(short.solve(xs[0], throw=False).status == control.QPStatus.maximum_reached)
    error = jnp.abs(short(xs) - exact(xs)).max(axis=1)
    # Eight iterations in place of two, each of which leaves at most three quarters.
    assert float(error[0]) > 0.1
    assert float(error[-1]) < 0.75**6 * float(error[0])
    with pytest.raises(mbdl.ConvergenceError, match="the program is not solved: the largest number of iterations"):
        short.solve(xs[0])


@pytest.mark.parametrize("solver", [control.OperatorSplitting(iterations=60), control.InteriorPoint(iterations=15)])
def test_sides_that_contradict_each_other_are_told_at_a_fixed_depth(solver, x64):
    policy = limited(solver=solver)
    xs = jnp.array([[0.3, -1.0], [0.3, 1.5], [0.9, 0.2]])

    def loss(policy, xs):
        found = jax.vmap(lambda x: policy.solve(x, throw=False))(xs)
        return jnp.sum(jnp.where(jnp.isnan(found.decision), 0.0, found.decision) ** 2), found

    learned, rest = mbdl.core.partition(policy)
    slopes, found = jax.grad(lambda p: loss(mbdl.core.combine(p, rest), xs), has_aux=True)(learned)
    kept, _ = jax.grad(lambda p: loss(mbdl.core.combine(p, rest), xs[::2]), has_aux=True)(learned)
    assert (found.status == control.QPStatus.infeasible).tolist() == [False, True, False]
    assert np.isnan(found.decision[1]).all()
    assert np.isfinite(found.decision[::2]).all()
    # The derivative by what the batch shares is that of the others.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12), slopes, kept)
    with pytest.raises(ValueError, match="first at step 1 of 3. The problem of that context is infeasible: no control"):
        policy(xs)
    # A stream goes on from where it was before.
    course = policy.run(xs, throw=False)
    np.testing.assert_allclose(course.output[2], limited()(xs[2:])[0], atol=1e-4)


def test_what_is_known_is_learned_when_asked(x64):
    problem, context, decision, values, _ = PROBLEMS["clipped_regulator"](4, 2)
    learned = control.ConvexPolicy(problem, context=context, decision=decision, parameters=values)
    known = control.ConvexPolicy(problem, context=context, decision=decision, known=values)
    numbers = sum(np.size(value) for value in values.values())
    assert mbdl.spectrum(known).strategy == "model-based"
    assert (mbdl.spectrum(known).learned, mbdl.spectrum(learned).learned) == (0, numbers)
    x = jnp.linspace(-1.0, 1.0, 4)[None]
    np.testing.assert_array_equal(known(x), learned(x))
    again = mbdl.learn(known, lambda p: list(p.parameters.values()))
    assert mbdl.spectrum(again).learned == numbers
    first, *rest = values
    with pytest.raises(ValueError, match="is given twice"):
        control.ConvexPolicy(
            problem, context=context, decision=decision, parameters=values, known={first: values[first]}
        )
    with pytest.raises(ValueError, match="has shape"):
        control.ConvexPolicy(
            problem, context=context, decision=decision, known={**{p: values[p] for p in rest}, first: np.zeros(7)}
        )


def test_penalties_of_few_iterations_are_learned_in_the_closed_loop():
    """Three iterations of a penalty each, of a policy whose weights are known."""
    problem, context, decision, values, _ = PROBLEMS["clipped_regulator"](2, 1)
    solver = control.OperatorSplitting(penalty=jnp.asarray(1.0), iterations=3)
    solver = mbdl.unfold(solver, 3, untie=lambda s: s.penalty, constraint=mbdl.positive)
    policy = control.ConvexPolicy(problem, context=context, decision=decision, known=values, solver=solver)
    plant = control.LinearSystem(
        jnp.array([[0.9, 0.4], [-0.2, 0.95]]), jnp.array([[0.3], [1.0]]), process_noise=0.01 * jnp.eye(2)
    )
    cost = control.QuadraticCost(jnp.eye(2), jnp.eye(1))
    risk = control.closed_loop(plant, cost, horizon=15, runs=16)
    fit = mbdl.fit(policy, risk, optax.adam(5e-2), steps=60, key=jax.random.key(0))
    how = {"key": jax.random.key(1), "steps": 15, "runs": 100, "cost": cost}
    first, learned = (control.simulate(plant, rule, **how) for rule in (policy, fit.rule))
    gain = first.difference(learned)
    assert gain.mean > 3 * gain.standard_error


def test_learning_lowers_the_cost_of_the_closed_loop_of_the_clipped_regulator():
    states, inputs = 4, 2
    problem, context, decision, values, _ = PROBLEMS["clipped_regulator"](states, inputs)
    policy = control.ConvexPolicy(problem, context=context, decision=decision, parameters=values)
    draws = np.random.default_rng(1)
    A = draws.standard_normal((states, states))
    A /= np.abs(np.linalg.eigvals(A)).max()
    B = draws.standard_normal((states, inputs))
    plant = control.LinearSystem(jnp.asarray(A), jnp.asarray(B), process_noise=0.25 * jnp.eye(states))
    cost = control.QuadraticCost(jnp.eye(states), jnp.eye(inputs))
    risk = control.closed_loop(plant, cost, horizon=30, runs=8)
    fit = mbdl.fit(policy, risk, optax.adam(5e-2), steps=40, key=jax.random.key(0))
    how = {"key": jax.random.key(1), "steps": 60, "runs": 64, "cost": cost}
    first, learned = (control.simulate(plant, rule, **how) for rule in (policy, fit.rule))
    assert float(jnp.abs(learned.controls).max()) <= 0.1 + 1e-5
    gain = first.difference(learned)
    assert gain.mean > 3 * gain.standard_error
