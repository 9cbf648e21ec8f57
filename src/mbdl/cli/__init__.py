"""The command line: `mbdl list | run | apply | report`."""

from mbdl.cli.main import main

__all__ = [
    "main",
]
