"""The bootstrap particle filter of a nonlinear Gaussian model."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mbdl.core import as_leaf, first_bad_step, nondifferentiable
from mbdl.core.checks import concrete, finite

from .covariance import dense, factor_of, symmetric
from .estimates import Estimates, gaussian_log_density
from .filter import AbstractFilter
from .gain import masked_noise
from .inputs import Moment, counted
from .kalman_gain import whitener_of
from .model import AbstractModel
from .resampling import systematic_resampling
from .steps import checked, compared, seen, unless, zero_if

Resampling = Callable[[PRNGKeyArray, Float[Array, " particle"]], Int[Array, " particle"]]


class ParticleMemory(NamedTuple):
    """What a particle filter carries from one observation to the next.

    Attributes:
        time: how many observations there were.
        particles: `[particle state]`.
        log_weights: the logarithms of their weights, which sum to one, `[particle]`.
    """

    time: Int[Array, ""]
    particles: Float[Array, "particle state"]
    log_weights: Float[Array, " particle"]


class ParticleFilter(AbstractFilter):
    r"""The bootstrap particle filter: the posterior as $N$ weighted particles, moved by the model's own transition and
    noise and weighed by the likelihood,
    $$s^i_t = f(s^{a_i}_{t-1}) + v^i_t, \qquad w^i_t \propto w^i_{t-1} \, N(y_t; h(s^i_t), R).$$
    The ancestors are $a_i = i$, or drawn anew, with equal weights after it, where the effective sample size
    $1 / \sum_i w_i^2$ has fallen below a part `threshold` of $N$.

    The means and covariances of its `Estimates` are those of the particles; predicted ones take the process noise
    exactly. `log_likelihood` is the logarithm of an estimate of the likelihood that is unbiased over keys.

    All noise is a function of the key and the time alone: a stream has that of the whole sequence, and under `jax.vmap`
    over sequences all have the same. For independent noise, apply `jax.vmap` over the key as well.

    Args:
        model: any model of this package, with an observation noise that is positive definite.
        particles: $N$, at least two.
        key: a JAX random key, from which all noise is drawn.
        resampling: `systematic_resampling`, `stratified_resampling`, `residual_resampling`, `multinomial_resampling`,
            or a function (key, weights) -> ancestors; `None` never resamples, and fits short sequences only.
        threshold: below which part of $N$ the effective sample size has to fall for resampling, between zero and one
            (at one, whenever the weights differ); one half by default.

    Raises:
        TypeError: for what is no model or no key; while tracing, for a derivative through resampling.
        ValueError: for too few particles or a threshold out of its range; when it runs, as `KalmanFilter` does, and
            where every particle has likelihood zero.

    Differentiable in: the observations, the controls and every array of the model with `resampling=None`; with
    resampling it has no derivative, and raises.

    Source: N. J. Gordon, D. J. Salmond and A. F. M. Smith, "Novel approach to nonlinear/non-Gaussian Bayesian state
    estimation", IEE Proceedings F 140, 1993.

    >>> import jax, jax.numpy as jnp
    >>> from mbdl import tracking
    >>> model = tracking.NonlinearGaussian(
    ...     transition=lambda s, moment: s, observation=lambda s, moment: s**2, process_noise=jnp.zeros((1, 1)),
    ...     observation_noise=jnp.eye(1), initial_mean=jnp.ones(1), initial_covariance=jnp.eye(1),
    ... )
    >>> estimates = tracking.ParticleFilter(model, particles=500, key=jax.random.key(0))(jnp.full((50, 1), 4.0))
    >>> bool(abs(estimates.mean[-1, 0] - 2.0) < 0.1)
    True
    """

    model: AbstractModel
    key: PRNGKeyArray
    resampling: Resampling | None
    threshold: Float[Array, ""] | None
    particles: int = eqx.field(static=True)

    def __init__(
        self,
        model: AbstractModel,
        *,
        particles: int,
        key: PRNGKeyArray,
        resampling: Resampling | None = systematic_resampling,
        threshold: Any = None,
    ):
        what = "ParticleFilter"
        if not isinstance(model, AbstractModel):
            raise TypeError(f"{what}: expected a model of mbdl.tracking, got {type(model).__name__}")
        if isinstance(particles, bool) or not isinstance(particles, int) or particles < 2:
            raise ValueError(f"{what}: expected at least 2 particles, got {particles!r}")
        dtype = getattr(key, "dtype", None)
        if dtype is None or not (jnp.issubdtype(dtype, jax.dtypes.prng_key) or dtype == jnp.uint32):
            raise TypeError(f"{what}: expected a JAX random key, such as jax.random.key(0), got {key!r}")
        if resampling is not None and not callable(resampling):
            raise TypeError(f"{what}: expected resampling to be a function (key, weights) or None, got {resampling!r}")
        if resampling is None and threshold is not None:
            raise ValueError(f"{what}: a threshold says when to resample, and resampling is None. Give one of them")
        self.model, self.particles, self.key, self.resampling = model, particles, key, resampling
        self.threshold = None
        if resampling is not None:
            self.threshold = finite(as_leaf(0.5 if threshold is None else threshold), f"{what}: threshold")
            known = concrete(self.threshold)
            if known is not None and not 0 <= known <= 1:
                raise ValueError(
                    f"{what}: expected a threshold between 0 and 1, a part of the particles, got {known:g}"
                )

    def init(self) -> ParticleMemory:
        model = self.model
        factor = factor_of(model.initial_covariance)
        noise = jax.random.normal(jax.random.split(self.key)[0], (self.particles, factor.shape[1]), factor.dtype)
        particles = model.initial_mean + noise @ factor.T
        equal = jnp.full(self.particles, -jnp.log(self.particles), particles.dtype)
        return ParticleMemory(jnp.zeros((), jnp.int32), particles, equal)

    def step(self, memory: ParticleMemory, x: Any) -> tuple[ParticleMemory, Estimates]:
        model = self.model
        inputs = checked(model, x)
        moment = Moment(memory.time, inputs.control, inputs.duration)
        begins = model.begins(moment)
        ancestor_key, noise_key = jax.random.split(jax.random.fold_in(jax.random.split(self.key)[1], memory.time))

        moved = unless(begins, memory.particles, jax.vmap(lambda s: model.transit(s, moment))(memory.particles))
        Q = zero_if(begins, model.process_noise_at(moment))
        w = jnp.exp(memory.log_weights)
        predicted, A = _centred(w, moved)
        before = memory.particles - w @ memory.particles

        # A transition without its noise may come before resampling: its moments are of all particles, not of the drawn.
        particles, log_weights = self._resampled(ancestor_key, moved, memory.log_weights)
        factor = factor_of(Q)
        particles = particles + jax.random.normal(noise_key, (self.particles, factor.shape[1]), factor.dtype) @ factor.T

        R = dense(masked_noise(model.observation_noise_at(moment), inputs.present))
        W = whitener_of(R)

        def log_density(s: Array) -> Array:
            innovation = seen(model.innovation(inputs.observation, model.observe(s, moment)), inputs.present)
            return gaussian_log_density(jnp.sum((W @ innovation) ** 2), W, counted(inputs))

        weighed = log_weights + jax.vmap(log_density)(particles)
        log_likelihood = jax.nn.logsumexp(weighed)
        innovation, B = compared(model, particles, jnp.exp(log_weights), moment, inputs)
        S = symmetric((B.T * jnp.exp(log_weights)) @ B) + R
        log_weights = weighed - log_likelihood
        posterior = jnp.exp(log_weights)
        mean, C = _centred(posterior, particles)
        estimates = Estimates(
            mean=mean,
            covariance=symmetric((C.T * posterior) @ C),
            predicted_mean=predicted,
            predicted_covariance=symmetric((A.T * w) @ A) + dense(Q),
            cross_covariance=(before.T * w) @ A,
            innovation=innovation,
            innovation_covariance=S,
            normalised_innovation_squared=jnp.sum((whitener_of(S) @ innovation) ** 2),
            log_likelihood=log_likelihood,
        )
        return ParticleMemory(memory.time + 1, particles, log_weights), estimates

    def _resampled(self, key: PRNGKeyArray, particles: Array, log_weights: Array) -> tuple[Array, Array]:
        if self.resampling is None or self.threshold is None:
            return particles, log_weights
        particles, log_weights, threshold = nondifferentiable(
            (particles, log_weights, self.threshold),
            "what goes through the resampling of a ParticleFilter",
            "Use resampling=None, or ExtendedKalmanFilter or UnscentedKalmanFilter",
        )
        effective = jnp.exp(-jax.nn.logsumexp(2 * log_weights))
        draw = effective <= threshold * self.particles
        ancestors = jnp.where(draw, self.resampling(key, jnp.exp(log_weights)), jnp.arange(self.particles))
        equal = jnp.full_like(log_weights, -jnp.log(self.particles))
        return particles[ancestors], jnp.where(draw, equal, log_weights)

    def why_not_finite(self, x: Any, decision: Any) -> str:
        return (
            f"{first_bad_step(decision)}The observation noise is singular, or no particle explains an observation: all "
            "have likelihood zero. Give the observation noise a positive variance, raise the process noise, or use "
            "more particles or float64"
        )


def _centred(weights: Array, particles: Array) -> tuple[Float[Array, " state"], Float[Array, "particle state"]]:
    """The weighted mean of particles, and their deviations from it."""
    mean = weights @ particles
    return mean, particles - mean
