"""unfold: layers of their own, whatever else was done to the solver."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from core import toys

import mbdl
from mbdl.core import PerLayer, combine, count, partition
from mbdl.core import rule as rule_module

X = toys.vector()


def hyper(r):
    return (r.step_size, r.ridge)


def descent(**options):
    return toys.Descent(toys.matrix(), **options)


@pytest.mark.parametrize("untie", [None, hyper])
@pytest.mark.parametrize("constraint", [None, mbdl.positive, mbdl.interval(0.0, 1.0)])
def test_it_is_the_same_solver_at_the_same_depth(untie, constraint):
    rule = descent(iterations=50)
    unfolded = mbdl.unfold(rule, 7, untie=untie, constraint=constraint)
    assert type(unfolded) is toys.Descent
    assert (unfolded.iterations, rule.iterations) == (7, 50)
    np.testing.assert_allclose(unfolded(X), descent(iterations=7)(X), rtol=1e-5)
    assert count(partition(unfolded)[0]) == (0 if untie is None else 14)


@pytest.mark.parametrize("order", ["learn first", "unfold first"])
def test_untied_gradients_sum_to_the_tied_one(order, x64):
    rule = toys.Descent(toys.matrix(dtype=jnp.float64), iterations=6)
    x = toys.vector(dtype=jnp.float64)
    tied = mbdl.learn(rule, hyper, constraint=mbdl.positive)
    if order == "learn first":
        untied = mbdl.unfold(tied, 6, untie=hyper)
        assert untied.step_size.value.origin == ("learn", "unfold")
    else:
        untied = mbdl.unfold(rule, 6, untie=hyper, constraint=mbdl.positive)
    np.testing.assert_allclose(untied(x), tied(x), rtol=1e-13)
    for whole, parts in zip(toys.gradient(tied, x), toys.gradient(untied, x), strict=True):
        assert parts.shape == (6,)
        np.testing.assert_allclose(jnp.sum(parts), whole, rtol=1e-11)
    assert len(set(parts.tolist())) == 6  # those of the ridge; those of the step commute


def test_layers_are_separate():
    unfolded = mbdl.unfold(descent(), 3, untie=hyper)
    moved = eqx.tree_at(lambda r: r.step_size.value.raw, unfolded, jnp.asarray([0.1, 0.3, 0.1]))
    state = jnp.zeros(3)
    for k in range(3):
        step = [0.1, 0.3, 0.1][k]
        state = state - step * (unfolded.A.T @ (unfolded.A @ state - X) + 0.1 * state)
    np.testing.assert_allclose(moved(X), state, rtol=1e-5)


def test_training_moves_layers_apart():
    unfolded = mbdl.unfold(descent(), 3, untie=lambda r: r.ridge, constraint=mbdl.positive)
    loss, learned = toys.losses(unfolded, X)
    updates, _ = optax.sgd(1.0).update(jax.grad(loss)(learned), optax.sgd(1.0).init(learned))
    moved = combine(optax.apply_updates(learned, updates), partition(unfolded)[1])
    raw = moved.ridge.value.raw
    assert len(set(raw.tolist())) == 3


def test_a_network_in_every_layer():
    network = toys.Dense.make(jax.random.key(0))
    rule = mbdl.substitute(toys.Proximal(toys.matrix(), toys.Shrink(0.1)), lambda r: r.prox, network)
    after = mbdl.unfold(rule, 3, untie=lambda r: r.prox)
    np.testing.assert_allclose(after(X), mbdl.unfold(rule, 3)(X), rtol=1e-5)
    assert after.prox.value.origin == ("substitute", "unfold")
    np.testing.assert_allclose(toys.gradient(after, X)[0].sum(0), toys.gradient(mbdl.unfold(rule, 3), X)[0], rtol=1e-4)
    part = mbdl.unfold(rule, 3, untie=lambda r: r.prox.second)
    np.testing.assert_allclose(part(X), after(X), rtol=1e-5)
    assert count(partition(part)[0]) == 12 + 3 * 12
    assert "deep unfolding" in mbdl.spectrum(part).strategies


def test_independent_networks():
    unfolded = mbdl.unfold(toys.Proximal(toys.matrix(), toys.Shrink(0.1)), 3)
    rule = mbdl.substitute(unfolded, lambda r: r.prox, PerLayer.independent(toys.Dense.make, 3, key=jax.random.key(0)))
    s = jnp.zeros(3)
    for key in jax.random.split(jax.random.key(0), 3):
        s = toys.Dense.make(key)(s - 0.1 * unfolded.A.T @ (unfolded.A @ s - X))
    np.testing.assert_allclose(rule(X), s, rtol=1e-5, atol=1e-7)
    assert count(partition(rule)[0]) == 3 * 24
    with pytest.raises(ValueError, match=r"per-layer value has \[3\] layers and the solver 4 iterations"):
        mbdl.unfold(rule, 4)


def test_a_stack_of_covariances():
    class Whiten(toys.Proximal):
        covariance: jax.Array

        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.covariance = jnp.diag(jnp.asarray([1.0, 2.0, 3.0])) + 0.5

        def step(self, s, x):
            return super().step(self.covariance @ s / 4, x)

    rule = Whiten(toys.matrix(), toys.Shrink(1e-3))
    unfolded = mbdl.unfold(rule, 4, untie=lambda r: r.covariance, constraint=mbdl.positive_definite)
    np.testing.assert_allclose(unfolded(X), rule(X), rtol=1e-5)
    assert unfolded.covariance.value.raw.shape == (4, 6)
    learned, rest = partition(unfolded)
    assert count(learned) == 4 * 6
    moved = combine(jax.tree.map(lambda raw: raw - jnp.arange(4.0)[:, None], learned), rest)
    values = mbdl.resolve(moved).covariance.value
    assert values.shape == (4, 3, 3)
    assert jnp.all(jnp.linalg.eigvalsh(values) > 0)
    assert jnp.all(jnp.isfinite(toys.gradient(moved, X)[0]))


def test_the_first_state_reads_layer_0_and_the_decision_the_last():
    class Ends(mbdl.IterativeSolver):
        weight: jax.Array

        def init(self, x):
            return self.weight * x

        def step(self, state, x):
            return state + 0 * self.weight

        def decision(self, state):
            return state + 100 * self.weight

    rule = mbdl.unfold(Ends(jnp.asarray(1.0), iterations=1), 3, untie=lambda r: r.weight)
    rule = eqx.tree_at(lambda r: r.weight.value.raw, rule, jnp.asarray([2.0, 3.0, 4.0]))
    np.testing.assert_allclose(rule(jnp.asarray(1.0)), 402.0)
    np.testing.assert_allclose(rule(jnp.asarray(1.0), trace=True), [202.0, 302.0, 402.0])


class TestNested:
    """An unfolded solver in an unfolded solver."""

    def outer(self):
        return toys.Outer(descent(iterations=2), iterations=3)

    def test_untying_a_leaf_of_the_inner_from_the_outer(self):
        rule = self.outer()
        untied = mbdl.unfold(rule, 3, untie=lambda r: r.inner.ridge, constraint=mbdl.positive)
        assert untied.inner.ridge.level == 1
        np.testing.assert_allclose(untied(X), rule(X), rtol=1e-5)
        tied = mbdl.learn(rule, lambda r: r.inner.ridge, constraint=mbdl.positive)
        (parts,), (whole,) = toys.gradient(untied, X), toys.gradient(tied, X)
        assert parts.shape == (3,)
        np.testing.assert_allclose(parts.sum(), whole, rtol=1e-4)

    def test_both_unfolded(self):
        inner = mbdl.unfold(descent(), 2, untie=lambda r: (r.ridge, r.step_size), constraint=mbdl.positive)
        rule = toys.Outer(inner, iterations=3)
        np.testing.assert_allclose(rule(X), self.outer()(X), rtol=1e-5)
        assert mbdl.spectrum(rule).learned == 4
        both = mbdl.unfold(rule, 3, untie=lambda r: (r.inner.ridge, r.relaxation))
        np.testing.assert_allclose(both(X), rule(X), rtol=1e-5)
        assert both.inner.ridge.value.value.raw.shape == (3, 2)
        # In layer k of the outer and j of the inner the number (k, j) is used.
        raw = both.inner.ridge.value.value.raw + jnp.arange(6.0).reshape(3, 2)
        moved = eqx.tree_at(lambda r: r.inner.ridge.value.value.raw, both, raw)
        ridge = mbdl.resolve(moved).inner.ridge.value.value
        s, step = jnp.zeros(3), 0.1
        A = inner.A
        for k in range(3):
            u, x = jnp.zeros(3), X - 0.1 * (A @ s)
            for j in range(2):
                u = u - step * (A.T @ (A @ u - x) + ridge[k, j] * u)
            s = s + 0.5 * (u - s)
        np.testing.assert_allclose(moved(X), s, rtol=1e-5)
        gradients = {g.shape: g for g in toys.gradient(moved, X)}
        assert set(gradients) == {(2,), (3,), (3, 2)}
        # The first step of the inner starts at zero, where its ridge has no effect.
        np.testing.assert_array_equal(gradients[3, 2] != 0, [[False, True]] * 3)

    def test_unfolding_the_outer_leaves_the_inner(self):
        inner = mbdl.unfold(descent(), 2, untie=lambda r: r.ridge)
        rule = mbdl.unfold(toys.Outer(inner), 5)
        assert rule.inner.iterations == 2
        assert rule.inner.ridge.level == 0
        np.testing.assert_allclose(rule(X), toys.Outer(descent(iterations=2), iterations=5)(X), rtol=1e-5)

    def test_untying_the_whole_inner_solver(self):
        inner = mbdl.unfold(descent(), 2, untie=lambda r: r.ridge)
        rule = mbdl.unfold(toys.Outer(inner), 3, untie=lambda r: r.inner)
        np.testing.assert_allclose(rule(X), self.outer()(X), rtol=1e-5)
        assert toys.gradient(rule, X)[0].shape == (3, 2)

    def test_the_inner_is_unfolded_first(self):
        rule = mbdl.unfold(self.outer(), 3, untie=lambda r: r.inner.ridge)
        with pytest.raises(ValueError, match=r"differs from layer to layer of an outer solver already.*nested"):
            mbdl.unfold(rule.inner, 2, untie=lambda r: r.ridge)

    def test_a_network_for_each_layer_of_the_outer_inside_the_inner(self):
        inner = toys.Proximal(toys.matrix(), toys.Shrink(0.1), iterations=2)
        layers = PerLayer.independent(toys.Dense.make, 3, key=jax.random.key(0))
        rule = mbdl.substitute(
            toys.Outer(inner, iterations=3), lambda r: r.inner.prox, dataclasses.replace(layers, level=1)
        )
        assert len({g.shape[0] for g in toys.gradient(rule, X)}) == 1
        wrong = mbdl.substitute(toys.Outer(inner, iterations=3), lambda r: r.inner.prox, layers)
        with pytest.raises(ValueError, match=r"Proximal: a per-layer value has \[3\] layers and the solver 2"):
            wrong(X)


class TestErrors:
    def test_what_does_not_iterate(self):
        with pytest.raises(TypeError, match="unfold: Shrink does not iterate"):
            mbdl.unfold(toys.Shrink(0.1), 3)

    @pytest.mark.parametrize("iterations", [0, -1, 2.0, True, None])
    def test_depth(self, iterations):
        with pytest.raises(ValueError, match="expected a number of iterations of at least 1, got"):
            mbdl.unfold(descent(), iterations)

    def test_untied_twice(self):
        rule = mbdl.unfold(descent(), 3, untie=lambda r: r.ridge)
        with pytest.raises(ValueError, match=r"unfold: \.ridge, or a part of it, differs from layer to layer already"):
            mbdl.unfold(rule, 3, untie=lambda r: r.ridge)
        other = mbdl.unfold(rule, 3, untie=lambda r: r.step_size)
        np.testing.assert_allclose(other(X), rule(X), rtol=1e-6)

    def test_a_part_and_the_whole(self):
        rule = toys.Proximal(toys.matrix(), toys.Dense.make(jax.random.key(0)))
        part = mbdl.unfold(rule, 3, untie=lambda r: r.prox.first)
        with pytest.raises(ValueError, match="already"):
            mbdl.unfold(part, 3, untie=lambda r: r.prox)
        whole = mbdl.unfold(rule, 3, untie=lambda r: r.prox)
        with pytest.raises(ValueError, match="already"):
            mbdl.unfold(whole, 3, untie=lambda r: r.prox.first)
        with pytest.raises(ValueError, match="lies inside what differs from layer to layer"):
            mbdl.substitute(whole, lambda r: r.prox.first, jnp.ones((4, 3)))

    def test_another_depth(self):
        rule = mbdl.unfold(descent(), 3, untie=lambda r: r.ridge)
        with pytest.raises(ValueError, match=r"per-layer value has \[3\] layers and the solver 5 iterations"):
            mbdl.unfold(rule, 5)

    def test_untying_what_the_step_does_not_read(self):
        for where, name in ((lambda r: r.unused, "unused"), (lambda r: r.start, "start")):
            rule = mbdl.unfold(descent(), 3, untie=where)
            with pytest.raises(ValueError, match=rf"Descent: \.{name} is untied, but a step does not read it"):
                rule(X)

    def test_untying_what_a_nested_rule_does_not_read(self):
        rule = mbdl.unfold(toys.Outer(descent()), 3, untie=lambda r: r.inner.unused)
        with pytest.raises(ValueError, match=r"Outer: \.inner\.unused is untied, but a step does not read it"):
            rule(X)

    def test_a_constraint_for_what_is_learned_already(self):
        rule = mbdl.learn(descent(), lambda r: r.ridge, constraint=mbdl.positive)
        with pytest.raises(ValueError, match=r"\.ridge is learned already, with a constraint of its own"):
            mbdl.unfold(rule, 3, untie=hyper, constraint=mbdl.positive)

    def test_a_constraint_for_a_component(self):
        rule = toys.Proximal(toys.matrix(), toys.Dense.make(jax.random.key(0)))
        with pytest.raises(ValueError, match=r"a constraint is for arrays.*\.prox is a Dense"):
            mbdl.unfold(rule, 3, untie=lambda r: r.prox, constraint=mbdl.positive)

    def test_nothing_to_learn(self):
        rule = toys.Proximal(toys.matrix(), jnp.tanh)
        with pytest.raises(TypeError, match=r"unfold: \.prox: .* holds no floating-point array"):
            mbdl.unfold(rule, 3, untie=lambda r: r.prox)

    def test_a_value_on_the_boundary(self):
        with pytest.raises(ValueError, match="not positive"):
            mbdl.unfold(descent(ridge=0.0), 3, untie=lambda r: r.ridge, constraint=mbdl.positive)


def test_rematerialisation_changes_nothing():
    plain = mbdl.unfold(descent(), 4, untie=hyper, constraint=mbdl.positive)
    again = mbdl.unfold(descent(), 4, untie=hyper, constraint=mbdl.positive, rematerialise=True)
    np.testing.assert_allclose(again(X), plain(X), rtol=1e-6)
    for one, two in zip(toys.gradient(again, X), toys.gradient(plain, X), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5)
    assert "remat" in str(jax.make_jaxpr(lambda r: toys.losses(r, X)[0](partition(r)[0]))(again))


def test_new_values_of_untied_leaves_do_not_retrace():
    sizes = []
    for ridge in (0.1, 0.2):
        mbdl.unfold(descent(ridge=ridge), 3, untie=hyper, constraint=mbdl.positive)(X)
        sizes.append(rule_module._run._cache_size())
    assert sizes[0] == sizes[1]
