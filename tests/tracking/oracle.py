"""The joint normal distribution of all states and observations of a linear model, and what it says given some."""

from itertools import pairwise

import numpy as np
from scipy.stats import multivariate_normal


class Joint:
    """Every state and observation as a linear function of the independent noises, in NumPy.

    Args:
        F, Q, H, R: lists with one matrix for each time; `shift` with one vector.
        mean, covariance: of the initial state.
        starts: `"before"` or `"at"`.
    """

    def __init__(self, F, Q, H, R, mean, covariance, *, shift=None, starts="before"):
        m, n, T = len(mean), len(H[0]), len(H)
        sizes = [m] + [m] * T + [n] * T
        noise = np.zeros((sum(sizes), sum(sizes)))
        edges = np.concatenate([[0], np.cumsum(sizes)])
        blocks = [slice(a, b) for a, b in pairwise(edges)]
        for block, matrix in zip(blocks, [covariance, *Q, *R], strict=True):
            noise[block, block] = matrix
        unit = np.eye(len(noise))
        states, observations = [(np.asarray(mean), unit[blocks[0]])], []
        for t in range(T):
            center, rows = states[-1]
            if not (t == 0 and starts == "at"):
                center = F[t] @ center + (0 if shift is None else shift[t])
                rows = F[t] @ rows + unit[blocks[1 + t]]
            states.append((center, rows))
            observations.append((H[t] @ center, H[t] @ rows + unit[blocks[1 + T + t]]))
        # The state before the first observation, then one for each observation, then the observations.
        self.mean = np.concatenate([center for center, _ in states + observations])
        rows = np.concatenate([rows for _, rows in states + observations])
        self.covariance = rows @ noise @ rows.T
        self.m, self.n, self.steps = m, n, T

    def state(self, t):
        """The indices of the state at an observation; at -1 of the state before the first one."""
        return np.arange((t + 1) * self.m, (t + 2) * self.m)

    def given(self, indices, ys, until, present=None):
        """Mean and covariance of some variables, given the observations before a time."""
        seen, values = self._seen(ys, until, present)
        S = self.covariance[np.ix_(seen, seen)]
        K = np.linalg.solve(S, self.covariance[np.ix_(seen, indices)]).T
        mean = self.mean[indices] + K @ (values - self.mean[seen])
        return mean, self.covariance[np.ix_(indices, indices)] - K @ self.covariance[np.ix_(seen, indices)]

    def log_density(self, ys, until, present=None):
        """The logarithm of the density of the observations before a time."""
        seen, values = self._seen(ys, until, present)
        if len(seen) == 0:
            return 0.0
        return multivariate_normal.logpdf(values, self.mean[seen], self.covariance[np.ix_(seen, seen)])

    def _seen(self, ys, until, present):
        mask = np.ones((self.steps, self.n), bool) if present is None else np.array(present)
        mask[until:] = False
        offset = (self.steps + 1) * self.m
        return offset + np.flatnonzero(mask), np.asarray(ys)[mask]
