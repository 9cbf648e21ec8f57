"""The rules of this package, small, for the laws in `tests/test_laws.py`.

Each is smooth enough at its context for central differences, and has a network, an image operator or a matrix in it.
"""

import jax
import jax.numpy as jnp

from mbdl import inverse, networks


def _dtype():
    return jnp.result_type(float)


def _normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape, _dtype())


def _matrix():
    return inverse.Matrix(_normal(0, 6, 9) / 3)


def _sparse():
    return _normal(1, 6)


def _blurred():
    kernel = jnp.asarray([[0.0, 0.1, 0.0], [0.1, 0.5, 0.2], [0.0, 0.1, 0.0]], _dtype())
    return inverse.Downsample(2) @ inverse.Convolution(kernel)


def _image():
    return 0.5 + 0.2 * _normal(2, 4, 5)


def ista():
    return inverse.ISTA(inverse.LeastSquares(_matrix()), inverse.L1(0.05), iterations=4), _sparse()


def fista():
    return inverse.FISTA(inverse.LeastSquares(_matrix()), inverse.L1(0.05), iterations=5), _sparse()


def fista_total_variation():
    return inverse.FISTA(inverse.LeastSquares(_blurred()), inverse.TotalVariation(0.02, 4), iterations=3), _image()


def fista_wavelet():
    prior = inverse.L1(0.03, inverse.Wavelet("db2", 2))
    return inverse.FISTA(inverse.LeastSquares(_blurred()), prior, iterations=3), _image()


def admm():
    return inverse.ADMM(inverse.LeastSquares(_matrix()), inverse.L1(0.05), penalty=0.3, iterations=4), _sparse()


def admm_adaptive():
    fidelity = inverse.LeastSquares(_blurred())
    return inverse.ADMM(fidelity, inverse.L1(0.05) + inverse.SquaredL2(0.1), adaptive=True, iterations=3), _image()


def plug_and_play():
    network = networks.DnCNN(width=3, depth=2, activation=jax.nn.tanh, dtype=_dtype(), key=jax.random.key(3))
    return inverse.ADMM(inverse.LeastSquares(_blurred()), inverse.DenoiserPrior(network), iterations=3), _image()


def plug_and_play_conditioned():
    network = networks.DnCNN(
        width=3, depth=2, noise_conditioned=True, activation=jax.nn.tanh, dtype=_dtype(), key=jax.random.key(4)
    )
    return inverse.ISTA(inverse.LeastSquares(_blurred()), inverse.DenoiserPrior(network, 0.1), iterations=3), _image()


def gradient_descent():
    fidelity = inverse.LeastSquares(_matrix())
    return inverse.GradientDescent(fidelity, inverse.SquaredL2(0.1), iterations=4), _sparse()


def bicubic():
    return inverse.Bicubic(2), _image()


def reflected():
    return inverse.Reflected(plug_and_play_conditioned()[0], 2), _image()


RULES = {
    "Bicubic": bicubic,
    "Reflected": reflected,
    "ISTA": ista,
    "FISTA": fista,
    "FISTA with total variation": fista_total_variation,
    "FISTA with wavelets": fista_wavelet,
    "ADMM": admm,
    "adaptive ADMM": admm_adaptive,
    "plug-and-play ADMM": plug_and_play,
    "conditioned plug-and-play ISTA": plug_and_play_conditioned,
    "GradientDescent": gradient_descent,
}
