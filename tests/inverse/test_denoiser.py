"""A network in the place of a prox: the noise level is used or refused, never ignored."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inverse.tools import normal

import mbdl
from mbdl import inverse, networks


class Shrink(eqx.Module):
    def __call__(self, image, noise_level):
        return image * (1 - noise_level)


def shrink_at(image, noise_level=0.5):
    return image * (1 - noise_level)


def test_the_noise_level_reaches_the_network():
    point = normal(0, 4, 4)
    network = networks.DnCNN(width=4, depth=2, noise_conditioned=True, key=jax.random.key(0))
    prior = inverse.DenoiserPrior(network, 0.2)
    np.testing.assert_array_equal(prior.prox(point, 1.0), network(point, 0.2))
    np.testing.assert_array_equal(inverse.DenoiserPrior(Shrink(), 0.25).prox(point, 1.0), 0.75 * point)
    np.testing.assert_array_equal(inverse.DenoiserPrior(shrink_at, 0.25).prox(point, 1.0), 0.75 * point)
    np.testing.assert_array_equal(inverse.DenoiserPrior(shrink_at).prox(point, 1.0), 0.5 * point)
    assert float(jax.grad(lambda s: jnp.sum(inverse.DenoiserPrior(Shrink(), s).prox(jnp.ones(3), 1.0)))(0.1)) == -3


def test_the_step_size_does_not():
    point = normal(0, 4, 4)
    prior = inverse.DenoiserPrior(networks.DnCNN(width=4, depth=2, key=jax.random.key(0)))
    np.testing.assert_array_equal(prior.prox(point, 0.1), prior.prox(point, 10.0))


@pytest.mark.parametrize(
    "network",
    [
        networks.DnCNN(width=4, depth=2, key=jax.random.key(0)),
        networks.MLP(3, 3, width=4, depth=1, key=jax.random.key(0)),
        jax.nn.tanh,
    ],
)
def test_a_network_that_would_ignore_the_noise_level_is_refused(network):
    with pytest.raises(TypeError, match=r"takes no noise level and would ignore it.*noise_conditioned=True"):
        inverse.DenoiserPrior(network, 0.1)
    inverse.DenoiserPrior(network)


@pytest.mark.parametrize(
    "network", [networks.UNet(width=2, noise_conditioned=True, key=jax.random.key(0)), Shrink()], ids=["UNet", "Shrink"]
)
def test_a_network_that_needs_the_noise_level_gets_one(network):
    with pytest.raises(TypeError, match="needs a noise level. Pass noise_level"):
        inverse.DenoiserPrior(network)


def test_a_network_must_keep_the_shape_and_a_noise_level_is_not_negative():
    with pytest.raises(ValueError, match=r"returned shape \(2,\) for a point of shape \(3,\)"):
        inverse.DenoiserPrior(lambda image: image[1:]).prox(jnp.ones(3), 1.0)
    with pytest.raises(ValueError, match="the noise level must not be negative"):
        inverse.DenoiserPrior(Shrink(), -0.1)


def test_every_layer_may_have_its_own_denoiser(x64):
    A = inverse.Downsample(2)
    rule = inverse.ISTA(inverse.LeastSquares(A), inverse.TotalVariation(0.1), iterations=2)

    def make(key):
        return inverse.DenoiserPrior(networks.DnCNN(width=3, depth=2, dtype=jnp.float64, key=key))

    priors = mbdl.core.PerLayer.independent(make, 2, key=jax.random.key(0))
    unfolded = mbdl.substitute(mbdl.unfold(rule, 2), lambda r: r.prior, priors)
    x = normal(0, 3, 4)
    first, second = (make(key) for key in jax.random.split(jax.random.key(0), 2))
    s = inverse.ScaledAdjoint()(rule.fidelity, x)
    for prior in (first, second):
        s = prior.prox(s - rule.step_size * rule.fidelity.gradient(s, x), rule.step_size)
    np.testing.assert_allclose(unfolded(x), s, rtol=1e-10)
