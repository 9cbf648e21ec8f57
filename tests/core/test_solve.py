"""solve: iterating until convergence, and implicit gradients at the fixed point."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core import toys
from jax.test_util import check_grads

import mbdl
from mbdl import ConvergenceError, Status
from mbdl.core import combine, partition

X = toys.vector()


def descent(dtype=jnp.float64, **options):
    return toys.Descent(toys.matrix(dtype=dtype), 0.1, 0.3, **options)


def closed_form(A, ridge, x):
    return jnp.linalg.solve(A.T @ A + ridge * jnp.eye(A.shape[1]), A.T @ x)


class TestStatus:
    def test_converged(self, x64):
        x = toys.vector(dtype=jnp.float64)
        solution = descent().solve(x, tolerance=1e-12)
        assert bool(solution.status == Status.converged)
        assert 10 < solution.iterations < 2000
        assert solution.iterations.dtype == jnp.int32
        assert 0 < solution.residual <= 1e-12
        np.testing.assert_allclose(solution.decision, closed_form(descent().A, 0.3, x), rtol=1e-10)
        few = descent(iterations=int(solution.iterations))
        np.testing.assert_allclose(solution.decision, few(x), rtol=1e-14)

    def test_at_the_fixed_point_at_once(self):
        solution = descent(jnp.float32).solve(jnp.zeros(4))
        assert bool(solution.status == Status.converged)
        assert (solution.iterations, solution.residual) == (1, 0)

    def test_the_largest_number_is_reached(self):
        rule = descent(jnp.float32)
        solution = rule.solve(X, maximum=3, throw=False)
        assert bool(solution.status == Status.maximum_reached)
        assert solution.iterations == 3
        with pytest.raises(
            ConvergenceError, match=r"Descent\.solve did not converge in 3 iterations \(residual"
        ) as error:
            rule.solve(X, maximum=3)
        for raised in (error.value, pickle.loads(pickle.dumps(error.value))):
            np.testing.assert_array_equal(raised.solution.decision, solution.decision)

    def test_diverged(self):
        rule = toys.Descent(toys.matrix(), 10.0)
        solution = rule.solve(X, throw=False)
        assert bool(solution.status == Status.diverged)
        with pytest.raises(ConvergenceError, match=r"Descent\.solve diverged in \d+ iterations.*smaller step size"):
            rule.solve(X)

    def test_a_problem_without_a_solution(self):
        class Judge(toys.Descent):
            """Says at large states that there is no solution, and of which kind by the context's sign."""

            def verdict(self, previous, current, x):
                proven = Status.where(x[0] > 0, Status.infeasible, Status.unbounded)
                far = jnp.sum(current**2) > 1e3
                return Status.where(far | ~jnp.all(jnp.isfinite(current)), proven, Status.maximum_reached)

        rule = Judge(toys.matrix(), 0.5, 0.3)
        xs = jnp.stack([jnp.full(4, 1e3), jnp.full(4, -1e3), jnp.zeros(4), jnp.full(4, 1e-6)])
        solutions = jax.vmap(rule.solve)(xs)
        expected = [Status.infeasible, Status.unbounded, Status.converged]
        for k, status in enumerate(expected):
            assert bool(jax.tree.map(lambda leaf: leaf[k], solutions).status == status)  # noqa: B023
        np.testing.assert_array_equal(solutions.iterations[:2], 8)
        assert jnp.all(jnp.isnan(solutions.decision[:2])) & jnp.all(jnp.isfinite(solutions.decision[2]))
        np.testing.assert_array_equal(jax.vmap(jax.grad(lambda x: jnp.sum(rule.solve(x).decision)))(xs)[:2], 0.0)
        assert solutions.degenerate is None
        with pytest.raises(ConvergenceError, match=r"Judge\.solve: the problem is infeasible: no decision"):
            rule.solve(xs[0])
        with pytest.raises(ConvergenceError, match=r"Judge\.solve: the problem is unbounded: its objective falls"):
            rule.solve(xs[1])
        # The last look is where the largest number is reached, also before the first one would be.
        few = rule.solve(xs[0], maximum=3, throw=False)
        assert few.iterations == 3
        assert bool(few.status == Status.infeasible)

    def test_a_solver_that_judges_iterates_as_one_that_does_not(self):
        class Judge(toys.Descent):
            def verdict(self, previous, current, x):
                return Status.maximum_reached

        plain, judge = (kind(toys.matrix(), 0.1, 0.3).solve(X) for kind in (toys.Descent, Judge))
        np.testing.assert_array_equal(judge.decision, plain.decision)
        assert (judge.iterations, judge.residual) == (plain.iterations, plain.residual)
        cut = Judge(toys.matrix(), 0.1, 0.3).solve(X, maximum=13, throw=False)
        assert cut.iterations == 13
        assert bool(cut.status == Status.maximum_reached)

    def test_one_bad_instance_does_not_spoil_its_batch(self):
        xs = jnp.stack([X, jnp.full(4, 1e30), jnp.zeros(4), jnp.full(4, jnp.nan), 2 * X])

        class Cubic(toys.Descent):
            """Diverges from far away."""

            def step(self, s, x):
                return super().step(s, x) - 0.1 * s**3

        rule = Cubic(toys.matrix(), 0.1, 0.3)
        solutions = jax.vmap(rule.solve)(xs)
        expected = [Status.converged, Status.diverged, Status.converged, Status.diverged, Status.converged]
        for k, status in enumerate(expected):
            assert bool(jax.tree.map(lambda leaf: leaf[k], solutions).status == status)  # noqa: B023
        for k in (0, 2, 4):
            alone = rule.solve(xs[k])
            np.testing.assert_allclose(solutions.decision[k], alone.decision, rtol=1e-5)
            assert solutions.iterations[k] == alone.iterations
        gradients = jax.vmap(jax.grad(lambda x: jnp.sum(rule.solve(x).decision)))(xs)
        finite = jnp.all(jnp.isfinite(gradients), axis=1)
        np.testing.assert_array_equal(finite[jnp.asarray([0, 2, 4])], True)

    def test_an_invalid_input(self):
        bad = X.at[0].set(jnp.nan)
        with pytest.raises(ValueError, match=r"Descent\.solve: the input is not valid"):
            descent(jnp.float32).solve(bad)
        assert bool(descent(jnp.float32).solve(bad, throw=False).status == Status.diverged)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"maximum": 0}, "expected maximum >= 1, got maximum=0"),
            ({"tolerance": -1.0}, "expected tolerance >= 0, got tolerance=-1.0"),
            ({"tolerance": float("nan")}, "expected tolerance >= 0"),
        ],
    )
    def test_bad_options(self, options, message):
        with pytest.raises(ValueError, match=message):
            descent(jnp.float32).solve(X, **options)

    def test_untied_solvers_are_refused(self):
        rule = mbdl.unfold(descent(jnp.float32), 3, untie=lambda r: r.ridge)
        with pytest.raises(ValueError, match="differ from layer to layer. Call the rule itself"):
            rule.solve(X)
        outer = mbdl.unfold(toys.Outer(descent(jnp.float32)), 3, untie=lambda r: r.inner.ridge)
        with pytest.raises(ValueError, match="differ from layer to layer"):
            outer.solve(X)

    def test_a_solver_with_an_unfolded_solver_inside(self):
        inner = mbdl.unfold(descent(jnp.float32), 3, untie=lambda r: r.ridge)
        rule, plain = toys.Outer(inner), toys.Outer(descent(jnp.float32, iterations=3))
        np.testing.assert_allclose(rule.solve(X).decision, plain.solve(X).decision, rtol=1e-4)

    def test_compiled_and_not(self):
        rule = descent(jnp.float32)
        alone = rule.solve(X).decision
        np.testing.assert_allclose(jax.jit(lambda x: rule.solve(x))(X).decision, alone, rtol=1e-6)
        np.testing.assert_allclose(jax.jit(rule.solve)(X).decision, alone, rtol=1e-6)
        with jax.disable_jit():
            np.testing.assert_allclose(rule.solve(X, tolerance=1e-2, maximum=300).decision, alone, rtol=0.5)

    def test_tolerances_share_a_trace(self):
        rule = descent(jnp.float32)
        rule.solve(X, tolerance=1e-3, maximum=1000)
        size = mbdl.core.rule._run._cache_size()
        rule.solve(X, tolerance=1e-4, maximum=2000)
        assert mbdl.core.rule._run._cache_size() == size


