"""Policies that are stated in CVXPY, against CVXPY with Clarabel, and central differences."""

import cvxpy as cp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from control.cvxpy_problems import PRECISE, PROBLEMS

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

    @jax.jit
    def total(learned, xs):
        decided = at_once(core.combine(learned, rest), xs)
        return jnp.sum(weights * jnp.sin(decided)), decided

    (_, decided), slopes = jax.jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True))(learned, xs)
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
        return total(*moved)[0]

    exact = sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(slopes), direction, strict=True))
    # The difference of two values of size one, rounded to 1e-16 and solved to 1e-10, over 2e-6.
    np.testing.assert_allclose(exact, (along(step) - along(-step)) / (2 * step), rtol=1e-4, atol=1e-4)
    assert all(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(slopes))
