"""Risks, losses, metrics, fit and compare."""
