"""Data parallelism: a mesh changes the result by rounding alone, on the devices of one process and of several."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
from training.processes import trained

TESTS = Path(__file__).parent.parent


def environment(devices):
    found = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return {**found, "JAX_NUM_CPU_DEVICES": str(devices)}


def test_two_devices_share_a_training():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "training/on_two_devices.py"]
    found = subprocess.run(command, cwd=TESTS, env=environment(2), capture_output=True, text=True, timeout=600)
    assert found.returncode == 0, found.stdout
    assert " passed" in found.stdout


def test_processes_share_a_training(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "training.processes", port, "2"]
    started = [subprocess.Popen([*command, str(i), str(tmp_path)], cwd=TESTS, env=environment(1)) for i in range(2)]
    assert [process.wait(timeout=240) for process in started] == [0, 0]
    first, second = (np.load(tmp_path / f"{i}.npz") for i in range(2))
    alone = trained()
    for found in (first, second):
        np.testing.assert_allclose(found["matrix"], alone.rule.matrix.raw, rtol=1e-4)
        np.testing.assert_allclose(found["losses"], alone.history.losses, rtol=2e-5)
    np.testing.assert_array_equal(first["matrix"], second["matrix"])
