"""`fit`: its steps, what it trains, and what it refuses."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from training.toys import Affine, Shrinking, affine, pairs, same

from mbdl.core import Learned, freeze, learn, partition, resolve
from mbdl.training import NonFiniteError, deep_supervision, fit, losses, supervised
from mbdl.training.batches import order_of_epoch, seed_of

XS, TARGETS = pairs()
RISK = supervised((XS, TARGETS), losses.mse)
KEY = jax.random.key(7)


def by_hand(optimiser, steps, batches):
    """Training of the toy rule written out: autograd of the formula, and optax."""
    matrix, state = jnp.eye(3), optimiser.init(jnp.eye(3))
    values = []
    for k in range(steps):
        xs, targets = batches(k)
        value, slope = jax.value_and_grad(lambda m, xs=xs, targets=targets: jnp.mean((xs @ m.T - targets) ** 2))(matrix)
        updates, state = optimiser.update(slope, state, matrix)
        matrix = optax.apply_updates(matrix, updates)
        values.append((float(value), float(jnp.linalg.norm(slope))))
    return matrix, np.array(values)


@pytest.mark.parametrize("optimiser", [optax.sgd(0.1, momentum=0.9), optax.adamw(0.05, weight_decay=0.3)])
def test_full_batch_steps_are_optax_steps(optimiser):
    result = fit(affine(), RISK, optimiser, steps=7, batch_size=20, key=KEY)
    matrix, values = by_hand(optimiser, 7, lambda k: (XS, TARGETS))
    np.testing.assert_allclose(resolve(result.rule).matrix, matrix, rtol=2e-5)
    np.testing.assert_allclose(result.history.losses, values[:, 0], rtol=1e-5)
    np.testing.assert_allclose(result.history.gradient_norms, values[:, 1], rtol=1e-5)
    assert result.history.steps.tolist() == [1, 2, 3, 4, 5, 6, 7]


def test_clipping_is_by_the_global_norm():
    optimiser = optax.sgd(0.1)
    result = fit(affine(), RISK, optimiser, steps=3, batch_size=20, clip=0.25, key=KEY)
    matrix, values = by_hand(optax.chain(optax.clip_by_global_norm(0.25), optimiser), 3, lambda k: (XS, TARGETS))
    assert values[:, 1].min() > 0.25
    np.testing.assert_allclose(resolve(result.rule).matrix, matrix, rtol=2e-5)
    np.testing.assert_allclose(result.history.gradient_norms, values[:, 1], rtol=1e-5)


def test_the_default_optimiser_is_clipped_adam_on_a_cosine():
    result = fit(affine(), RISK, steps=30, batch_size=20, key=KEY)
    adam = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(1e-3, 30)))
    matrix, _ = by_hand(adam, 30, lambda k: (XS, TARGETS))
    np.testing.assert_allclose(resolve(result.rule).matrix, matrix, atol=1e-6)


def test_an_epoch_sees_each_example_once_and_epochs_differ():
    xs = np.arange(10.0, dtype=np.float32)[:, None]

    def noting(rule, batch, key):
        return jnp.mean(jax.vmap(rule)(batch) ** 2)

    # A learning rate of zero and a loss that tells the batch: the mean of squares of three of the numbers 0 … 9.
    rule = learn(Affine(jnp.ones((1, 1)), jnp.zeros(1)), lambda r: r.matrix)
    result = fit(rule, noting, optax.sgd(0.0), data=xs, batch_size=5, steps=12, key=KEY)
    sums = np.rint(5 * result.history.losses).astype(int).reshape(6, 2)
    assert (sums.sum(axis=1) == 285).all()
    assert len(set(sums[:, 0].tolist())) > 1
    other = fit(rule, noting, optax.sgd(0.0), data=xs, batch_size=5, steps=12, key=jax.random.key(8))
    assert not np.array_equal(other.history.losses, result.history.losses)


@pytest.mark.parametrize(
    "key", [KEY, jax.random.PRNGKey(1), jax.random.key(1, impl="rbg")], ids=["typed", "old", "rbg"]
)
def test_orders_are_permutations_that_depend_on_key_and_epoch(key):
    orders = [order_of_epoch(seed_of(k), epoch, 50) for k in jax.random.split(key) for epoch in range(40)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 80
    # Each example comes first about as often as any other: 4000 draws, five standard deviations.
    first = np.bincount([order_of_epoch(seed_of(key), epoch, 50)[0] for epoch in range(4000)], minlength=50)
    assert np.abs(first - 80).max() < 5 * np.sqrt(80)


def test_minibatches_are_those_of_a_hand_made_loop():
    optimiser = optax.sgd(0.1)
    result = fit(affine(), RISK, optimiser, steps=9, batch_size=8, key=KEY)
    order_key = jax.random.split(KEY, 3)[1]

    def batch(k):
        order = order_of_epoch(seed_of(order_key), k // 2, 20)
        chosen = order[8 * (k % 2) : 8 * (k % 2) + 8]
        return XS[chosen], TARGETS[chosen]

    matrix, values = by_hand(optimiser, 9, batch)
    np.testing.assert_allclose(result.history.losses, values[:, 0], rtol=1e-5)
    np.testing.assert_allclose(resolve(result.rule).matrix, matrix, rtol=2e-5)


def test_weight_decay_does_not_touch_what_is_known_or_frozen():
    rule = learn(Affine(jnp.full((3, 3), 2.0), jnp.ones(3)), lambda r: r.matrix)
    result = fit(rule, lambda rule, batch, key: jnp.zeros(()), optax.adamw(0.1, weight_decay=0.5), steps=4, key=KEY)
    np.testing.assert_array_equal(resolve(result.rule).offset, np.ones(3))
    np.testing.assert_allclose(resolve(result.rule).matrix, 2.0 * 0.95**4, rtol=1e-6)
    both = freeze(learn(rule, lambda r: r.offset), lambda r: r.offset)
    result = fit(both, lambda rule, batch, key: jnp.zeros(()), optax.adamw(0.1, weight_decay=0.5), steps=4, key=KEY)
    np.testing.assert_array_equal(resolve(result.rule).offset, np.ones(3))
    assert isinstance(result.rule.offset, Learned)
    assert result.rule.offset.frozen


def test_the_optimiser_sees_only_what_is_learned():
    sizes = []

    def init(learned):
        sizes.append(sum(leaf.size for leaf in jax.tree.leaves(learned)))
        return optax.sgd(0.1).init(learned)

    rule = learn(Affine(jnp.zeros((3, 3)), jnp.zeros(3)), lambda r: r.offset)
    fit(rule, RISK, optax.GradientTransformation(init, optax.sgd(0.1).update), steps=1, key=KEY)
    assert sizes == [3]


def test_the_given_rule_is_left_alone():
    rule = affine()
    before = jax.tree.map(np.array, partition(rule)[0])
    fit(rule, RISK, optax.sgd(0.1), steps=3, key=KEY)
    assert same(before, partition(rule)[0])


def test_both_styles_of_key_and_equal_runs():
    typed = fit(affine(), RISK, optax.sgd(0.1), steps=5, batch_size=4, key=jax.random.key(3))
    legacy = fit(affine(), RISK, optax.sgd(0.1), steps=5, batch_size=4, key=jax.random.PRNGKey(3))
    assert same(typed.rule, legacy.rule)


def test_a_risk_without_data_gets_a_key_for_each_step():
    def risk(rule, batch, key):
        assert batch is None
        return jnp.mean((rule(jnp.ones(3)) - jax.random.normal(key, (3,))) ** 2)

    result = fit(affine(), risk, optax.sgd(0.0), steps=40, key=KEY)
    keys = jax.vmap(lambda k: jax.random.fold_in(jax.random.split(KEY, 3)[0], k))(jnp.arange(40))
    draws = jax.vmap(lambda k: jax.random.normal(k, (3,)))(keys)
    np.testing.assert_allclose(result.history.losses, np.mean((1 - np.asarray(draws)) ** 2, axis=1), rtol=1e-5)


def test_another_risk_is_a_pytree_whose_arrays_are_arguments():
    class Weighted(eqx.Module):
        weight: jax.Array

        def __call__(self, rule, batch, key):
            return self.weight * jnp.mean((jax.vmap(rule)(batch[0]) - batch[1]) ** 2)

    result = fit(
        affine(), Weighted(jnp.float32(2.0)), optax.sgd(0.05), data=(XS, TARGETS), batch_size=20, steps=3, key=KEY
    )
    same_as = fit(affine(), RISK, optax.sgd(0.1), batch_size=20, steps=3, key=KEY)
    np.testing.assert_allclose(resolve(result.rule).matrix, resolve(same_as.rule).matrix, rtol=1e-6)


def test_deep_supervision_trains():
    rule = learn(Shrinking(0.1, iterations=3), lambda r: r.step_size)
    result = fit(rule, deep_supervision((XS, XS), losses.mse, np.ones(3)), optax.adam(0.1), steps=60, key=KEY)
    assert float(resolve(result.rule).step_size) == pytest.approx(1.0, abs=0.1)


@pytest.mark.usefixtures("x64")
def test_a_line_search_gets_the_value_function():
    data = tuple(jnp.asarray(array, jnp.float64) for array in (XS, TARGETS))
    rule = learn(Affine(jnp.eye(3, dtype=jnp.float64), jnp.zeros(3, jnp.float64)), lambda r: (r.matrix, r.offset))
    result = fit(rule, supervised(data, losses.mse), optax.lbfgs(), steps=30, batch_size=20, key=KEY)
    design = np.hstack([XS.astype(np.float64), np.ones((20, 1))])
    solution = np.linalg.lstsq(design, TARGETS.astype(np.float64), rcond=None)[0]
    np.testing.assert_allclose(resolve(result.rule).matrix, solution[:3].T, atol=1e-6)
    assert resolve(result.rule).matrix.dtype == jnp.float64


@pytest.mark.usefixtures("x64")
def test_single_precision_stays_single_precision():
    result = fit(affine_of(jnp.float32), RISK, optax.adam(1e-2), steps=3, key=KEY)
    assert {leaf.dtype for leaf in jax.tree.leaves(result.rule)} == {jnp.dtype(jnp.float32)}


def affine_of(dtype):
    return learn(Affine(jnp.eye(3, dtype=dtype), jnp.zeros(3, dtype)), lambda r: r.matrix)


def test_a_complex_leaf_descends():
    target = np.array([[1.0 + 2.0j]], np.complex64)
    rule = learn(Affine(jnp.zeros((1, 1), jnp.complex64), jnp.zeros(1, jnp.complex64)), lambda r: r.matrix)
    risk = supervised((np.ones((4, 1), np.complex64), np.repeat(target, 4, axis=0)), losses.mse)
    result = fit(rule, risk, optax.sgd(0.4), steps=60, key=KEY)
    np.testing.assert_allclose(resolve(result.rule).matrix, target, rtol=1e-4)


def test_history_reads_as_a_sentence():
    history = fit(affine(), RISK, steps=4, validation=(XS, TARGETS), key=KEY).history
    assert str(history).startswith("4 steps in ")
    assert "best validation" in str(history)


FIT = functools.partial(fit, affine(), RISK, key=KEY)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fit(affine(learned=False), RISK, steps=1, key=KEY), ValueError, "nothing in this rule is learned"),
        (lambda: FIT(steps=0), ValueError, "steps must be an integer ≥ 1"),
        (lambda: FIT(steps=2.0), ValueError, "steps must be an integer"),
        (lambda: FIT(steps=1, batch_size=21), ValueError, "more than the 20 examples"),
        (lambda: FIT(steps=1, batch_size=0), ValueError, "batch_size must be"),
        (lambda: FIT(steps=1, patience=2), ValueError, "need validation="),
        (lambda: FIT(steps=1, validate_every=2), ValueError, "need validation="),
        (lambda: FIT(steps=1, validation=(XS, TARGETS), patience=0), ValueError, "patience must be"),
        (lambda: FIT(steps=1, resume=True), ValueError, "needs checkpoint="),
        (lambda: FIT(steps=1, checkpoint_every=0), ValueError, "checkpoint_every must be"),
        (lambda: FIT(1e-3, steps=1), TypeError, "optimiser must be an optax transformation"),
        (lambda: FIT(steps=1, data=("a", XS)), ValueError, "holds arrays only"),
        (lambda: FIT(steps=1, data=3), TypeError, "iterable of batches"),
        (lambda: FIT(steps=1, data=[XS, TARGETS]), ValueError, "Give arrays as a tuple"),
        (lambda: FIT(steps=1, clip=0.0), ValueError, "clip must be > 0"),
        (lambda: FIT(steps=1, non_finite_fraction=1.5), ValueError, "between 0 and 1"),
        (lambda: FIT(steps=1, non_finite_limit=0), ValueError, "non_finite_limit must be"),
        (lambda: fit(affine(), RISK, steps=1, key=0), TypeError, "must be one JAX random key"),
        (lambda: fit(affine(), RISK, steps=1, key=jax.random.split(KEY)), TypeError, "must be one JAX random key"),
        (lambda: FIT(steps=1, data=[(XS, TARGETS)], batch_size=4), ValueError, "is for data that are arrays"),
        (lambda: FIT(steps=1, data=(XS, TARGETS[:3])), ValueError, "one leading axis"),
        (lambda: FIT(steps=1, validation=(XS, TARGETS[:3])), ValueError, "one leading axis"),
        (lambda: FIT(steps=1, validation=iter([(XS, TARGETS)])), ValueError, "no iterator"),
        (
            lambda: fit(affine(), lambda rule, batch, key: jax.vmap(rule)(XS), steps=1, key=KEY),
            ValueError,
            r"scalar, but this one returned shape \(20, 3\)",
        ),
    ],
)
def test_what_is_given_wrong_is_an_error(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_counts_may_be_numpy_integers(tmp_path):
    result = FIT(
        steps=np.int64(4),
        batch_size=np.int32(5),
        validation=(XS, TARGETS),
        patience=np.int64(9),
        checkpoint=tmp_path / "run",
    )
    assert len(result.history.steps) == 4


def test_a_key_is_never_assumed():
    with pytest.raises(TypeError, match="key"):
        fit(affine(), RISK, steps=1)


def test_errors_are_of_the_package():
    assert issubclass(NonFiniteError, ArithmeticError)
