"""A pole on a cart, the textbook's system that is nonlinear and unstable."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from mbdl import tracking
from mbdl.core import as_leaf
from mbdl.core.checks import finite, floating, positive


class CartPole(eqx.Module):
    r"""The transition of a pole that is hinged on a cart, which a force $u$ pushes along a rail, over a time step $h$
    in which the force is constant: one step of the fourth-order method of Runge and Kutta for
    $$\ddot\varphi = \frac{g \sin\varphi - a \cos\varphi - d\,\dot\varphi / (m l)}
    {l \left( \tfrac43 - \frac{m}{M + m} \cos^2\varphi \right)}, \qquad
    \ddot p = a - \frac{m l}{M + m} \ddot\varphi \cos\varphi, \qquad
    a = \frac{u + m l \dot\varphi^2 \sin\varphi - c\,\dot p}{M + m}.$$

    The state is $(p, \varphi, \dot p, \dot\varphi)$: the position of the cart (m), the angle of the pole from upright
    (rad), and their rates (m/s, rad/s). The control is $u$ (N). It is the `transition` of a
    `tracking.NonlinearGaussian`; its parameters may be learned.

    Args:
        cart_mass: $M$, kg.
        pole_mass: $m$, kg.
        length: $l$, half the length of the pole, m.
        cart_friction: $c$, N s/m.
        hinge_friction: $d$, N m s.
        step: $h$, s.
        gravity: $g$, m/s².

    Raises:
        ValueError: for a mass, length, step or gravity that is not positive, or a friction that is not finite.

    Differentiable in: the state, the control and every parameter.

    Source: A. G. Barto, R. S. Sutton and C. W. Anderson, "Neuronlike adaptive elements that can solve difficult
    learning control problems", IEEE Transactions on Systems, Man and Cybernetics 13, 1983; with viscous frictions.

    >>> import jax.numpy as jnp
    >>> from mbdl import control, tracking
    >>> moment = tracking.Moment(jnp.asarray(1), jnp.array([10.0]))
    >>> after = control.CartPole()(jnp.zeros(4), moment)  # pushed to the right, the pole falls to the left
    >>> [round(float(value), 2) for value in after]
    [0.01, -0.02, 0.49, -0.74]
    """

    cart_mass: Float[Array, ""]
    pole_mass: Float[Array, ""]
    length: Float[Array, ""]
    cart_friction: Float[Array, ""]
    hinge_friction: Float[Array, ""]
    step: Float[Array, ""]
    gravity: Float[Array, ""]

    def __init__(
        self,
        *,
        cart_mass: Any = 1.0,
        pole_mass: Any = 0.1,
        length: Any = 0.5,
        cart_friction: Any = 0.0,
        hinge_friction: Any = 0.0,
        step: Any = 0.05,
        gravity: Any = 9.81,
    ):
        given = {"cart_mass": cart_mass, "pole_mass": pole_mass, "length": length, "step": step, "gravity": gravity}
        leaves = {name: positive(floating(as_leaf(value)), f"CartPole: {name}") for name, value in given.items()}
        self.cart_mass, self.pole_mass, self.length = leaves["cart_mass"], leaves["pole_mass"], leaves["length"]
        self.step, self.gravity = leaves["step"], leaves["gravity"]
        self.cart_friction = finite(floating(as_leaf(cart_friction)), "CartPole: cart_friction")
        self.hinge_friction = finite(floating(as_leaf(hinge_friction)), "CartPole: hinge_friction")

    def __call__(self, state: Float[Array, "4"], moment: tracking.Moment) -> Float[Array, "4"]:
        force = jnp.zeros((), state.dtype) if moment.control is None else moment.control[0]
        half = self.step / 2
        first = self._rate(state, force)
        second = self._rate(state + half * first, force)
        third = self._rate(state + half * second, force)
        fourth = self._rate(state + self.step * third, force)
        return state + self.step / 6 * (first + 2 * (second + third) + fourth)

    def _rate(self, state: Array, force: Array) -> Float[Array, "4"]:
        _, angle, speed, turning = state
        sine, cosine = jnp.sin(angle), jnp.cos(angle)
        mass, lever = self.cart_mass + self.pole_mass, self.pole_mass * self.length
        pushed = (force + lever * turning**2 * sine - self.cart_friction * speed) / mass
        torque = self.gravity * sine - cosine * pushed - self.hinge_friction * turning / lever
        turned = torque / (self.length * (4 / 3 - self.pole_mass * cosine**2 / mass))
        return jnp.stack([speed, turning, pushed - lever * turned * cosine / mass, turned])
