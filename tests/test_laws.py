"""The laws of the design, for every rule of the library.

1. `learn`, `unfold` and `augment` change no decision at initialisation.
2. Untied gradients sum to the tied gradient.
3. A rule works under `jit`, `vmap` and `grad`, in float32 and float64, nested and inside `scan`, without retracing for
   new values.
4. What has no derivative raises while tracing; it never returns a silent zero.

Each package lists its rules in `tests/<package>/rules.py`, as functions that return a rule and a context.
"""

import inspect

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from control.rules import RULES as CONTROL
from inverse.rules import RULES as INVERSE
from jax.tree_util import DictKey, GetAttrKey
from networks.rules import RULES as NETWORKS
from tracking.rules import NONDIFFERENTIABLE
from tracking.rules import RULES as TRACKING

import mbdl
from mbdl import core, tracking

RULES = {**CONTROL, **INVERSE, **NETWORKS, **TRACKING}
BUILT = {name: make()[0] for name, make in RULES.items()}
every_rule = pytest.mark.parametrize("make", RULES.values(), ids=RULES.keys())
DIFFERENTIABLE = {name: make for name, make in RULES.items() if name not in NONDIFFERENTIABLE}
every_differentiable_rule = pytest.mark.parametrize("make", DIFFERENTIABLE.values(), ids=DIFFERENTIABLE.keys())
RECURSIVE = {name: make for name, make in RULES.items() if isinstance(BUILT[name], mbdl.RecursiveRule)}
every_recursion = pytest.mark.parametrize("make", RECURSIVE.values(), ids=RECURSIVE.keys())
SOLVERS = {name: make for name, make in RULES.items() if isinstance(BUILT[name], mbdl.IterativeSolver)}
every_solver = pytest.mark.parametrize("make", SOLVERS.values(), ids=SOLVERS.keys())
TUNABLE = {name: make for name, make in SOLVERS.items() if BUILT[name].hyperparameters()}

LAYERS = 3


def close(actual, expected, *, scale=1.0):
    """Equal to rounding, relative to the largest entry: a few hundred operations of the dtype's precision."""
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        tolerance = 1000 * np.finfo(a.dtype).eps * max(float(np.max(np.abs(b))), 1e-30) * scale
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def is_learned(node):
    return isinstance(node, mbdl.Learned)


def parts(rule):
    """Selectors of the known floating-point arrays, one a leaf, and of what is learned, by their paths."""
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(rule, is_leaf=is_learned):
        if eqx.is_inexact_array(leaf) or is_learned(leaf):

            def where(r, path=path):
                for key in path:
                    if isinstance(key, GetAttrKey):
                        r = getattr(r, key.name)
                    else:
                        r = r[key.key if isinstance(key, DictKey) else key.idx]
                return r

            found[jax.tree_util.keystr(path)] = where
    return found


def known_arrays(rule, x):
    """The selectors of the known floating-point arrays."""
    return {name: where for name, where in parts(rule).items() if not is_learned(where(rule))}


def read_by_step(solver, x):
    """The selectors of what a step reads."""
    known = core.resolve(solver)
    read, _, _ = core.reads(lambda r, s, x: r.decision(r.advance(s, x)), known, known.init(x), x)
    return {name: where for name, where in parts(solver).items() if any(jax.tree.leaves(where(read)))}


def risk(rule, x):
    return sum(jnp.sum(jnp.abs(leaf) ** 2) for leaf in jax.tree.leaves(rule(x)) if eqx.is_inexact_array(leaf))


def gradient(rule, x):
    learned, rest = core.partition(rule)
    return jax.grad(lambda learned: risk(core.combine(learned, rest), x))(learned)


def numbers(function, tree):
    """A function of every floating-point array of a tree; masks and indices stay as they are."""
    return jax.tree.map(lambda leaf: function(leaf) if eqx.is_inexact_array(leaf) else leaf, tree)


def batch_of(x, n=3):
    batch = [numbers(lambda leaf, k=k: leaf * (1 - 0.1 * k), x) for k in range(n)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *batch)


def kinds(node):
    """The classes of a tree's nodes."""
    if isinstance(node, eqx.Module):
        inside = vars(node).values()
    elif isinstance(node, dict):
        inside = node.values()
    else:
        inside = node if isinstance(node, tuple | list) else ()
    return {type(node)}.union(*map(kinds, inside))


