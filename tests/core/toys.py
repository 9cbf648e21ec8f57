"""Small rules that are no part of the library, for the tests of its core."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

import mbdl
from mbdl.core import as_leaf


@mbdl.register
class Shrink(mbdl.DecisionRule):
    """Soft threshold: a rule that does not iterate."""

    weight: jax.Array

    def decide(self, x):
        return jnp.sign(x) * jnp.maximum(jnp.abs(x) - self.weight, 0.0)


@mbdl.register
class Scale(eqx.Module):
    """A linear network: `weight * s`."""

    weight: jax.Array

    def __call__(self, s):
        return self.weight * s


@mbdl.register
class Dense(eqx.Module):
    """A network of two layers on vectors, whose activation is a leaf."""

    first: jax.Array
    second: jax.Array
    activation: Callable[[jax.Array], jax.Array] = jnp.tanh

    def __call__(self, s, *_):
        return self.second @ self.activation(self.first @ s)

    @staticmethod
    def make(key, size=3, width=4):
        one, two = jax.random.split(key)
        return Dense(0.5 * jax.random.normal(one, (width, size)), 0.5 * jax.random.normal(two, (size, width)))


@mbdl.register
class Descent(mbdl.IterativeSolver):
    """Gradient descent on half of |A s - x|^2 + ridge |s|^2, from `start`."""

    A: jax.Array
    step_size: jax.Array
    ridge: jax.Array
    start: jax.Array
    unused: jax.Array

    def __init__(self, A, step_size=0.1, ridge=0.1, *, iterations=5):
        self.A = A
        self.step_size = as_leaf(step_size)
        self.ridge = as_leaf(ridge)
        self.start = jnp.zeros(A.shape[1], A.dtype)
        self.unused = as_leaf(1.0)
        self.iterations = iterations

    def init(self, x):
        return self.start

    def step(self, s, x):
        return s - self.step_size * (self.A.T @ (self.A @ s - x) + self.ridge * s)

    def decision(self, s):
        return s

    def shift(self, s, delta):
        return s + delta

    def hyperparameters(self):
        return (self.step_size,)


@mbdl.register
class Proximal(mbdl.IterativeSolver):
    """Proximal gradient with any callable in the place of the prox."""

    A: jax.Array
    prox: Callable[[jax.Array], jax.Array]
    step_size: jax.Array

    def __init__(self, A, prox, step_size=0.1, *, iterations=4):
        self.A, self.prox, self.step_size, self.iterations = A, prox, as_leaf(step_size), iterations

    def init(self, x):
        return jnp.zeros(self.A.shape[1], self.A.dtype)

    def step(self, s, x):
        return self.prox(s - self.step_size * self.A.T @ (self.A @ s - x))

    def decision(self, s):
        return s

    def shift(self, s, delta):
        return s + delta


@mbdl.register
class Outer(mbdl.IterativeSolver):
    """An outer solver each of whose steps runs an inner solver from its own target, and moves towards it."""

    inner: Descent
    relaxation: jax.Array

    def __init__(self, inner, relaxation=0.5, *, iterations=3):
        self.inner, self.relaxation, self.iterations = inner, as_leaf(relaxation), iterations

    def init(self, x):
        return jnp.zeros(self.inner.A.shape[1], self.inner.A.dtype)

    def step(self, s, x):
        return s + self.relaxation * (self.inner(x - 0.1 * (self.inner.A @ s)) - s)

    def decision(self, s):
        return s


class Mixed(NamedTuple):
    """A state with leaves of many kinds."""

    point: dict[str, jax.Array]
    count: jax.Array
    flag: jax.Array


@mbdl.register
class Complex(mbdl.IterativeSolver):
    """A damped complex soft threshold, whose state is a named tuple of a dict of complex numbers and of integers."""

    weight: jax.Array
    damping: jax.Array

    def __init__(self, weight=0.3, damping=0.5, *, iterations=4):
        self.weight, self.damping, self.iterations = as_leaf(weight), as_leaf(damping), iterations

    def init(self, x):
        return Mixed({"z": jnp.zeros_like(x)}, jnp.zeros((), jnp.int32), jnp.asarray(False))

    def step(self, state, x):
        z = state.point["z"]
        target = (1 - self.damping) * z + self.damping * (x - 0.4 * jnp.conj(z))
        size = jnp.abs(target)
        safe = jnp.where(size > 0, size, 1.0)
        shrunk = target * jnp.maximum(1 - self.damping * self.weight / safe, 0.0)
        return Mixed({"z": shrunk}, state.count + 1, ~state.flag)

    def decision(self, state):
        return state.point["z"]


@mbdl.register
class Smoothing(mbdl.RecursiveRule):
    """Exponential smoothing of a series of numbers."""

    forgetting: jax.Array

    def init(self):
        return jnp.zeros((), self.forgetting.dtype)

    def step(self, memory, x):
        memory = self.forgetting * memory + (1 - self.forgetting) * x
        return memory, memory


@mbdl.register
class Growth(mbdl.RecursiveRule):
    """A number that is multiplied by a factor at each input that is not zero."""

    factor: jax.Array

    def init(self):
        return jnp.ones((), self.factor.dtype)

    def step(self, memory, x):
        memory = jnp.where(x == 0, memory, memory * self.factor)
        return memory, {"level": memory, "input": x}


@mbdl.register
class Blur(eqx.Module):
    """A network with a convolution, on signals."""

    kernel: jax.Array

    def __call__(self, s):
        return jax.lax.conv_general_dilated(s[None, None], self.kernel[None, None], (1,), "SAME")[0, 0]


def matrix(rows: int = 4, columns: int = 3, seed: int = 0, dtype: Any = jnp.float32) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), (rows, columns), dtype)


def vector(size: int = 4, seed: int = 1, dtype: Any = jnp.float32) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), (size,), dtype)


def losses(rule: Any, x: Any) -> Any:
    """A scalar loss of what is learned in a rule, as a function of it, and what is learned."""
    learned, rest = mbdl.core.partition(rule)

    def loss(learned):
        decision = mbdl.core.combine(learned, rest)(x)
        return jnp.sum(jnp.sin(jnp.arange(1.0, decision.size + 1) * decision))

    return loss, learned


def gradient(rule: Any, x: Any) -> list[jax.Array]:
    """The gradients of a loss with respect to what is learned in a rule, as a list."""
    loss, learned = losses(rule, x)
    return jax.tree.leaves(jax.grad(loss)(learned))


def dtypes(tree: Any) -> set[str]:
    return {leaf.dtype.name for leaf in jax.tree.leaves(tree) if eqx.is_inexact_array(leaf)}