class TestImplicitGradients:
    def rule(self):
        return mbdl.learn(descent(), lambda r: (r.A, r.ridge), constraint=mbdl.unconstrained)

    def decide(self, learned, x):
        _, rest = partition(self.rule())
        return combine(learned, rest).solve(x, tolerance=1e-14).decision

    def test_central_differences_and_the_closed_form(self, x64):
        x = toys.vector(dtype=jnp.float64)
        learned, _ = partition(self.rule())
        check_grads(jax.jit(self.decide), (learned, x), order=1, modes=["fwd", "rev"], eps=1e-6)

        def oracle(learned, x):
            return closed_form(learned.A.raw, learned.ridge.raw, x)

        weights = jnp.asarray([1.0, -2.0, 3.0])
        for position in (0, 1):
            implicit = jax.grad(lambda *args: weights @ self.decide(*args), position)(learned, x)
            exact = jax.grad(lambda *args: weights @ oracle(*args), position)(learned, x)
            for one, two in zip(jax.tree.leaves(implicit), jax.tree.leaves(exact), strict=True):
                np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-12)

    def test_batches(self, x64):
        xs = jnp.stack([toys.vector(seed=seed, dtype=jnp.float64) for seed in range(3)])
        learned, _ = partition(self.rule())
        weights = jnp.asarray([1.0, -2.0, 3.0])
        batched = jax.jit(jax.vmap(jax.grad(lambda *args: weights @ self.decide(*args)), (None, 0)))(learned, xs)
        for k, x in enumerate(xs):
            exact = jax.grad(lambda A: weights @ closed_form(A, 0.3, x))(learned.A.raw)  # noqa: B023
            np.testing.assert_allclose(batched.A.raw[k], exact, rtol=1e-8, atol=1e-10)

    def test_second_derivatives(self, x64):
        rule, x = descent(), toys.vector(dtype=jnp.float64)
        gradient = jax.grad(lambda x: jnp.sum(rule.solve(x, tolerance=1e-14).decision ** 2))
        _, product = jax.jvp(gradient, (x,), (jnp.ones(4),))
        gain = jnp.linalg.solve(rule.A.T @ rule.A + 0.3 * jnp.eye(3), rule.A.T)
        np.testing.assert_allclose(product, 2 * gain.T @ gain @ jnp.ones(4), rtol=1e-7, atol=1e-10)

    def test_a_kinked_map(self, x64):
        A, x = toys.matrix(8, 5, dtype=jnp.float64), toys.vector(8, dtype=jnp.float64)
        rule = toys.Proximal(A, mbdl.learn(toys.Shrink(jnp.asarray(0.1)), lambda r: r.weight), 0.05)
        learned, rest = partition(rule)

        def decide(learned, x):
            return combine(learned, rest).solve(x, tolerance=1e-14).decision

        decision = decide(learned, x)
        assert 0 < jnp.sum(decision == 0) < 5
        check_grads(decide, (learned, x), order=1, modes=["fwd", "rev"], eps=1e-7, atol=1e-6, rtol=1e-6)

    def test_complex_states_with_integers(self, x64):
        rule = mbdl.learn(toys.Complex(), lambda r: (r.weight, r.damping))
        x = toys.vector(dtype=jnp.float64) + 1j * toys.vector(seed=5, dtype=jnp.float64)
        learned, rest = partition(mbdl.freeze(rule, lambda r: r.damping))

        def decide(learned, parts):
            z = combine(learned, rest).solve(parts[0] + 1j * parts[1], tolerance=1e-14).decision
            return jnp.stack([z.real, z.imag])

        # The map holds a modulus and a conjugate: it has no complex derivative, only a real one.
        check_grads(decide, (learned, (x.real, x.imag)), order=1, modes=["fwd", "rev"], eps=1e-6)

    def test_integers_of_the_last_state_reach_the_decision(self, x64):
        class Flagged(toys.Complex):
            def decision(self, state):
                return state.point["z"] + state.count

        rule = Flagged(0.1)
        solution = rule.solve(jnp.asarray([1.0 + 1j]), tolerance=1e-13, maximum=40, throw=False)
        plain = toys.Complex(0.1).solve(jnp.asarray([1.0 + 1j]), tolerance=1e-14)
        np.testing.assert_allclose(solution.decision - solution.iterations, plain.decision, rtol=1e-6)

    def test_a_network_inside(self, x64):
        network = toys.Dense(0.2 * toys.matrix(4, 3, 7, jnp.float64), 0.2 * toys.matrix(3, 4, 8, jnp.float64))
        rule = mbdl.substitute(
            toys.Proximal(toys.matrix(dtype=jnp.float64), toys.Shrink(0.1)), lambda r: r.prox, network
        )
        learned, rest = partition(rule)
        x = toys.vector(dtype=jnp.float64)
        check_grads(
            lambda learned, x: combine(learned, rest).solve(x, tolerance=1e-14).decision,
            (learned, x),
            order=1,
            modes=["fwd", "rev"],
            eps=1e-6,
        )

    def test_an_augmented_solver(self, x64):
        network = toys.Dense(0.2 * toys.matrix(4, 3, 7, jnp.float64), 0.2 * toys.matrix(3, 4, 8, jnp.float64))
        rule = mbdl.augment(descent(), network)
        x = toys.vector(dtype=jnp.float64)
        np.testing.assert_allclose(rule.solve(x).decision, descent().solve(x).decision, rtol=1e-12)
        learned, rest = partition(rule)
        opened = jax.tree.map(lambda leaf: leaf + 0.1, learned)
        check_grads(
            lambda learned: combine(learned, rest).solve(x, tolerance=1e-14).decision,
            (opened,),
            order=1,
            modes=["fwd", "rev"],
            eps=1e-6,
        )

    @pytest.mark.parametrize("size", [3, 90])
    def test_momentum_is_not_part_of_the_map(self, size, x64):
        class Heavy(toys.Descent):
            """Its map leaves the counter of the momentum where it is: the linear system is singular."""

            def init(self, x):
                return self.start, self.start, jnp.zeros(1, self.A.dtype)

            def step(self, state, x):
                s, before, t = state
                return super().step(s + 0.3 * (s - before), x), s, t + 1

            def fixed_point(self, state, x):
                following = super().step(state[0], x)
                return following, following, state[2]

            def decision(self, state):
                return state[0]

        A = toys.matrix(size, size, dtype=jnp.float64) / size**0.5
        rule, x = Heavy(A, 0.3, 0.3), toys.vector(size, dtype=jnp.float64)
        gradient = jax.grad(lambda x: jnp.sum(rule.solve(x, tolerance=1e-14).decision))(x)
        exact = A @ jnp.linalg.solve(A.T @ A + 0.3 * jnp.eye(size), jnp.ones(size))
        np.testing.assert_allclose(gradient, exact, rtol=1e-7, atol=1e-10)

    def test_many_unknowns(self):
        rule = toys.Descent(toys.matrix(150, 100) / 20, 0.5, 0.1)
        x = toys.vector(150)
        gradient = jax.grad(lambda x: jnp.sum(rule.solve(x, tolerance=1e-7, throw=False).decision))(x)
        exact = rule.A @ jnp.linalg.solve(rule.A.T @ rule.A + 0.1 * jnp.eye(100), jnp.ones(100))
        np.testing.assert_allclose(gradient, exact, rtol=1e-2, atol=2e-3 * float(jnp.max(jnp.abs(exact))))

    def test_what_cannot_be_solved_is_nan_and_not_a_number(self):
        class Slide(toys.Descent):
            """Every point with the same mean is a fixed point: the linear system is singular."""

            def step(self, s, x):
                return s + self.step_size * (jnp.mean(x) - jnp.mean(s))

            def hyperparameters(self):
                return ()

        gradient = jax.grad(lambda x: Slide(toys.matrix(), 0.5).solve(x).decision[0] ** 2)(X)
        assert jnp.all(jnp.isnan(gradient))