def test_the_laws_are_tested_of_every_rule():
    """And of every gain, which is what differs between filters."""
    packages = (mbdl.control, mbdl.inverse, mbdl.networks, mbdl.tracking)
    exported = [getattr(package, name) for package in packages for name in package.__all__]
    kind = (core.DecisionRule, tracking.AbstractGain, tracking.AbstractSmootherGain)
    rules = {c for c in exported if inspect.isclass(c) and issubclass(c, kind) and not inspect.isabstract(c)}
    assert len(rules) > 40
    missing = rules - set().union(*map(kinds, BUILT.values()))
    assert not missing, f"add to tests/<package>/rules.py: {sorted(c.__name__ for c in missing)}"


@every_rule
def test_learning_changes_no_decision(make):
    rule, x = make()
    expected = rule(x)
    for where in known_arrays(rule, x).values():
        close(mbdl.learn(rule, where)(x), expected)


@every_solver
def test_unfolding_changes_no_decision(make):
    solver, x = make()
    expected = mbdl.unfold(solver, LAYERS)(x)
    for where in read_by_step(solver, x).values():
        close(mbdl.unfold(solver, LAYERS, untie=where)(x), expected)


@every_solver
def test_augmenting_changes_no_decision(make):
    solver, x = make()
    shape = solver(x).shape

    class Bias(eqx.Module):
        value: jax.Array

        def __call__(self, decision, x):
            return decision + self.value

    augmented = mbdl.augment(solver, Bias(jnp.ones(shape)))
    close(augmented(x), solver(x))
    assert mbdl.spectrum(augmented).learned - mbdl.spectrum(solver).learned == 1 + np.prod(shape)
    slope = gradient(augmented, x).correction.raw.gate
    assert float(jnp.abs(slope)) > 0


@every_solver
def test_untied_gradients_sum_to_the_tied_gradient(make):
    with jax.enable_x64(True):
        solver, x = make()
        for name, where in read_by_step(solver, x).items():
            layers = mbdl.unfold(solver, LAYERS)
            tied = gradient(layers if is_learned(where(solver)) else mbdl.learn(layers, where), x)
            untied = gradient(mbdl.unfold(solver, LAYERS, untie=where), x)
            tied, untied = (jax.tree.leaves(where_raw(tree, where)) for tree in (tied, untied))
            for of_all, of_each in zip(tied, untied, strict=True):
                assert of_each.shape == (LAYERS, *of_all.shape), name
                close(jnp.sum(of_each, 0), of_all, scale=100)


def where_raw(tree, where):
    selection = core.select.select(tree, where, "test")[0]
    return selection.held


@every_rule
def test_jit_and_vmap_agree_with_the_plain_call(make):
    rule, x = make()
    plain = rule(x)
    close(jax.jit(rule)(x), plain)
    xs = batch_of(x)
    batched = jax.vmap(rule)(xs)
    for k in range(3):
        one = rule(jax.tree.map(lambda leaf, k=k: leaf[k], xs))
        close(jax.tree.map(lambda leaf, k=k: leaf[k], batched), one, scale=10)


class Nesting(mbdl.DecisionRule):
    inner: mbdl.DecisionRule
    scale: jax.Array

    def decide(self, x):
        return numbers(lambda leaf: self.scale * leaf, self.inner(x))


@every_rule
def test_a_rule_works_inside_another_and_inside_scan(make):
    rule, x = make()
    close(Nesting(rule, 1.0)(x), rule(x))
    xs = batch_of(x, 2)
    _, scanned = jax.lax.scan(lambda carry, x: (carry, rule(x)), None, xs)
    close(jax.tree.map(lambda leaf: leaf[0], scanned), rule(jax.tree.map(lambda leaf: leaf[0], xs)), scale=10)


