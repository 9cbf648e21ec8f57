# %% [markdown]
# # A rule of one's own
# The power iteration: it finds the direction in which a cloud of points is widest. Three methods make it an iterative
# solver; convergence, gradients, unfolding and saving come with it.

# %%
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

import mbdl


@mbdl.register
class PowerIteration(mbdl.IterativeSolver):
    r"""The first principal direction, $v \leftarrow C v / \|C v\|$ with the covariance $C$.

    A context is a cloud of points `[points dimensions]`, a decision a unit vector. The dimensions are
    scaled by `weights` first.
    """

    weights: Float[Array, " dimensions"]

    def __init__(self, weights: Float[Array, " dimensions"], *, iterations: int = 50):
        self.weights = weights
        self.iterations = iterations

    def init(self, x: Float[Array, "points dimensions"]) -> Float[Array, " dimensions"]:
        return jnp.full(x.shape[1:], x.shape[1] ** -0.5, x.dtype)

    def step(self, state: Float[Array, " dimensions"], x: Float[Array, "points dimensions"]):
        x = (x - jnp.mean(x, axis=0)) * self.weights
        ahead = x.T @ (x @ state)
        return ahead / jnp.linalg.norm(ahead)

    def decision(self, state: Float[Array, " dimensions"]) -> Float[Array, " dimensions"]:
        return state


# %% [markdown]
# A cloud that is wide along a known direction, and one dimension of which a broken sensor makes noisy.

# %%
key, points_key, noise_key = jax.random.split(jax.random.key(0), 3)
direction = jnp.array([0.8, 0.6, 0.0])


def clouds(key, count):
    along, across, sensor = jax.random.split(key, 3)
    points = jax.random.normal(along, (count, 200, 1)) * direction
    points = points + 0.1 * jax.random.normal(across, (count, 200, 3))
    return points.at[:, :, 2].add(1.5 * jax.random.normal(sensor, (count, 200)))


def misaligned(decision, target):
    return 1.0 - jnp.abs(jnp.vdot(decision, target))


xs = clouds(points_key, 64)
targets = jnp.broadcast_to(direction, (64, 3))
rule = PowerIteration(jnp.ones(3))
solution = rule.solve(xs[0])
print("converged:", bool(solution.status == mbdl.Status.converged), "after", int(solution.iterations), "iterations")
print("direction:", [round(float(value), 2) for value in solution.decision])

# %% [markdown]
# As it is, the rule finds the broken sensor. Learn the weights of the dimensions from clouds whose direction is known.

# %%
learned = mbdl.learn(rule, lambda r: r.weights, constraint=mbdl.positive)
fit = mbdl.fit(learned, mbdl.supervised((xs, targets), misaligned), optax.adam(0.05), steps=200, batch_size=16, key=key)
new = clouds(noise_key, 64)
before, after = (float(jnp.mean(jax.vmap(misaligned)(jax.vmap(r)(new), targets))) for r in (rule, fit.rule))
print(f"misalignment on new clouds: {before:.3f} before, {after:.3f} after")
print(mbdl.spectrum(fit.rule))
assert after < 0.1 < before

# %%
mbdl.save("power.mbdl", fit.rule)
assert jnp.all(mbdl.load("power.mbdl")(new[0]) == fit.rule(new[0]))
