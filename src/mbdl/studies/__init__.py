"""Comparisons of one rule moved along the spectrum on one problem."""