@every_recursion
def test_a_stream_and_blocks_of_it_are_the_whole_sequence(make):
    rule, xs = make()
    whole = rule(xs)
    steps = core.time_steps(xs, "test")
    memory, outputs = rule.start(), []
    for t in range(steps):
        memory, output = rule.advance(memory, jax.tree.map(lambda leaf, t=t: leaf[t], xs))
        outputs.append(output)
    close(jax.tree.map(lambda *leaves: jnp.stack(leaves), *outputs), whole, scale=10)
    first = rule.run(jax.tree.map(lambda leaf: leaf[: steps // 2], xs))
    second = rule.run(jax.tree.map(lambda leaf: leaf[steps // 2 :], xs), first.memory)
    assert bool(first.finite)
    assert bool(second.finite)
    close(jax.tree.map(lambda *leaves: jnp.concatenate(leaves), first.output, second.output), whole, scale=10)


@every_rule
def test_the_dtype_is_that_of_the_rule(make):
    with jax.enable_x64(True):
        rule, x = make()
        assert {leaf.dtype for leaf in jax.tree.leaves(rule(x))} == {np.dtype("float64")}
        single = jax.tree.map(lambda n: n.astype(jnp.float32) if eqx.is_inexact_array(n) else n, (rule, x))
        learned = single[0]
        for where in known_arrays(learned, x).values():
            learned = mbdl.learn(learned, where)
        for candidate in (single[0], learned):
            assert {leaf.dtype for leaf in jax.tree.leaves(candidate(single[1]))} == {np.dtype("float32")}
            assert all(n.dtype == jnp.float32 for n in jax.tree.leaves(candidate) if eqx.is_inexact_array(n))


@every_differentiable_rule
def test_gradients_are_finite_and_match_central_differences(make):
    with jax.enable_x64(True):
        rule, x = make()
        names = known_arrays(rule, x)
        for where in names.values():
            rule = mbdl.learn(rule, where)
        learned, rest = core.partition(rule)
        slope = jax.grad(lambda learned: risk(core.combine(learned, rest), x))(learned)
        assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(slope))
        leaves, structure = jax.tree.flatten(learned)
        keys = jax.random.split(jax.random.key(0), len(leaves))
        direction = structure.unflatten(
            [jax.random.normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)]
        )
        step = 1e-6

        def along(t):
            return risk(core.combine(jax.tree.map(lambda a, d: a + t * d, learned, direction), rest), x)

        numeric = (along(step) - along(-step)) / (2 * step)
        exact = sum(jnp.sum(a * b) for a, b in zip(jax.tree.leaves(slope), jax.tree.leaves(direction), strict=True))
        np.testing.assert_allclose(exact, numeric, rtol=1e-4, atol=1e-6 * abs(float(risk(rule, x))))


@pytest.mark.parametrize("name", sorted(NONDIFFERENTIABLE))
def test_what_has_no_derivative_raises_for_every_array(name):
    rule, x = RULES[name]()
    for where in known_arrays(rule, x).values():
        with pytest.raises(TypeError, match="has no derivative here"):
            gradient(mbdl.learn(rule, where), x)


@every_rule
def test_new_values_cost_no_new_trace(make):
    rule, x = make()
    rule(x)
    before = core.rule._run._cache_size()
    other = jax.tree.map(lambda n: n * 0.99 if eqx.is_inexact_array(n) else n, rule)
    other(numbers(lambda leaf: leaf * 1.01, x))
    make()[0](x)
    assert core.rule._run._cache_size() == before


@pytest.mark.parametrize("make", TUNABLE.values(), ids=TUNABLE.keys())
def test_hyperparameters_have_no_gradient_through_solve(make):
    solver, x = make()
    learned = mbdl.learn(solver, lambda r: r.hyperparameters())
    trained, rest = core.partition(learned)
    with pytest.raises(TypeError, match="has no derivative here"):
        jax.grad(lambda t: jnp.sum(core.combine(t, rest).solve(x, throw=False).decision))(trained)


@every_rule
def test_input_that_is_not_finite_raises_at_once_and_not_under_vmap(make):
    rule, x = make()
    bad = numbers(lambda leaf: leaf.at[(0,) * leaf.ndim].set(jnp.nan), x)
    with pytest.raises(ValueError, match="the input is not valid"):
        rule(bad)
    xs = jax.tree.map(lambda good, bad: jnp.stack([good, bad]), x, bad)
    close(jax.tree.map(lambda leaf: leaf[0], jax.vmap(rule)(xs)), rule(x), scale=10)


@every_rule
def test_a_saved_rule_is_the_rule(make, tmp_path):
    rule, x = make()
    mbdl.save(tmp_path / "rule.mbdl", rule)
    restored = mbdl.load(tmp_path / "rule.mbdl")
    assert jax.tree.structure(restored) == jax.tree.structure(rule)
    jax.tree.map(np.testing.assert_array_equal, restored(x), rule(x))
