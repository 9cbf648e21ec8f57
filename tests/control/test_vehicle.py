"""The vehicle: its noise has the stated laws, and its features are its motion."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mbdl import control

STATE = jnp.array([3.0, 0.4, 0.2, 4.0, 5.0, 0.07])


def test_the_features_are_the_motion_to_come(x64):
    vehicle, u = control.Vehicle(), jnp.array([0.7, -0.1])
    state = STATE.astype(float)
    f, heading, deviation, bend = control.VehicleFeatures()(state)
    after = vehicle.move(state, u, vehicle.nominal_noise(1), 1)
    np.testing.assert_allclose(f[0], after[1])
    np.testing.assert_allclose(f[1] + heading * u[1], after[2])
    np.testing.assert_allclose(f[2] + 0.2 * u[0], after[3] - 0.98 * state[4] - 0.09)
    np.testing.assert_allclose(bend, 2.8 * 0.07)
    # The last component linearises the sine at the heading without steering.
    slope = jax.grad(lambda z: after[1] + 0.2 * 4.0 * jnp.sin(f[1]) + 0.2 * 4.0 * heading * z)(0.0)
    np.testing.assert_allclose(deviation, slope)
    np.testing.assert_allclose(f[3], after[1] + 0.2 * 4.0 * jnp.sin(f[1]))


def test_a_step_is_the_stated_motion(x64):
    s, e, psi, v, desired, kappa = (float(value) for value in STATE)
    noise = control.RoadNoise(jnp.array([1.0, 2.0, 3.0]), jnp.asarray(False), jnp.asarray(0.2), jnp.asarray(True), 5.5)
    after = control.Vehicle().move(STATE.astype(float), jnp.array([0.7, -0.1]), noise, 1)
    bent = np.cos(psi) / (1 - e * kappa)
    expected = [
        s + 0.2 * v * bent,
        e + 0.2 * v * np.sin(psi) + 0.1,
        psi + 0.2 * v * (kappa - 0.1 / 2.8 - kappa * bent) + 0.02,
        v + 0.14 + 0.3,
        desired,
        0.2,
    ]
    np.testing.assert_allclose(after, expected, rtol=1e-6)


def test_the_laws_of_the_road():
    keys = jax.random.split(jax.random.key(0), 20_000)
    noise = jax.vmap(lambda key: control.Vehicle().process_noise(key, jnp.asarray(1)))(keys)
    for values, mean, deviation in (
        (noise.disturbance, 0.0, 1.0),
        (noise.keeps_curvature.astype(float), 0.95, np.sqrt(0.95 * 0.05)),
        (noise.curvature, 0.0, 0.1),
        (noise.keeps_desired_speed.astype(float), 0.98, np.sqrt(0.98 * 0.02)),
        (noise.desired_speed, 4.5, 3 / np.sqrt(12)),
    ):
        assert abs(float(np.mean(values)) - mean) < 4 * deviation / np.sqrt(np.size(values))


def test_bad_arguments():
    with pytest.raises(ValueError, match="Vehicle: step must be positive"):
        control.Vehicle(step=0.0)
    with pytest.raises(ValueError, match="VehicleFeatures: length must be positive"):
        control.VehicleFeatures(length=-1.0)
