"""The joint Gaussian of all states and observations of a linear model, dense, in NumPy."""

import jax.numpy as jnp
import numpy as np

from mbdl import tracking


def posterior(model, ys, present=None, control=None):
    """The mean and covariance of (s_initial, s_1, ..., s_T) given what is present, and the log-likelihood."""
    ys = np.asarray(ys, float)
    steps, n = len(ys), model.state_size
    present = np.ones(ys.shape, bool) if present is None else np.asarray(present)
    size = (steps + 1) * n
    # The states are a linear map of independent parts: s = L (initial, v_1, ..., v_T) + offset.
    L, offset, spread = np.zeros((size, size)), np.zeros(size), np.zeros((size, size))
    L[:n, :n] = np.eye(n)
    offset[:n] = model.initial_mean
    spread[:n, :n] = tracking.dense(model.initial_covariance)
    maps, noises = [], []
    for t in range(steps):
        moment = tracking.Moment(jnp.asarray(t), None if control is None else jnp.asarray(control[t]))
        zero = jnp.zeros(n)
        now, before = slice((t + 1) * n, (t + 2) * n), slice(t * n, (t + 1) * n)
        first = model.starts == "at" and t == 0
        F = np.eye(n) if first else np.asarray(model.transit_jacobian(zero, moment))
        u = np.zeros(n) if first else np.asarray(model.transit(zero, moment))
        Q = np.zeros((n, n)) if first else np.asarray(tracking.dense(model.process_noise_at(moment)))
        L[now] = F @ L[before]
        L[now, now] = np.eye(n)
        offset[now] = F @ offset[before] + u
        spread[now, now] = Q
        maps.append(np.asarray(model.observe_jacobian(zero, moment)))
        noises.append(np.asarray(tracking.dense(model.observation_noise_at(moment))))
    covariance = L @ spread @ L.T
    rows = ys.size
    H, R = np.zeros((rows, size)), np.zeros((rows, rows))
    for t in range(steps):
        block = slice(t * ys.shape[1], (t + 1) * ys.shape[1])
        H[block, (t + 1) * n : (t + 2) * n] = maps[t]
        R[block, block] = noises[t]
    kept = present.ravel()
    H, R, y = H[kept], R[np.ix_(kept, kept)], ys.ravel()[kept]
    S = H @ covariance @ H.T + R
    innovation = y - H @ offset
    K = covariance @ H.T @ np.linalg.inv(S)
    square = innovation @ np.linalg.solve(S, innovation)
    likelihood = -0.5 * (square + np.linalg.slogdet(S)[1] + len(y) * np.log(2 * np.pi))
    mean = (offset + K @ innovation).reshape(steps + 1, n)
    return mean, (covariance - K @ S @ K.T).reshape(steps + 1, n, steps + 1, n), likelihood
