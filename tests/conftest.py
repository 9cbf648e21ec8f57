"""Fixtures of the whole suite, and one thread for each parallel worker."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores: set before JAX starts its thread pool.
    os.environ.setdefault("NPROC", "1")

import jax
import pytest


@pytest.fixture
def x64():
    """Runs the test in double precision."""
    with jax.enable_x64(True):
        yield
