"""A simulated market of twelve funds: log-normal monthly returns with common factors."""

import numpy as np

FUNDS = {
    "large companies": (7.5, 16.0, (0.95, 0.00, 0.00)),
    "small companies": (8.5, 21.0, (0.90, 0.00, 0.05)),
    "developed markets": (6.5, 17.0, (0.85, 0.00, 0.15)),
    "emerging markets": (8.0, 22.0, (0.75, 0.05, 0.25)),
    "technology": (9.5, 23.0, (0.88, -0.05, 0.00)),
    "real estate": (7.0, 19.0, (0.70, 0.25, 0.05)),
    "high yield": (5.0, 9.0, (0.65, 0.15, 0.10)),
    "corporate bonds": (4.0, 7.0, (0.30, 0.80, 0.00)),
    "treasuries": (2.5, 4.5, (-0.20, 0.90, -0.05)),
    "long treasuries": (3.5, 13.0, (-0.30, 0.92, -0.05)),
    "gold": (4.0, 16.0, (0.05, 0.30, 0.50)),
    "commodities": (3.0, 18.0, (0.30, -0.20, 0.75)),
}
"""The funds: expected return and volatility, % a year, and correlations with the factors equity, rates, commodities."""


def log_returns() -> tuple[np.ndarray, np.ndarray]:
    """The mean and covariance of the logarithm of a monthly return."""
    expected, volatility = (np.array([fund[i] for fund in FUNDS.values()]) / 100 for i in range(2))
    loadings = np.array([fund[2] for fund in FUNDS.values()])
    correlation = loadings @ loadings.T
    np.fill_diagonal(correlation, 1.0)
    covariance = correlation * np.outer(volatility, volatility) / 12
    return np.log1p(expected) / 12 - np.diag(covariance) / 2, covariance


def returns() -> tuple[np.ndarray, np.ndarray]:
    """The mean of a monthly return less one, and its covariance."""
    mean, covariance = log_returns()
    gross = np.exp(mean + np.diag(covariance) / 2)
    return gross - 1, np.outer(gross, gross) * np.expm1(covariance)
