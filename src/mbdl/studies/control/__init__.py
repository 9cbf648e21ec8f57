"""Tracking along the spectrum: a linear system, the Lorenz attractor, and recordings of one's own."""
