"""The one loop: a scan, unrolled where its body holds a convolution on a CPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core import toys

import mbdl
from mbdl.core import holds_convolution, loop

BLUR = toys.Blur(jnp.asarray([0.2, 0.5, 0.3]))
S = jnp.linspace(-1.0, 1.0, 8)


def primitives(function, *arguments):
    return [e.primitive.name for e in mbdl.core.loops.equations(jax.make_jaxpr(function)(*arguments).jaxpr)]


def blurred(s, xs=None, **options):
    return loop(lambda s, x: (BLUR(s), s if x is None else s * x), s, xs, length=3, **options)


def plain(s, xs=None, **options):
    return loop(lambda s, x: (0.5 * s + 1, s if x is None else s * x), s, xs, length=3, **options)


def test_convolutions_are_unrolled_on_a_cpu_and_scanned_elsewhere(monkeypatch):
    on_cpu = primitives(blurred, S)
    assert on_cpu.count("conv_general_dilated") == 3
    assert "scan" not in on_cpu
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    elsewhere = primitives(lambda s: blurred(s), S)
    assert elsewhere.count("conv_general_dilated") == 1
    assert "scan" in elsewhere


def test_other_bodies_are_scanned():
    assert primitives(plain, S).count("scan") == 1


def test_a_solver_whose_network_convolves_is_unrolled():
    rule = mbdl.substitute(toys.Proximal(jnp.eye(8), toys.Shrink(0.1)), lambda r: r.prox, BLUR)
    assert primitives(rule, S).count("conv_general_dilated") == 4
    hidden = toys.Proximal(jnp.eye(8), toys.Proximal(jnp.eye(8), BLUR, iterations=2), iterations=3)
    assert "scan" not in primitives(hidden, S)
    untied = mbdl.unfold(rule, 4, untie=lambda r: r.prox)
    np.testing.assert_allclose(untied(S), rule(S), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(toys.gradient(untied, S)[0].sum(0), toys.gradient(rule, S)[0], rtol=1e-4)


@pytest.mark.parametrize("convolves", [False, True])
def test_a_nested_body_is_traced_once(convolves):
    """A body that is looked into and traced again, at each level, would be traced eight times."""
    traced = []

    def innermost(s, _):
        traced.append(s)
        return (BLUR(s) if convolves else jnp.sin(s)), None

    def nested(s, levels=3):
        body = innermost if levels == 1 else lambda s, _: (nested(s, levels - 1), None)
        return loop(body, s, length=2)[0]

    found = jax.jit(nested)(S)
    assert len(traced) == 1
    expected = S
    for _ in range(8):
        expected = BLUR(expected) if convolves else jnp.sin(expected)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_carry_takes_the_type_that_its_body_gives_or_is_refused():
    assert loop(lambda total, x: (total + x, None), 0, jnp.array([0.5, 1.0]), length=2)[0] == 1.5
    with pytest.raises(TypeError, match="carry"):
        loop(lambda s, _: (s[:4], None), S, length=2)


def test_convolutions_are_found_in_calls_loops_and_branches():
    def nested(s):
        inner = jax.jit(lambda s: jax.lax.cond(s[0] > 0, lambda s: BLUR(s), lambda s: s, s))
        return jax.lax.fori_loop(0, 2, lambda _, s: inner(s), s)

    assert holds_convolution(nested, S)
    assert holds_convolution(jax.grad(lambda s: jnp.sum(BLUR(s) ** 2)), S)
    assert holds_convolution(jax.checkpoint(lambda s: BLUR(s)), S)
    assert not holds_convolution(lambda s, n: s * n, S, 3)


@pytest.mark.parametrize("run", [blurred, plain])
@pytest.mark.parametrize("options", [{}, {"rematerialise": True}, {"reverse": True}])
def test_values_and_gradients_are_those_of_scan(run, options, monkeypatch):
    xs, weights = jnp.arange(24.0).reshape(3, 8), jnp.arange(1.0, 4.0)[:, None]

    def scalar(s, xs):
        carry, ys = run(s, xs, **options)
        return jnp.sum(carry**2) + jnp.sum(weights * jnp.sin(ys))

    here = jax.value_and_grad(scalar, (0, 1))(S, xs)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    scanned = jax.value_and_grad(lambda s, xs: scalar(s, xs), (0, 1))(S, xs)
    for one, two in zip(jax.tree.leaves(here), jax.tree.leaves(scanned), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-5)


def test_rematerialisation_stores_less():
    def body(s, _):
        return jnp.sin(jnp.cos(jnp.exp(-s * s))), None

    def stored(rematerialise):
        def scalar(s):
            return jnp.sum(loop(body, s, length=10, rematerialise=rematerialise)[0])

        _, pullback = jax.vjp(scalar, S)
        return mbdl.core.count(pullback)

    assert stored(True) < stored(False)


@pytest.mark.parametrize("length", [0, 1, 3])
def test_lengths_and_what_is_not_an_array(length):
    xs = {"number": jnp.arange(1.0, length + 1), "function": jnp.sin, "none": None}
    carry, ys = loop(lambda c, x: (c + x["number"], x["function"](c)), jnp.asarray(0.0), xs, length=length)
    np.testing.assert_allclose(carry, sum(range(1, length + 1)))
    np.testing.assert_allclose(ys, np.sin(np.cumsum(np.arange(length))), rtol=1e-5)


@pytest.mark.parametrize("last", [lambda x: x, lambda x: BLUR(x)[0] - BLUR(x)[0] + x])
@pytest.mark.parametrize("length", [0, 1, 3])
def test_in_reverse_each_output_stands_where_its_input_does(last, length):
    xs = jnp.arange(1.0, length + 1)[:, None] * jnp.ones(8)
    carry, ys = loop(lambda c, x: (c + last(x), c), jnp.zeros(8), xs, length=length, reverse=True)
    np.testing.assert_allclose(carry, jnp.sum(xs, 0), rtol=1e-5, atol=1e-5)
    later = np.cumsum(np.asarray(xs)[::-1], 0)[::-1] - np.asarray(xs)
    np.testing.assert_allclose(ys, later, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("body", [lambda c, x: (c + x, c), lambda c, x: (BLUR(c) + x, c)])
@pytest.mark.parametrize("length", [1, 2, 4])
def test_a_stack_of_another_length_is_refused(body, length):
    with pytest.raises(ValueError, match=rf"leading axis of length={length}, got shape \(3,\)"):
        loop(body, S, jnp.arange(3.0), length=length)


def test_weakly_typed_carries():
    carry, _ = loop(lambda c, _: ((c[0] * S[0], c[1] + 1), None), (1.0, 0), length=3)
    np.testing.assert_allclose(carry[0], -1.0)
    assert carry[1] == 3
