"""Inverse problems: operators, fidelities, priors and solvers."""
