"""The rules of this package, small, for the laws in `tests/test_laws.py`."""

import jax
import jax.numpy as jnp

from mbdl import networks


def _image(*shape):
    return jax.random.normal(jax.random.key(7), shape, jnp.result_type(float))


def _dtype():
    return jnp.result_type(float)


def mlp():
    network = networks.MLP(5, 3, width=6, depth=2, activation=jax.nn.tanh, dtype=_dtype(), key=jax.random.key(0))
    return networks.NetworkRule(network), _image(5)


def dncnn():
    network = networks.DnCNN(width=4, depth=3, activation=jax.nn.tanh, dtype=_dtype(), key=jax.random.key(1))
    return networks.NetworkRule(network), _image(6, 7)


def unet():
    network = networks.UNet(width=2, activation=jax.nn.tanh, dtype=_dtype(), key=jax.random.key(2))
    return networks.NetworkRule(network), _image(9, 8)


def upsample():
    network = networks.UpsampleCNN(2, width=3, depth=1, activation=jax.nn.tanh, dtype=_dtype(), key=jax.random.key(3))
    return networks.NetworkRule(network), _image(5, 4)


def input_convex():
    network = networks.InputConvex(3, width=4, depth=2, dtype=_dtype(), key=jax.random.key(4))
    return networks.NetworkRule(network), _image(3)


RULES = {"InputConvex": input_convex, "MLP": mlp, "DnCNN": dncnn, "UNet": unet, "UpsampleCNN": upsample}
