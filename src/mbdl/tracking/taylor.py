"""The discrete transition of a differential equation with a matrix that depends on the state."""

from typing import Any

from jaxtyping import Array, Float


def taylor_transition(
    rate: Float[Array, "state state"], state: Float[Array, " state"], step: Float[Array, ""], order: int
) -> Float[Array, " state"]:
    r"""One step of $\dot s = A(s) s$ with the matrix held at its value, to a Taylor order $J$,
    $$s^+ = \sum_{j=0}^{J} \frac{(A \Delta)^j}{j!} \, s.$$

    Args:
        rate: $A$, `[state state]`.
        state: $s$, `[state]`.
        step: $\Delta$.
        order: $J$.

    >>> import jax.numpy as jnp
    >>> from mbdl import tracking
    >>> tracking.taylor_transition(jnp.array([[1.0]]), jnp.ones(1), 1.0, 2).tolist()
    [2.5]
    """
    # By Horner's rule with products of a matrix and a vector.
    moved = state
    for j in range(order, 0, -1):
        moved = state + (step / j) * (rate @ moved)
    return moved


def taylor_order(order: Any, what: str) -> int:
    """A Taylor order, checked.

    Raises:
        ValueError: for what is no integer of at least zero.
    """
    if isinstance(order, bool) or not isinstance(order, int) or order < 0:
        raise ValueError(f"{what}: expected a Taylor order of at least 0, got {order!r}")
    return order
