"""The command: `python -m benchmarks [NAME ...] [--rounds N] [--quick] [--json FILE]`."""

import argparse
import importlib
import importlib.metadata
import json
import os
import platform
from pathlib import Path

NAMES = (
    *("lasso", "unfolded", "lista", "convolution"),
    *("filters", "nonlinear", "parallel", "kalmannet"),
    *("qp", "policies", "latency"),
)
PACKAGES = ("mbdl", "jax", "torch", "deepinv", "scikit-learn", "dynamax", "filterpy", "cvxpylayers", "qpax")


def main(arguments: list[str] | None = None) -> None:
    """Runs the benchmarks that are named, prints their tables, and writes a file only where one is asked for."""
    parser = argparse.ArgumentParser(prog="benchmarks/run", description="Speed of mbdl against its peers, in one run.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which to run: {', '.join(NAMES)} (default: all)")
    parser.add_argument("--rounds", type=int, help="repetitions of each measurement")
    parser.add_argument("--quick", action="store_true", help="three repetitions: a look, not a measurement")
    parser.add_argument(
        "--one-thread", action="store_true", help="one thread each, and processor time: for a machine that is busy"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all times to this file")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(NAMES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    rounds = {"rounds": options.rounds or 3} if options.rounds or options.quick else {}
    if options.one_thread:
        # Read by the numerical libraries when they are imported, below.
        for name in ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ[name] = "1"

    from mbdl.core import write_atomically

    from . import timing

    if options.one_thread:
        timing.count_processor_time()
    settings = machine(options.one_thread)
    print("\n".join(f"{name}: {value}" for name, value in settings.items()))
    print("Contenders alternate within a run. Ratios are taken round by round: median (lower – upper quartile).\n")
    results = {}
    for name in options.names or NAMES:
        benchmark = importlib.import_module(f"{__package__}.{name}")
        for title, measured in benchmark.run(**rounds):
            print(timing.table(title, measured), flush=True)
            print(flush=True)
            results[title] = timing.record(measured)
            if options.json:
                kept = json.dumps({"machine": settings, "results": results}, indent=1) + "\n"
                write_atomically(options.json, kept.encode())


def machine(one_thread: bool) -> dict[str, str]:
    """What the figures depend on."""
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{package} not installed")
    cores, load = os.cpu_count() or 1, os.getloadavg()[0]
    settings = {
        "Machine": f"{platform.system()} {platform.machine()}, {cores} cores, load at start {load:.1f}",
        "Device": _device(),
        "Packages": ", ".join(versions),
        "Time": "processor time of one thread" if one_thread else "wall time, all cores",
    }
    if not one_thread and load > 0.5 * cores:
        settings["Warning"] = (
            "other programs use the processor, and those with threads that wait for each other suffer most "
            "(PyTorch): take no ratio from this run, or use --one-thread"
        )
    return settings


def _device() -> str:
    """Where JAX computes, and with how many digits it multiplies matrices there."""
    import jax

    precision = getattr(jax.config, "jax_default_matmul_precision", None)
    return f"{jax.devices()[0].device_kind}, matrix products in the precision '{precision}'"


if __name__ == "__main__":
    main()
