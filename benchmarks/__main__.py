"""The command: `python -m benchmarks [lasso unfolded lista convolution] [--rounds N] [--quick] [--json FILE]`."""

import argparse
import importlib.metadata
import json
import os
import platform
from pathlib import Path

from . import convolution, lasso, lista, unfolded
from .timing import record, table

BENCHMARKS = {"lasso": lasso.run, "unfolded": unfolded.run, "lista": lista.run, "convolution": convolution.run}
PACKAGES = ("mbdl", "jax", "torch", "deepinv", "scikit-learn")


def main(arguments: list[str] | None = None) -> None:
    """Runs the benchmarks that are named, prints their tables, and writes a file only where one is asked for."""
    parser = argparse.ArgumentParser(prog="benchmarks/run", description="Speed of mbdl against its peers, in one run.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which to run: {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--rounds", type=int, help="repetitions of each measurement")
    parser.add_argument("--quick", action="store_true", help="three repetitions: a look, not a measurement")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all times to this file")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    rounds = {"rounds": options.rounds or 3} if options.rounds or options.quick else {}

    settings = machine()
    print("\n".join(f"{name}: {value}" for name, value in settings.items()))
    print("Contenders alternate within a run. Ratios are taken round by round: median (lower – upper quartile).\n")
    results = {}
    for name in options.names or BENCHMARKS:
        for title, measured in BENCHMARKS[name](**rounds).items():
            print(table(title, measured), flush=True)
            print(flush=True)
            results[title] = record(measured)
    if options.json:
        options.json.write_text(json.dumps({"machine": settings, "results": results}, indent=1) + "\n")


def machine() -> dict[str, str]:
    """What the figures depend on."""
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{package} not installed")
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return {
        "Machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, load at start {load}",
        "Packages": ", ".join(versions),
    }


if __name__ == "__main__":
    main()
