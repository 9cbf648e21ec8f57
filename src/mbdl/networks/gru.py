"""A gated recurrent unit, one step of it, with its gates in one product each."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray


class GRU(eqx.Module):
    r"""One step of a gated recurrent unit, from the hidden state and an input to the next hidden state,
    $$r = \sigma(W_r x + b_r + U_r h + c_r), \qquad z = \sigma(W_z x + b_z + U_z h + c_z),$$
    $$n = \tanh(W_n x + b_n + r (U_n h + c_n)), \qquad h^+ = (1 - z) n + z h.$$

    The gates are stacked, in the order $r, z, n$ and with the two biases of PyTorch's unit, so that a step costs one
    product for the input and one for the hidden state. The arrays are drawn uniformly within
    $\pm 1 / \sqrt{\mathrm{hidden\ size}}$.

    Args:
        in_size: length of the input.
        hidden_size: length of the hidden state.
        dtype: floating-point type of the parameters.
        key: a JAX random key.

    Raises:
        ValueError: for a size below one.

    Differentiable in: the hidden state, the input and the arrays.

    Source: K. Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine
    translation", 2014; the reset gate acts on the product with the hidden state, as in PyTorch.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from mbdl import networks
        >>> gru = networks.GRU(3, 5, key=jax.random.key(0))
        >>> gru(jnp.zeros(5), jnp.ones(3)).shape
        (5,)
    """

    input_weight: Float[Array, "gates in_size"]
    hidden_weight: Float[Array, "gates hidden_size"]
    input_bias: Float[Array, " gates"]
    hidden_bias: Float[Array, " gates"]

    def __init__(self, in_size: int, hidden_size: int, *, dtype: DTypeLike = jnp.float32, key: PRNGKeyArray):
        if min(in_size, hidden_size) < 1:
            raise ValueError(f"GRU got in_size={in_size}, hidden_size={hidden_size}: both must be at least 1.")
        bound = 1 / math.sqrt(hidden_size)
        shapes = [(3 * hidden_size, in_size), (3 * hidden_size, hidden_size), (3 * hidden_size,), (3 * hidden_size,)]
        self.input_weight, self.hidden_weight, self.input_bias, self.hidden_bias = (
            jax.random.uniform(k, shape, dtype, -bound, bound)
            for k, shape in zip(jax.random.split(key, 4), shapes, strict=True)
        )

    @property
    def hidden_size(self) -> int:
        """The length of the hidden state."""
        return self.hidden_weight.shape[-1]

    def __call__(
        self, hidden: Float[Array, " hidden_size"], x: Float[Array, " in_size"]
    ) -> Float[Array, " hidden_size"]:
        """The hidden state after one input.

        Args:
            hidden: the hidden state before.
            x: the input.

        Returns:
            the next hidden state.

        Raises:
            ValueError: for vectors of other lengths.
        """
        expected = self.hidden_weight.shape[1:], self.input_weight.shape[1:]
        if (hidden.shape, x.shape) != expected:
            raise ValueError(
                f"GRU expected a hidden state and an input of the shapes {expected}, got {(hidden.shape, x.shape)}; "
                "map over a batch with jax.vmap."
            )
        return self.after(self.hidden_weight @ hidden + self.hidden_bias, hidden, x)

    def after(
        self, of_hidden: Float[Array, " gates"], hidden: Float[Array, " hidden_size"], x: Float[Array, " in_size"]
    ) -> Float[Array, " hidden_size"]:
        r"""The hidden state after one input, where the product with the hidden state before is known.

        Args:
            of_hidden: $U h + c$ of the three gates.
            hidden: the hidden state before.
            x: the input.

        Returns:
            the next hidden state.
        """
        return _gated(self.input_weight @ x + self.input_bias, of_hidden, hidden)


@jax.custom_jvp
def _gated(of_input: Float[Array, " gates"], of_hidden: Float[Array, " gates"], hidden: Float[Array, " size"]) -> Array:
    """The next hidden state from what the three gates are of, input and hidden state apart."""
    _, update, candidate, _ = _gates(of_input, of_hidden)
    return candidate + update * (hidden - candidate)


@_gated.defjvp
def _(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    # All slopes in one array: an unfolding stores it for each step, in the place of eight.
    of_input, of_hidden, hidden = primals
    reset, update, candidate, remembered = _gates(of_input, of_hidden)
    of_candidate = (1 - update) * (1 - candidate**2)
    of_reset = of_candidate * remembered * reset * (1 - reset)
    of_update = (hidden - candidate) * update * (1 - update)
    slopes = jnp.concatenate([of_reset, of_update, of_candidate, of_candidate * reset, update])
    from_input, from_hidden, from_before = tangents
    split = 2 * len(hidden)
    moved = [from_input[:split] + from_hidden[:split], from_input[split:], from_hidden[split:], from_before]
    change = jnp.sum((slopes * jnp.concatenate(moved)).reshape(5, -1), axis=0)
    return candidate + update * (hidden - candidate), change


def _gates(of_input: Array, of_hidden: Array) -> tuple[Array, Array, Array, Array]:
    """The two gates, the candidate, and what the first gate lets through to it."""
    size = len(of_input) // 3
    opened = jax.nn.sigmoid(of_input[: 2 * size] + of_hidden[: 2 * size])
    reset, update, remembered = opened[:size], opened[size:], of_hidden[2 * size :]
    return reset, update, jnp.tanh(of_input[2 * size :] + reset * remembered), remembered
