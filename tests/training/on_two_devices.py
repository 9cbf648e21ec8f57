"""Data parallelism on two devices of one process; run by `test_sharding.py`, since JAX counts its devices once."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh
from training.processes import trained
from training.toys import affine, pairs

import mbdl
from mbdl import control
from mbdl.training import AbstractExampleRisk, fit, losses, supervised
from mbdl.training.sharding import local_mesh

KEY = jax.random.key(3)


def mesh():
    found = local_mesh(8)
    assert found is not None
    assert found.size == 2
    return found


def close(a, b):
    np.testing.assert_allclose(a.history.losses, b.history.losses, rtol=2e-5)
    np.testing.assert_allclose(a.history.validation, b.history.validation, rtol=2e-5)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), a.rule, b.rule)


def test_a_mesh_changes_nothing_but_rounding():
    alone, shared = trained(), trained(mesh())
    close(shared, alone)
    # What is learned can be used as if one device had found it.
    assert len(shared.rule.matrix.raw.sharding.device_set) == 1
    assert np.isfinite(shared.rule(jnp.ones(3))).all()


def test_the_runs_of_a_closed_loop_are_shared():
    system = control.LinearSystem(jnp.eye(1), jnp.eye(1), process_noise=jnp.eye(1))
    cost = control.QuadraticCost(jnp.eye(1), jnp.eye(1))
    policy = mbdl.learn(control.LinearFeedback(jnp.zeros((1, 1))), lambda p: p.gain)
    risk = control.closed_loop(system, cost, horizon=5, runs=6)
    held = control.closed_loop(system, cost, horizon=5, runs=3, key=jax.random.key(1))  # three runs are not shared
    how = {"steps": 8, "key": KEY, "validation": held, "validate_every": 4}
    close(fit(policy, risk, optax.adam(0.1), mesh=mesh(), **how), fit(policy, risk, optax.adam(0.1), **how))


def test_what_is_random_of_an_example_does_not_depend_on_the_mesh():
    class Noisy(AbstractExampleRisk):
        data: jax.Array

        def values(self, rule, batch, key):
            return jax.vmap(lambda i: jnp.sum((rule(jax.random.normal(jax.random.fold_in(key, i), (3,))) - 1) ** 2))(
                batch
            )

    risk = Noisy(jnp.arange(8))
    how = {"steps": 5, "key": KEY, "batch_size": 4, "validation": risk, "validate_every": 5}
    close(fit(affine(), risk, optax.adam(0.1), mesh=mesh(), **how), fit(affine(), risk, optax.adam(0.1), **how))


def test_an_interrupted_training_goes_on(tmp_path):
    def crash(step, metrics, rule):
        if step == 6:
            raise KeyError(step)

    whole = trained(mesh())
    with pytest.raises(KeyError):
        trained(mesh(), checkpoint=tmp_path, checkpoint_every=2, callbacks=[crash])
    resumed = trained(mesh(), checkpoint=tmp_path, resume=True)
    np.testing.assert_array_equal(resumed.history.losses, whole.history.losses)


def test_what_cannot_be_shared_is_refused():
    risk = supervised(pairs(), losses.mse)
    with pytest.raises(ValueError, match="2 devices of the mesh cannot share a batch of 5 examples equally"):
        fit(affine(), risk, steps=1, key=KEY, batch_size=5, mesh=mesh())
    with pytest.raises(ValueError, match="Supervised was made without data and got no batch"):
        fit(affine(), supervised(None, losses.mse), steps=1, key=KEY, mesh=mesh())
    with pytest.raises(TypeError, match="mean over examples"):
        fit(affine(), lambda rule, batch, key: jnp.sum(rule.matrix**2), steps=1, key=KEY, mesh=mesh())


def test_a_local_mesh_divides_the_examples():
    assert local_mesh(9) is None
    assert local_mesh(6) is None  # three for each are not worth it
    assert local_mesh(8) == Mesh(np.array(jax.local_devices()[:2]), ("examples",))
