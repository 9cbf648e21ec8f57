"""What has no derivative raises, and what is not read is found."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core import toys

from mbdl.core import nondifferentiable, reads

GUARDED = {"a": jnp.asarray(2.0), "n": jnp.asarray(3), "f": jnp.tanh}


def guard(value):
    return nondifferentiable(value, "the hard decision", "Use the soft one.")


def test_it_is_the_identity():
    same = jax.jit(lambda v: guard({**v, "f": jnp.tanh})["a"])({"a": 2.0, "n": 3})
    assert same == 2
    assert guard(GUARDED)["f"] is jnp.tanh
    np.testing.assert_array_equal(jax.vmap(guard)(jnp.arange(3.0)), jnp.arange(3.0))


@pytest.mark.parametrize(
    "differentiate",
    [
        jax.grad,
        jax.jacfwd,
        lambda f: jax.jit(jax.grad(f)),
        lambda f: lambda v: jax.jvp(f, (v,), (v,)),
        lambda f: lambda v: jax.vjp(f, v),
        lambda f: lambda v: jax.vmap(jax.grad(f))(v[None]),
    ],
)
def test_differentiating_it_raises_while_tracing(differentiate):
    with pytest.raises(TypeError, match="the hard decision has no derivative here. Use the soft one."):
        differentiate(lambda v: guard(v) * v)(jnp.asarray(1.0))


def test_other_derivatives_are_not_disturbed():
    assert jax.grad(lambda v: guard(jnp.asarray(3.0)) * v)(1.0) == 3


class TestReads:
    def test_what_is_read(self):
        def function(tree, y):
            return tree["a"] + 0 * y, None

        flags = reads(function, {"a": jnp.ones(2), "b": jnp.ones(3), "c": "text", "f": jnp.tanh}, jnp.ones(2))
        assert flags == ({"a": True, "b": False, "c": False, "f": False}, True)

    def test_what_only_an_unused_result_reads(self):
        def function(a, b):
            _ = a * b
            return a

        assert reads(function, jnp.ones(2), jnp.ones(2)) == (True, False)

    def test_nested_calls_are_looked_into(self):
        @jax.jit
        def inner(a, b, c):
            return a * c, b, jax.nn.relu(c)

        @jax.custom_jvp
        def ruled(a, b):
            return a

        ruled.defjvps(lambda t, *_: t, None)

        def function(a, b, c, d):
            return inner(a, b, c)[0] + ruled(c, d)

        assert reads(function, *[jnp.ones(2)] * 4) == (True, False, True, False)

    def test_loops_and_branches_count_as_reading(self):
        def function(a, b, c):
            total, _ = jax.lax.scan(lambda carry, _: (carry + a, None), b, length=2)
            return jax.lax.cond(total[0] > 0, lambda: c, lambda: total)

        assert reads(function, *[jnp.ones(2)] * 3) == (True, True, True)

    def test_a_rule(self):
        rule = toys.Outer(toys.Descent(toys.matrix()))
        flags, at_state, at_input = reads(lambda r, s, x: r.step(s, x), rule, jnp.ones(3), toys.vector())
        assert (flags.relaxation, flags.inner.A, flags.inner.ridge, flags.inner.unused) == (True, True, True, False)
        assert (at_state, at_input) == (True, True)
