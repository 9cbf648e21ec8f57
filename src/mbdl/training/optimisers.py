"""The optimiser that `fit` uses if none is given, and clipping in front of any."""

import functools

import optax

LEARNING_RATE = 1e-3
CLIP = 1.0


@functools.lru_cache(maxsize=64)
def default_optimiser(steps: int) -> optax.GradientTransformation:
    """Adam with a cosine schedule from 10⁻³ to zero over the run.

    Source: D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015; I. Loshchilov and F.
    Hutter, "SGDR", ICLR 2017, for the schedule.
    """
    return optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, steps))


@functools.lru_cache(maxsize=64)
def clipped(optimiser: optax.GradientTransformation, clip: float) -> optax.GradientTransformation:
    """The optimiser behind a clip of the gradient's global norm. The same arguments give the same object, for "
    "caches."""
    return optax.chain(optax.clip_by_global_norm(clip), optimiser)
