"""Small rules and data that the training tests share."""

import jax
import jax.numpy as jnp
import numpy as np

from mbdl.core import DecisionRule, IterativeSolver, learn


class Affine(DecisionRule):
    """s = matrix x + offset."""

    matrix: jax.Array
    offset: jax.Array

    def decide(self, x):
        return self.matrix @ x + self.offset


class Shrinking(IterativeSolver):
    """Gradient descent on ½‖s − x‖² from zero."""

    step_size: jax.Array

    def init(self, x):
        return jnp.zeros_like(x)

    def step(self, state, x):
        return state - self.step_size * (state - x)

    def decision(self, state):
        return state


class Filter(DecisionRule):
    """A convolution with a kernel along the last axis."""

    kernel: jax.Array

    def decide(self, x):
        return jax.lax.conv_general_dilated(x[None, None, :], self.kernel[None, None, :], (1,), "SAME")[0, 0]


def affine(dimension=3, *, learned=True):
    rule = Affine(jnp.eye(dimension), jnp.zeros(dimension))
    return learn(rule, lambda r: r.matrix) if learned else rule


def pairs(examples=20, dimension=3, seed=0, noise=0.1):
    """Contexts and targets of a random affine map."""
    random = np.random.default_rng(seed)
    matrix, offset = random.normal(size=(dimension, dimension)), random.normal(size=dimension)
    xs = random.normal(size=(examples, dimension))
    targets = xs @ matrix.T + offset + noise * random.normal(size=(examples, dimension))
    return xs.astype(np.float32), targets.astype(np.float32)


def same(a, b):
    """Whether two trees have equal arrays, bit for bit."""
    a, b = jax.tree.leaves(a), jax.tree.leaves(b)
    return len(a) == len(b) and all(np.array_equal(x, y, equal_nan=True) for x, y in zip(a, b, strict=True))
