"""A training step of unfolded proximal gradient descent with a convolutional network in each layer.

Masked images, half of the pixels known; per layer a DnCNN of 5 convolutions with 32 channels, and a step size; mean
squared error, Adam. The same in plain PyTorch from the same initial weights, in both memory formats, and deepinv's own.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mbdl import core, inverse, networks

from . import peers, training_step
from .timing import Contender, Tables, measure

LAYERS = (5, 10)


def run(
    *,
    rounds: int = 10,
    batch: int = 8,
    size: int = 64,
    width: int = 32,
    depth: int = 5,
    layers: tuple[int, ...] = LAYERS,
) -> Tables:
    """Measures the training step and the forward pass at each number of layers.

    Args:
        rounds: repetitions.
        batch: images in a batch.
        size: side of the images in pixels.
        width: channels of the denoisers.
        depth: convolutions of each denoiser.
        layers: numbers of layers.

    Yields:
        The title of each table with its measurements, once it is measured.
    """
    for count in layers:
        rule, xs, targets = problem(count, batch=batch, size=size, width=width, depth=depth)
        forward = _forward(rule, xs)
        name = f"unfolded proximal gradient, {count} × DnCNN {depth}×{width}, batch {batch}×{size}²"
        yield (
            f"Training step, {name}",
            measure(
                [
                    Contender("mbdl", lambda r=rule, x=xs, t=targets: training_step.step(r, x, t)),
                    _plain("PyTorch, NCHW", rule, xs, targets, channels_last=False),
                    _plain("PyTorch, channels last", rule, xs, targets, channels_last=True),
                    _deepinv("deepinv", rule, xs, targets, width=width, depth=depth),
                ],
                rounds=rounds,
            ),
        )
        yield (
            f"Forward, {name}",
            measure(
                [
                    Contender("mbdl", lambda f=forward: f),
                    _plain("PyTorch, NCHW", rule, xs, None, channels_last=False),
                    _plain("PyTorch, channels last", rule, xs, None, channels_last=True),
                    _deepinv("deepinv", rule, xs, None, width=width, depth=depth),
                ],
                rounds=rounds,
            ),
        )


def problem(layers: int, *, batch: int, size: int, width: int, depth: int) -> tuple[inverse.ISTA, jax.Array, jax.Array]:
    """The unfolded rule, a batch of masked images and the images."""
    rng = np.random.default_rng(0)
    mask = jnp.asarray(rng.random((size, size)) < 0.5, jnp.float32)
    targets = jnp.asarray(rng.random((batch, size, size)), jnp.float32)
    solver = inverse.ISTA(inverse.LeastSquares(inverse.Mask(mask)), inverse.Zero(), initial=inverse.ScaledAdjoint())
    unfolded = core.unfold(solver, layers, untie=lambda r: r.step_size)
    prior = core.PerLayer.independent(
        lambda key: inverse.DenoiserPrior(networks.DnCNN(width=width, depth=depth, key=key)),
        layers,
        key=jax.random.key(0),
    )
    return core.substitute(unfolded, lambda r: r.prior, prior), mask * targets, targets


def _forward(rule: Any, xs: jax.Array) -> Any:
    compiled = jax.jit(jax.vmap(rule))
    return lambda: compiled(xs)


def _weights(rule: Any) -> tuple[list[list[tuple[np.ndarray, np.ndarray]]], np.ndarray, float]:
    """Kernels and biases layer by layer, the mask and the step size of the rule."""
    plain = core.resolve(rule)
    stacked = [(np.asarray(c.kernel), np.asarray(c.bias)) for c in plain.prior.value.network.layers]
    layers = [[(kernel[k], bias[k]) for kernel, bias in stacked] for k in range(plain.iterations)]
    return layers, np.asarray(plain.fidelity.operator.mask, np.float32), float(plain.step_size.value[0])


def _plain(name: str, rule: Any, xs: jax.Array, targets: jax.Array | None, *, channels_last: bool) -> Contender:
    def build() -> Any:
        library = peers.torch()
        model = peers.unfolded(*_weights(rule))
        if channels_last:
            model = model.to(memory_format=library.channels_last)
        agreement = _compare(contender, model, rule, xs)
        contender.note = f"first decisions differ by {agreement:.0e}"
        return _program(model, xs, targets, channels_last)

    contender = Contender(name, build)
    return contender


def _deepinv(name: str, rule: Any, xs: jax.Array, targets: jax.Array | None, *, width: int, depth: int) -> Contender:
    def build() -> Any:
        layers, mask, step_size = _weights(rule)
        model = peers.deepinv_unfolded(depth, width, len(layers), mask, step_size)
        return _program(model, xs, targets, channels_last=False)

    return Contender(name, build)


def _compare(contender: Contender, model: Any, rule: Any, xs: jax.Array) -> float:
    library = peers.torch()
    with library.no_grad():
        theirs = model(_tensor(xs)).numpy()[:, 0]
    ours = np.asarray(jax.vmap(rule)(xs))
    difference = float(np.max(np.abs(ours - theirs)) / np.max(np.abs(ours)))
    if not difference < 1e-3:
        raise AssertionError(f"{contender.name} computes something else: its decisions differ by {difference:.1e}")
    return difference


def _tensor(images: jax.Array) -> Any:
    return peers.torch().from_numpy(np.array(images)[:, None])


def _program(model: Any, xs: jax.Array, targets: jax.Array | None, channels_last: bool) -> Any:
    library = peers.torch()
    inputs = _tensor(xs)
    if channels_last:
        inputs = inputs.to(memory_format=library.channels_last)
    if targets is not None:
        return peers.train(model, inputs, _tensor(targets), training_step.LEARNING_RATE)

    def run() -> Any:
        with library.no_grad():
            return model(inputs).numpy()

    return run
