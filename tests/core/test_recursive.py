"""Recursive rules: whole sequences, streams and blocks, and what they say of input and output that is not finite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core.toys import Growth, Smoothing

import mbdl
from mbdl import core

XS = jnp.asarray([1.0, -2.0, 4.0, 0.5, 3.0])


def by_hand(forgetting, xs):
    level, outputs = 0.0, []
    for x in np.asarray(xs, float):
        level = forgetting * level + (1 - forgetting) * x
        outputs.append(level)
    return np.array(outputs)


def test_a_sequence_a_stream_and_blocks_are_the_recursion():
    rule = Smoothing(0.75)
    expected = by_hand(0.75, XS)
    np.testing.assert_allclose(rule(XS), expected, rtol=1e-6)
    memory, outputs = rule.start(), []
    for x in XS:
        memory, output = rule.advance(memory, x)
        outputs.append(output)
    np.testing.assert_allclose(jnp.stack(outputs), expected, rtol=1e-6)
    first = rule.run(XS[:2])
    second = rule.run(XS[2:], first.memory)
    np.testing.assert_allclose(jnp.concatenate([first.output, second.output]), expected, rtol=1e-6)
    assert bool(second.finite)
    assert int(second.diverged_at) == -1
    np.testing.assert_allclose(second.memory, expected[-1], rtol=1e-6)


def test_a_course_goes_on_from_a_stream():
    rule = Smoothing(0.75)
    memory, _ = rule.advance(rule.start(), XS[0])
    np.testing.assert_allclose(rule.run(XS[1:], memory).output, by_hand(0.75, XS)[1:], rtol=1e-6)


def test_it_is_learned_and_differentiated_through_time(x64):
    xs = XS.astype(float)
    rule = mbdl.learn(Smoothing(0.75), lambda r: r.forgetting, constraint=mbdl.interval(0.0, 1.0))
    np.testing.assert_allclose(rule(xs), by_hand(0.75, xs), rtol=1e-10)
    memory, _ = rule.advance(rule.start(), xs[0])  # resolved, as a call is
    np.testing.assert_allclose(memory, 0.25, rtol=1e-10)
    slope = jax.grad(lambda a: jnp.sum(Smoothing(a)(xs)))(0.75)
    numeric = (by_hand(0.75 + 1e-6, xs).sum() - by_hand(0.75 - 1e-6, xs).sum()) / 2e-6
    np.testing.assert_allclose(slope, numeric, rtol=1e-8)
    by_blocks = jax.grad(
        lambda a: (
            jnp.sum(Smoothing(a).run(xs[2:], Smoothing(a).run(xs[:2]).memory).output)
            + jnp.sum(Smoothing(a).run(xs[:2]).output)
        )
    )(0.75)
    np.testing.assert_allclose(by_blocks, numeric, rtol=1e-8)


def test_where_it_diverged():
    rule = Growth(1e15)  # 1e15, 1e30, then beyond 3.4e38 in float32
    course = rule.run(jnp.ones(5), throw=False)
    assert int(course.diverged_at) == 2
    assert not bool(course.finite)
    assert bool(course.status == mbdl.Status.diverged)
    assert bool(rule.run(jnp.ones(2)).status == mbdl.Status.complete)
    np.testing.assert_array_equal(np.isfinite(course.output["level"]), [True, True, False, False, False])
    message = "Growth: the decision is not finite although the input is valid: first at step 2 of 5. The rule diverged"
    with pytest.raises(ValueError, match=message):
        rule.run(jnp.ones(5))
    with pytest.raises(ValueError, match=message):
        rule(jnp.ones(5))
    memory = rule.run(jnp.ones(2)).memory
    with pytest.raises(ValueError, match="the input is valid: The rule diverged"):
        rule.advance(memory, jnp.ones(()))  # one step has no index


def test_under_a_transformation_nothing_raises_and_each_instance_has_its_own_step():
    rule = Growth(1e15)
    xs = jnp.stack([jnp.ones(5), jnp.zeros(5), jnp.array([0.0, 0.0, 1.0, 1.0, 1.0])])
    courses = jax.vmap(lambda x: rule.run(x))(xs)
    np.testing.assert_array_equal(courses.diverged_at, [2, -1, 4])
    np.testing.assert_array_equal(courses.finite, [False, True, False])
    np.testing.assert_array_equal(courses.status == mbdl.Status.diverged, [True, False, True])
    assert int(jax.jit(rule.run)(jnp.ones(5)).diverged_at) == 2


def test_input_that_is_not_finite_raises_even_where_divergence_does_not():
    rule = Smoothing(0.5)
    bad = XS.at[3].set(jnp.nan)
    message = "Smoothing: the input is not valid: 1 of its values are not finite"
    for call in (rule, rule.run, lambda xs: rule.run(xs, throw=False), lambda xs: rule.run(xs, rule.start())):
        with pytest.raises(ValueError, match=message):
            call(bad)
    with pytest.raises(ValueError, match=message):
        rule.advance(rule.start(), jnp.nan)


@pytest.mark.parametrize("xs", [jnp.asarray(1.0), jnp.zeros(0), {}, {"a": jnp.ones(3), "b": jnp.ones(2)}])
def test_what_has_no_time_axis_raises(xs):
    with pytest.raises(ValueError, match="toy: expected arrays with one leading time axis of at least one step"):
        core.time_steps(xs, "toy")


def test_the_message_names_the_shapes():
    with pytest.raises(ValueError, match=r"Smoothing: .* shapes \{'': \(\)\}. Give one sequence \[time ...\]"):
        Smoothing(0.5)(1.0)
    with pytest.raises(ValueError, match=r"\{\"\['a'\]\": \(3,\), \"\['b'\]\": \(2, 4\)\}"):
        core.time_steps({"a": jnp.ones(3), "b": jnp.ones((2, 4))}, "toy")


def test_all_arrays_of_a_tree_share_the_time_axis():
    assert core.time_steps({"a": jnp.ones((4, 2)), "b": np.ones(4)}, "toy") == 4


def test_the_first_bad_step_of_outputs():
    outputs = {"a": jnp.ones((4, 2)).at[2, 1].set(jnp.inf), "b": jnp.ones(4).at[3].set(jnp.nan)}
    assert core.first_bad_step(outputs) == "first at step 2 of 4. "
    # Nothing to say where all is finite, where there is no common time axis, and of nothing.
    for quiet in ({"a": jnp.ones(4)}, {"a": jnp.ones(4), "b": jnp.ones(3)}, jnp.asarray(jnp.nan), None):
        assert core.first_bad_step(quiet) == ""


def test_new_values_and_a_new_memory_cost_no_new_trace():
    rule = Smoothing(0.5)
    memory = rule.start()
    for call in (lambda r, m: r.advance(m, XS[0]), lambda r, m: r.run(XS, m), lambda r, m: r(XS)):
        call(rule, memory)
        before = core.rule._run._cache_size()
        call(Smoothing(0.6), memory + 1)
        assert core.rule._run._cache_size() == before
