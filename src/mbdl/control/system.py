"""Systems: what the closed loop needs to know of the plant that a policy controls."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mbdl import tracking
from mbdl.core import as_leaf
from mbdl.core.checks import floating

from .counts import check_counts


class AbstractSystem(eqx.Module):
    r"""A system in discrete time, driven by a control $u_t$ and by noise,
    $$x_{t+1} = f(x_t, u_t, w_{t+1}), \qquad y_t = h(x_t, v_t).$$

    The noise of a run at a time depends on its key alone, never on the control, so that policies can be compared on the
    same noise. Times are those of the state that is reached: $w_t$ leads to $x_t$.

    Attributes:
        control_size: the number of components of the control.
    """

    control_size: eqx.AbstractVar[int]

    @abc.abstractmethod
    def initial(self, key: PRNGKeyArray, noise: Any) -> Float[Array, " state"]:
        """A draw of $x_0$; `noise` is $w_0$."""

    @abc.abstractmethod
    def process_noise(self, key: PRNGKeyArray, time: Int[Array, ""]) -> Any:
        """A draw of $w_t$."""

    @abc.abstractmethod
    def observation_noise(self, key: PRNGKeyArray, time: Int[Array, ""]) -> Any:
        """A draw of $v_t$."""

    @abc.abstractmethod
    def nominal_noise(self, time: Int[Array, ""]) -> Any:
        """The $w_t$ that a planner assumes, who does not know the noise to come: its mean, as a rule."""

    @abc.abstractmethod
    def move(
        self, state: Float[Array, " state"], control: Float[Array, " control"], noise: Any, time: Int[Array, ""]
    ) -> Float[Array, " state"]:
        """$f(x, u, w)$, the state at `time`."""

    @abc.abstractmethod
    def observe(
        self, state: Float[Array, " state"], control: Float[Array, " control"], noise: Any, time: Int[Array, ""]
    ) -> Float[Array, " observation"]:
        """$h(x, v)$ at `time`; `control` is the one that led there."""


class System(AbstractSystem):
    r"""A system of one's own functions, $x_{t+1} = f(x_t, u_t, w_{t+1}, t + 1)$, whatever its noise.

    Where the noise is Gaussian and additive, a model of `mbdl.tracking` says the same in fewer words, and filters take
    it.

    Args:
        transition: $f$, `(state, control, noise, time) -> [state]`.
        noise: a draw of $w_t$, `(key, time) -> ` an array or a tree of arrays.
        initial: a draw of the first state, `(key) -> [state]`; or the state itself.
        control_size: the number of components of the control.
        nominal: the noise that a planner assumes, a tree as `noise` returns it; zero by default.
        observation: what the policy sees, `(state, key, time) -> [observation]`; the state by default.

    Raises:
        TypeError: for what is no function.
        ValueError: for fewer than one control.

    >>> import jax, jax.numpy as jnp
    >>> from mbdl import control
    >>> bucket = control.System(
    ...     lambda level, inflow, leak, time: level + inflow - leak,
    ...     noise=lambda key, time: jax.random.exponential(key, (1,)), initial=jnp.full(1, 3.0), control_size=1,
    ...     nominal=jnp.ones(1),
    ... )
    >>> bucket.move(bucket.initial(jax.random.key(0)), 0.5, bucket.nominal_noise(1), 1).tolist()
    [2.5]
    """

    transition: Callable[[Array, Array, Any, Array], Array]
    noise: Callable[[PRNGKeyArray, Array], Any]
    start: Any
    nominal: Any
    observation: Callable[[Array, PRNGKeyArray, Array], Array] | None
    control_size: int = eqx.field(static=True)

    def __init__(
        self,
        transition: Callable[[Array, Array, Any, Array], Array],
        *,
        noise: Callable[[PRNGKeyArray, Array], Any],
        initial: Any,
        control_size: int,
        nominal: Any = None,
        observation: Callable[[Array, PRNGKeyArray, Array], Array] | None = None,
    ):
        forms = (
            ("transition", transition, "(state, control, noise, time)"),
            ("noise", noise, "(key, time)"),
            ("observation", observation, "(state, key, time)"),
        )
        for name, function, form in forms:
            if not callable(function) and not (name == "observation" and function is None):
                raise TypeError(f"System: expected {name} to be a function {form}, got {function!r}")
        self.transition, self.noise, self.observation = transition, noise, observation
        self.start = initial if callable(initial) else floating(as_leaf(initial))
        self.nominal = jax.tree.map(lambda leaf: floating(as_leaf(leaf)), nominal)
        check_counts({"control_size": control_size}, "System")
        self.control_size = control_size

    def initial(self, key: PRNGKeyArray, noise: Any = None) -> Float[Array, " state"]:
        drawn: Any = self.start(key) if callable(self.start) else self.start
        return drawn

    def process_noise(self, key: PRNGKeyArray, time: Int[Array, ""]) -> Any:
        return self.noise(key, time)

    def observation_noise(self, key: PRNGKeyArray, time: Int[Array, ""]) -> Any:
        return None if self.observation is None else key

    def nominal_noise(self, time: Int[Array, ""]) -> Any:
        if self.nominal is not None:
            return self.nominal
        shapes = jax.eval_shape(self.noise, jax.random.key(0), jnp.asarray(time))
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def move(self, state: Array, control: Array, noise: Any, time: Array) -> Float[Array, " state"]:
        return self.transition(state, control, noise, time)

    def observe(self, state: Array, control: Array, noise: Any, time: Array) -> Float[Array, " observation"]:
        return state if self.observation is None else self.observation(state, noise, time)


class StateSpace(AbstractSystem):
    """A state-space model of `mbdl.tracking` as a system; made by `as_system`, and where a system is asked for.

    The initial state of a model that starts `"before"` the first observation moves once, with a control of zero,
    before the first control is chosen.

    Args:
        model: a model with a control input.
        control_size: the number of components of the control, which a `LinearGaussian` knows from its matrix.

    Raises:
        TypeError: for what is no model.
        ValueError: for a model that has no control, or does not say how large it is.
    """

    model: tracking.AbstractModel
    control_size: int = eqx.field(static=True)

    def __init__(self, model: tracking.AbstractModel, control_size: int | None = None):
        if not isinstance(model, tracking.AbstractModel):
            raise TypeError(f"StateSpace: expected a model of mbdl.tracking, got {type(model).__name__}")
        self.model = model
        if control_size is None:
            control_size = _control_size(model)
        check_counts({"control_size": control_size}, "StateSpace")
        self.control_size = control_size

    def initial(self, key: PRNGKeyArray, noise: Any) -> Float[Array, " state"]:
        first = self.model.initial_mean + tracking.draw(key, self.model.initial_covariance)
        return self.move(first, jnp.zeros(self.control_size, first.dtype), noise, jnp.asarray(0))

    def process_noise(self, key: PRNGKeyArray, time: Int[Array, ""]) -> Float[Array, " state"]:
        return tracking.draw(key, self.model.process_noise_at(self._moment(time)))

    def observation_noise(self, key: PRNGKeyArray, time: Int[Array, ""]) -> Float[Array, " observation"]:
        return tracking.draw(key, self.model.observation_noise_at(self._moment(time)))

    def nominal_noise(self, time: Int[Array, ""]) -> Float[Array, " state"]:
        return jnp.zeros_like(self.model.initial_mean)

    def move(self, state: Array, control: Array, noise: Any, time: Array) -> Float[Array, " state"]:
        moment = tracking.Moment(jnp.asarray(time), control)
        moved = self.model.transit(state, moment) + noise
        begins = self.model.begins(moment)
        return moved if begins is False else jnp.where(begins, state, moved)

    def observe(self, state: Array, control: Array, noise: Any, time: Array) -> Float[Array, " observation"]:
        return self.model.observe(state, tracking.Moment(jnp.asarray(time), control)) + noise

    def _moment(self, time: Array) -> tracking.Moment:
        zero = jnp.zeros(self.control_size, self.model.initial_mean.dtype)
        return tracking.Moment(jnp.asarray(time), zero)


def as_system(system: Any, what: str) -> AbstractSystem:
    """A system, or a model of `mbdl.tracking` as one.

    Raises:
        TypeError: for anything else.
    """
    if isinstance(system, AbstractSystem):
        return system
    if isinstance(system, tracking.AbstractModel):
        return StateSpace(system)
    raise TypeError(
        f"{what}: expected a system of mbdl.control or a model of mbdl.tracking with a control input, got "
        f"{type(system).__name__}"
    )


def _control_size(model: tracking.AbstractModel) -> int:
    if not isinstance(model, tracking.LinearGaussian):
        raise ValueError(
            f"StateSpace: a {type(model).__name__} does not say how many controls it has: "
            "control.StateSpace(model, control_size=...)"
        )
    if model.control is None:
        raise ValueError("StateSpace: the model has no control input; give it a matrix control=B, [state control]")
    moment = tracking.Moment(jnp.asarray(0))
    matrix = jax.eval_shape(model.control, moment) if callable(model.control) else model.control
    return matrix.shape[1]
