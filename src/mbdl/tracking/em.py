"""Maximum likelihood of a linear Gaussian model by expectation and maximisation."""

from collections.abc import Sequence
from typing import Any, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mbdl.core import loop, resolve, settle

from .covariance import dense
from .identification import chosen
from .inputs import Inputs, as_inputs
from .kalman import KalmanFilter
from .linear import LinearGaussian
from .maximisation import Parameter, Parameters, maximised
from .rts import RTSSmoother

PARAMETERS: tuple[Parameter, ...] = get_args(Parameter)


class EM(eqx.Module):
    """The model that `expectation_maximisation` found.

    Attributes:
        model: the `LinearGaussian` with the learned parameters; learned covariances are matrices.
        log_likelihoods: of all sequences together, in nats, before the first step and after each, `[steps + 1]`; they
            do not decrease.
    """

    model: LinearGaussian
    log_likelihoods: Float[Array, " evaluations"]


def expectation_maximisation(
    model: LinearGaussian, ys: Any, *, steps: int, learn: Sequence[Parameter] = PARAMETERS
) -> EM:
    r"""Expectation and maximisation for a linear Gaussian model: each step smooths all sequences, then maximises in
    closed form
    $$\mathbb E[\log p(s, y; \theta) \mid y; \theta_{\text{old}}]$$
    over the parameters to learn, with the others held. The likelihood does not decrease.

    An observation that is missing in part is estimated along with the states; times without any are left out.

    Args:
        model: the model to begin from. `transition`, `observation` and the two noises do not vary in time.
        ys: observations `[runs time observation]`, or `Inputs` with a leading axis of runs.
        steps: how many steps, at least one.
        learn: the names of the parameters to learn, of `"transition"`, `"observation"`, `"process_noise"`,
            `"observation_noise"`, `"initial_mean"` and `"initial_covariance"`; all by default.

    Returns:
        `EM(model, log_likelihoods)`.

    Raises:
        TypeError: for a model that is not linear.
        ValueError: for a parameter that varies in time, unknown names, fewer than one step, observations of another
            shape or that are not valid, or a step whose likelihood is not finite.

    Not differentiable: it is a fit, as `mbdl.fit` is.

    Source: R. H. Shumway and D. S. Stoffer, "An approach to time series smoothing and forecasting using the EM
    algorithm", Journal of Time Series Analysis 3, 1982.

    >>> import jax, jax.numpy as jnp
    >>> from mbdl import tracking
    >>> model = tracking.LinearGaussian(
    ...     transition=0.5 * jnp.eye(1), observation=jnp.eye(1), process_noise=jnp.eye(1),
    ...     observation_noise=jnp.eye(1), initial_mean=jnp.zeros(1), initial_covariance=jnp.zeros((1, 1)),
    ... )
    >>> ys = 3 * jax.random.normal(jax.random.key(0), (20, 50, 1))
    >>> em = tracking.expectation_maximisation(model, ys, steps=10, learn=["observation_noise"])
    >>> bool(em.log_likelihoods[-1] > em.log_likelihoods[0])
    True
    """
    what = "expectation_maximisation"
    if not isinstance(model, LinearGaussian):
        raise TypeError(f"{what}: expected a LinearGaussian model, got {type(model).__name__}")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"{what}: expected steps of at least 1, got {steps!r}")
    names = chosen(learn, PARAMETERS, what)
    model = settle(resolve(model))
    varying = [name for name in PARAMETERS[:4] if callable(getattr(model, name))]
    if varying:
        raise ValueError(
            f"{what}: {', '.join(varying)} of the model varies in time, and has no maximum in closed form. Learn such "
            "a model by mbdl.fit with tracking.likelihood"
        )
    inputs = _checked(model, ys, what)
    learned, log_likelihoods = _iterated(model, inputs, steps, tuple(n for n in PARAMETERS if n in names))
    bad = ~np.isfinite(np.asarray(log_likelihoods))
    if bad.any():
        raise ValueError(
            f"{what}: the log-likelihood is not finite after {int(np.argmax(bad))} steps. The covariance of an "
            "innovation is singular, or the sequences say too little of what is learned: learn fewer parameters"
        )
    return EM(_with(model, learned), log_likelihoods)


def _checked(model: LinearGaussian, ys: Any, what: str) -> Inputs:
    inputs = as_inputs(ys)
    if inputs.observation.ndim != 3:
        raise ValueError(
            f"{what}: expected observations [runs time observation], got shape {inputs.observation.shape}. Give one "
            "sequence as ys[None]"
        )
    kf = KalmanFilter(model)
    bad = ~np.asarray(jax.vmap(kf.valid)(inputs))
    if bad.any():
        run = int(np.argmax(bad))
        why = kf.why_invalid(jax.tree.map(lambda leaf: leaf[run], inputs))
        raise ValueError(f"{what}: sequence {run} is not valid: {why}")
    return inputs


def _with(model: LinearGaussian, parameters: Parameters) -> LinearGaussian:
    names = list(parameters)
    return eqx.tree_at(lambda m: [getattr(m, name) for name in names], model, list(parameters.values()))


@eqx.filter_jit
def _iterated(
    model: LinearGaussian, inputs: Inputs, steps: int, names: tuple[Parameter, ...]
) -> tuple[Parameters, Array]:
    def step(parameters: Parameters, _: None) -> tuple[Parameters, Array]:
        current = _with(model, parameters)
        smoothed = jax.vmap(RTSSmoother(current).decide)(inputs)
        return maximised(current, inputs, smoothed, names), _total(smoothed.filtered)

    first: Parameters = {name: dense(getattr(model, name)) for name in names}
    learned, log_likelihoods = loop(step, first, length=steps)
    last = jax.vmap(KalmanFilter(_with(model, learned)).decide)(inputs)
    return learned, jnp.append(log_likelihoods, _total(last))


def _total(estimates: Any) -> Array:
    return jnp.sum(estimates.log_likelihood)
