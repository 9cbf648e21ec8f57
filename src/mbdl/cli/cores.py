"""The cores of this machine as devices."""

import contextlib
import os


def one_device_per_core() -> None:
    """Makes each core a device, so that trainings share their batches among them; before JAX computes anything.

    A number of devices that was chosen (`JAX_NUM_CPU_DEVICES`, or in `XLA_FLAGS`) stays.
    """
    import jax

    chosen = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if chosen or getattr(jax.config, "jax_num_cpu_devices", -1) != -1:
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(RuntimeError):  # JAX has begun to compute: one device it is.
        jax.config.update("jax_num_cpu_devices", cores)
