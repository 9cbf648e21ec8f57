"""Every check of the project, each by name with its time; all run even when one fails.

`./start test` runs them all, `./start test NAME …` those named.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable

CHECKS = {
    # The tests, the examples, the code of the documentation and the doctests of the package.
    "tests": [PYTHON, "-m", "pytest", "-q", "-n", "auto", "--maxprocesses", "8", "--durations=20"],
    "lint": [PYTHON, "-m", "ruff", "check"],
    "format": [PYTHON, "-m", "ruff", "format", "--check"],
    "types": [PYTHON, "-m", "pyright"],
    "imports": [PYTHON, "-c", "from importlinter.cli import lint_imports_command as check; check()", "--no-logo"],
    "documentation": [PYTHON, "-m", "zensical", "build", "--clean", "--strict"],
}
# Pyright runs on the Node.js of its own package and asks no registry for a newer version.
ENVIRONMENT = {"PYRIGHT_PYTHON_GLOBAL_NODE": "0", "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1", "NO_COLOR": "1"}


def run(name: str) -> tuple[bool, float]:
    """Run one check with its output passed through, and say whether it passed and its seconds."""
    print(f"\n== {name}", flush=True)
    start = time.monotonic()
    code = subprocess.run(CHECKS[name], cwd=ROOT, env={**os.environ, **ENVIRONMENT}, check=False).returncode
    return code == 0, time.monotonic() - start


def main(names: list[str]) -> int:
    """Run the named checks, or all, print a summary, and return the exit status."""
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        print(f"check: there is no check {', '.join(unknown)}. There are: {', '.join(CHECKS)}", file=sys.stderr)
        return 2
    results = {name: run(name) for name in names or CHECKS}
    print("\n== summary")
    for name, (passed, seconds) in results.items():
        print(f"{'passed' if passed else 'FAILED'}  {name:<14} {seconds:7.1f} s")
    return 0 if all(passed for passed, _ in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