class TestWhatHasNoDerivative:
    def test_hyperparameters_raise_while_tracing(self):
        rule = mbdl.learn(descent(jnp.float32), lambda r: (r.step_size, r.ridge), constraint=mbdl.positive)
        learned, rest = partition(rule)

        def loss(learned):
            return jnp.sum(combine(learned, rest).solve(X).decision)

        message = (
            r"Descent\.step_size through solve has no derivative here. The fixed point does not depend on it: unfold"
        )
        with pytest.raises(TypeError, match=message):
            jax.grad(loss)(learned)
        with pytest.raises(TypeError, match=message):
            jax.jit(jax.grad(loss))(learned)
        with pytest.raises(TypeError, match=message):
            jax.jvp(loss, (learned,), (learned,))
        frozen = mbdl.freeze(rule, lambda r: r.step_size)
        learned, rest = partition(frozen)
        assert jax.tree.leaves(jax.grad(loss)(learned))[0] != 0

    @pytest.mark.parametrize("name", ["start", "unused"])
    def test_what_only_the_first_state_reads(self, name):
        rule = mbdl.learn(descent(jnp.float32), lambda r: getattr(r, name))
        learned, rest = partition(rule)
        with pytest.raises(TypeError, match=r"a leaf of Descent\.solve that only the first state depends on"):
            jax.grad(lambda learned: jnp.sum(combine(learned, rest).solve(X).decision))(learned)

    def test_a_context_that_only_the_first_state_reads(self):
        class Halve(mbdl.IterativeSolver):
            def init(self, x):
                return x

            def step(self, state, x):
                return state / 2

            def decision(self, state):
                return state

        rule = Halve(iterations=3)
        np.testing.assert_allclose(jax.grad(lambda x: jnp.sum(rule(x)))(X), 0.125)
        with pytest.raises(TypeError, match="only the first state depends on"):
            jax.grad(lambda x: jnp.sum(rule.solve(x, throw=False).decision))(X)

    def test_what_a_nested_rule_does_not_read(self):
        rule = mbdl.learn(toys.Outer(descent(jnp.float32)), lambda r: r.inner.unused)
        learned, rest = partition(rule)
        with pytest.raises(TypeError, match="has no derivative here"):
            jax.grad(lambda learned: jnp.sum(combine(learned, rest).solve(X).decision))(learned)
