# %% [markdown]
# # Sparse recovery along the spectrum
# The documentation's tutorial as a script: ISTA, learned, unfolded, and with networks in the place of its shrinkage.

# %%
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

import mbdl
from mbdl import inverse, networks

A_key, value_key, place_key, noise_key, key = jax.random.split(jax.random.key(0), 5)
A = jax.random.normal(A_key, (25, 50)) / 5
places = jax.random.uniform(place_key, (3000, 50))
ss = jax.random.normal(value_key, (3000, 50)) * (places <= jnp.sort(places)[:, 4:5])
xs = ss @ A.T + 0.05 * jax.random.normal(noise_key, (3000, 25))
train, test = (xs[:2000], ss[:2000]), (xs[2000:], ss[2000:])

# %% [markdown]
# A model-based rule, and two steps along the spectrum. Nothing is trained yet, so all three decide the same.

# %%
rule = inverse.ISTA(inverse.LeastSquares(inverse.Matrix(A)), inverse.L1(0.05), iterations=16)


def hyper(r):
    return r.step_size, r.prior.weight


learned = mbdl.learn(rule, hyper, constraint=mbdl.positive)
unfolded = mbdl.unfold(rule, iterations=16, untie=hyper, constraint=mbdl.positive)
assert jnp.allclose(rule(xs[0]), learned(xs[0]), atol=1e-5)
assert jnp.allclose(rule(xs[0]), unfolded(xs[0]), atol=1e-5)


# %% [markdown]
# A network in the place of the prior: shrinkage and a correction that is zero at first, one of each a layer.


# %%
@mbdl.register
class LearnedShrinkage(eqx.Module):
    """Shrinkage with a learned correction, entry by entry."""

    threshold: Float[Array, ""]
    gate: Float[Array, ""]
    network: networks.MLP

    def __call__(self, point: Float[Array, " entries"]) -> Float[Array, " entries"]:
        correction = jax.vmap(self.network)(point[:, None])[:, 0]
        return inverse.soft_threshold(point, self.threshold) + self.gate * correction


shrinkage = LearnedShrinkage(0.05 * rule.step_size, jnp.zeros(()), networks.MLP(1, 1, width=16, depth=1, key=key))
aided = mbdl.substitute(rule, lambda r: r.prior, inverse.DenoiserPrior(shrinkage))
aided = mbdl.unfold(aided, iterations=16, untie=lambda r: (r.step_size, r.prior))

# %% [markdown]
# Train them, and compare on examples that none has seen.

# %%
risk = mbdl.supervised(train, mbdl.losses.mse)
rules = {"ISTA, 16 iterations": rule, "ISTA, 500 iterations": mbdl.unfold(rule, iterations=500)}
for name, start, rate in (("learned", learned, 2e-2), ("unfolded", unfolded, 2e-2), ("networks", aided, 5e-3)):
    rules[name] = mbdl.fit(start, risk, optax.adam(rate), steps=500, batch_size=100, key=key).rule

comparison = mbdl.compare(rules, test, mbdl.metrics.nmse_db, reference="ISTA, 16 iterations")
print(comparison)
print(mbdl.spectrum(rules["networks"]).table())

# %% [markdown]
# Each step along the spectrum pays, by much more than its standard error.

# %%
errors = [comparison.mean(name)[0] for name in ("ISTA, 16 iterations", "learned", "unfolded", "networks")]
assert all(later < earlier - 1.0 for earlier, later in itertools.pairwise(errors))
