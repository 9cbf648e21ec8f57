"""KalmanNet in plain JAX: a scan over the times of one trajectory, mapped over a batch."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mbdl import tracking

from .kalmannet_peer import LAYERS, UNITS, lorenz_rates


def parameters_of(network: tracking.CascadeNetwork) -> dict[str, Any]:
    """The weights of the library's network, a dictionary of arrays a layer and a recurrent unit."""
    layers = {name: {"weight": (layer := getattr(network, name)).weight, "bias": layer.bias} for name in LAYERS}
    names = ("input_weight", "hidden_weight", "input_bias", "hidden_bias")
    units = {name: {array: getattr(getattr(network, name), array) for array in names} for name in UNITS}
    return jax.tree.map(jnp.copy, layers | units)


def filtering(model: tracking.AbstractModel, gain: np.ndarray, units: np.ndarray) -> Callable[[Any, Any], jax.Array]:
    """A function from parameters and observations `[batch time observation]` to estimates `[batch time state]`.

    Args:
        model: a linear model, or the Lorenz system, whose states are all observed.
        gain: the nominal gain.
        units: what its correction is multiplied by.
    """
    (m, n), start = gain.shape, model.initial_mean
    transit, observe = _maps(model)

    def step(parameters: Any, carry: Any, y: jax.Array) -> tuple[Any, jax.Array]:
        (Q, P, S), estimate, before, predicted_before, last = carry

        def phi(name: str, *inputs: jax.Array) -> jax.Array:
            return jax.nn.relu(dense(parameters[name], jnp.concatenate(inputs)))

        predicted = transit(estimate)
        innovation = y - observe(predicted)
        F1, F2 = normalise(y - last), normalise(innovation)
        F3, F4 = normalise(estimate - before), normalise(estimate - predicted_before)
        Q = gru(parameters["process"], Q, phi("of_update", F4))
        P = gru(parameters["predicted"], P, jnp.concatenate([Q, phi("of_evolution", F3)]))
        S = gru(parameters["innovation"], S, jnp.concatenate([phi("of_predicted", P), phi("of_observation", F1, F2)]))
        wide = phi("wide", P, S)
        K = dense(parameters["out"], wide) / math.sqrt(len(wide))
        P = phi("back", P, phi("gathered", S, K))
        moved = predicted + (gain + units * K.reshape(m, n)) @ innovation
        return ((Q, P, S), moved, estimate, predicted, y), moved

    def filtered(parameters: Any, ys: jax.Array) -> jax.Array:
        hidden = jnp.eye(m).ravel(), jnp.zeros(m * m), jnp.eye(n).ravel()
        carry = hidden, start, start, start, observe(transit(start))
        return jax.lax.scan(partial(step, parameters), carry, ys)[1]

    return jax.vmap(filtered, in_axes=(None, 0))


def train(
    filtered: Callable[[Any, Any], jax.Array], parameters: Any, ys: jax.Array, states: jax.Array, learning_rate: float
) -> Callable[[], jax.Array]:
    """A program that takes one Adam step a call, and returns the loss."""
    optimiser = optax.adam(learning_rate)

    @partial(jax.jit, donate_argnums=(0, 1))
    def update(parameters: Any, state: Any, ys: jax.Array, states: jax.Array) -> tuple[Any, Any, jax.Array]:
        loss, gradient = jax.value_and_grad(lambda p: jnp.mean((filtered(p, ys) - states) ** 2))(parameters)
        updates, state = optimiser.update(gradient, state)
        return optax.apply_updates(parameters, updates), state, loss

    held = [parameters, optimiser.init(parameters)]

    def run() -> jax.Array:
        held[0], held[1], loss = update(*held, ys, states)
        return jax.block_until_ready(loss)

    return run


def dense(layer: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    """A dense layer."""
    return layer["weight"] @ x + layer["bias"]


def gru(unit: dict[str, jax.Array], hidden: jax.Array, x: jax.Array) -> jax.Array:
    """A gated recurrent unit, in PyTorch's form."""
    of_input = jnp.split(unit["input_weight"] @ x + unit["input_bias"], 3)
    of_hidden = jnp.split(unit["hidden_weight"] @ hidden + unit["hidden_bias"], 3)
    reset, update = (jax.nn.sigmoid(of_input[k] + of_hidden[k]) for k in (0, 1))
    candidate = jnp.tanh(of_input[2] + reset * of_hidden[2])
    return (1 - update) * candidate + update * hidden


def normalise(feature: jax.Array) -> jax.Array:
    """A feature of unit length; zero, with a finite derivative, at zero."""
    return feature / jnp.sqrt(jnp.sum(feature**2) + 1e-24)


def _maps(model: Any) -> tuple[Callable[[jax.Array], jax.Array], Callable[[jax.Array], jax.Array]]:
    """The transition and the observation of a state."""
    if isinstance(model, tracking.LinearGaussian):
        F, H = jnp.asarray(model.transition), jnp.asarray(model.observation)
        return lambda s: F @ s, lambda s: H @ s
    step, order, H = float(model.transition.step), model.transition.order, model.observation.matrix
    fixed, by_second, by_third = lorenz_rates(model.transition)

    def transit(state: jax.Array) -> jax.Array:
        rate = step * (fixed + state[1] * by_second + state[2] * by_third)
        term = F = jnp.eye(3)
        for j in range(1, order + 1):
            term = term @ rate / j
            F = F + term
        return F @ state

    return transit, lambda s: H @ s
