"""The cores of this machine as devices."""

import contextlib
import os

THREADS = 4
"""Threads of XLA for each core. In JAX 0.10 a batched factorisation waits, in a thread of the pool, for others of the
pool to do its parts: when as many run at once as there are threads, they wait for each other for ever."""


def more_threads_than_cores() -> None:
    """Gives XLA some threads for each core, unless a number was chosen (`NPROC`); before JAX computes anything.

    A convolution adds up in as many parts as there are threads, so that its rounding depends on their number.
    """
    os.environ.setdefault("NPROC", str(THREADS * _cores()))


def one_device_per_core() -> None:
    """Makes each core a device, so that trainings share their batches among them; before JAX computes anything.

    A number of devices that was chosen (`JAX_NUM_CPU_DEVICES`, or in `XLA_FLAGS`) stays.
    """
    import jax

    more_threads_than_cores()
    chosen = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if chosen or getattr(jax.config, "jax_num_cpu_devices", -1) != -1:
        return
    with contextlib.suppress(RuntimeError):  # JAX has begun to compute: one device it is.
        jax.config.update("jax_num_cpu_devices", _cores())


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
