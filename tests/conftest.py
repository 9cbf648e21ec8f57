"""Fixtures of the whole suite, and a cache of compiled programs between runs of it."""

import os
import platform
import time
from pathlib import Path


def _keep_compiled_programs() -> None:
    """Most of the suite's time is compilation: keep programs in the user's cache folder, unused ones for two weeks.

    The environment, not `jax.config`, so that programs that a test starts use it too.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(home / "mbdl" / f"tests-{platform.node()}")))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.05")
    if "PYTEST_XDIST_WORKER" not in os.environ and folder.is_dir():
        old = time.time() - 14 * 24 * 3600
        for entry in folder.iterdir():
            if entry.stat().st_mtime < old:
                entry.unlink(missing_ok=True)


_keep_compiled_programs()

import jax  # noqa: E402
import pytest  # noqa: E402

from mbdl.cli.cores import more_threads_than_cores  # noqa: E402
from mbdl.studies.execute import forget_programs_near_the_limit  # noqa: E402

# As the command line does: tests compare what they compute with what a command computed.
more_threads_than_cores()


@pytest.fixture
def x64():
    """Runs the test in double precision."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(autouse=True, scope="module")
def _forget_compiled_programs():
    """Programs of other files are not used again, and a worker that kept them all would need gigabytes."""
    yield
    jax.clear_caches()


@pytest.fixture(autouse=True)
def _stay_below_the_limit_of_memory_maps():
    yield
    forget_programs_near_the_limit(20_000)
