"""The cores of a machine as devices: in a program of its own, since JAX takes its devices once."""

import os
import subprocess
import sys

ASK = """
from mbdl.cli.cores import one_device_per_core
one_device_per_core()
import jax, os
print(len(jax.devices()), os.environ.get("NPROC"))
"""


def answer(**environment):
    kept = {name: value for name, value in os.environ.items() if name not in ("NPROC", "XLA_FLAGS")}
    kept.pop("JAX_NUM_CPU_DEVICES", None)
    done = subprocess.run(
        [sys.executable, "-c", ASK], env={**kept, **environment}, capture_output=True, text=True, check=True
    )
    devices, threads = done.stdout.split()
    return int(devices), threads


def test_each_core_is_a_device_with_more_threads_than_devices():
    devices, threads = answer()
    assert devices == len(os.sched_getaffinity(0))
    # As many threads as devices wait for each other for ever, where each runs a batched factorisation.
    assert int(threads) >= 4 * devices


def test_what_was_chosen_stays():
    assert answer(JAX_NUM_CPU_DEVICES="3")[0] == 3
    assert answer(XLA_FLAGS="--xla_force_host_platform_device_count=3")[0] == 3
    assert answer(NPROC="7")[1] == "7"
